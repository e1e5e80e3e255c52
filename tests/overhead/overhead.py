#!/usr/bin/env python3
"""Measures what a task costs by where its plugin runs: inside metafleet, as a process, in a container, over the bridge.

    overhead.py --stage DIR [--files N] [--rounds N] [--output json]

One plugin over the same small files, by a running fleet that has seen them before, so that nothing is started or learned
in the measured time: `metafleet scan FILES --force --wait`. Rounds alternate, so that a machine whose speed drifts drifts
for all; medians count. `scan alone` is the same with no plugin at all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGE = "metafleet-overhead-file-info:1"
STEP = 120
BRIDGED_PORT = 18099


@dataclass(frozen=True)
class Way:
    """Where a plugin runs, as plugins.yml says it; `at_once` tasks at a time."""

    name: str
    at_once: int
    plugin: dict

    def plugins_yml(self) -> str:
        # JSON is YAML.
        return json.dumps({"plugins": {name: spec | {"concurrency": self.at_once} for name, spec in self.plugin.items()}})


def ways(stage: Path) -> list[Way]:
    program = next(iter(sorted((stage / "plugins/file-info").glob("v*"))))
    file_info = {
        "internal": {"runtime": "internal"},
        "process": {"dir": str(program)},
        "container": {"image": IMAGE, "resources": {"cpus": os.cpu_count()}},
    }
    # It notes its calls in its folder, which a process that is kept apart may not.
    native = {"command": [str(ROOT / "target/debug/odd-plugin"), "completes"], "dir": "odd", "isolation": "off"}
    bridged = {
        "protocol": "http",
        "url": f"http://127.0.0.1:{BRIDGED_PORT}",
        "command": ["node", "bridged.mjs"],
        "dir": str(HERE),
        "isolation": "off",
    }
    found = [Way("scan alone", 0, {})]
    for at_once in (1, 4):
        found += [Way(f"file-info, {name}", at_once, {"file-info": spec}) for name, spec in file_info.items()]
        found += [Way("one key, process", at_once, {"odd": native}), Way("one key, HTTP process over the bridge", at_once, {"odd": bridged})]
    return found


class Fleet:
    """A fleet with one plugin and its own broker and data, for one measurement."""

    def __init__(self, stage: Path, way: Way, files: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="metafleet-overhead-"))
        self.library = self.folder / "library"
        for folder in (self.library, self.folder / "no-plugins"):
            folder.mkdir()
        for number in range(files):
            (self.library / f"{number}.txt").write_text(f"text {way.name} {number}\n")
        (self.folder / "odd").mkdir()
        shutil.copy(HERE / "manifest.json", self.folder / "odd")
        settings = self.folder / "plugins.yml"
        settings.write_text(way.plugins_yml())
        self.command = [str(stage / "bin/metafleet"), "--data-dir", str(self.folder / "data")]
        environment = os.environ | {"METAFLEET_PLUGIN_PATH": str(self.folder / "no-plugins"), "METAFLEET_LOG": "warn"}
        self.log = (self.folder / "up.log").open("w")
        arguments = ["up", "--plugins", str(settings), "--library", f"all={self.library}", "--rescan", "7d", "--api-listen", "127.0.0.1:0"]
        self.up = subprocess.Popen(self.command + arguments, env=environment, stdout=self.log, stderr=subprocess.STDOUT)

    def scan(self) -> float:
        """Runs everything again; seconds."""
        begin = time.monotonic()
        done = subprocess.run(
            [*self.command, "scan", str(self.library), "--force", "--wait"], capture_output=True, text=True, timeout=STEP
        )
        seconds = time.monotonic() - begin
        if done.returncode != 0:
            raise RuntimeError(f"the scan ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{(self.folder / 'up.log').read_text()}")
        return seconds

    def status(self) -> dict:
        asked = subprocess.run([*self.command, "status", "--output", "json"], capture_output=True, text=True, timeout=STEP)
        return json.loads(asked.stdout) if asked.returncode == 0 else {}

    def wait(self, records: int) -> None:
        """Until the first scan is over and each file has its record."""
        end = time.monotonic() + STEP
        while (status := self.status()).get("records") != records or status["files"] != {"waiting": 0, "inFlight": 0}:
            if self.up.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{status}\n{(self.folder / 'up.log').read_text()}")
            time.sleep(0.2)

    def end(self) -> None:
        self.up.send_signal(signal.SIGINT)
        try:
            self.up.wait(STEP)
        except subprocess.TimeoutExpired:
            self.up.kill()
            self.up.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def measure(stage: Path, way: Way, files: int) -> float:
    fleet = Fleet(stage, way, files)
    try:
        fleet.wait(files * len(way.plugin))
        seconds = fleet.scan()
        fleet.wait(files * len(way.plugin))
        return seconds
    finally:
        fleet.end()


def make_image(stage: Path) -> None:
    program = next(iter(sorted((stage / "plugins/file-info").glob("v*/plugin-file-info"))))
    make = [sys.executable, str(ROOT / "deploy/docker/plugin_image.py"), IMAGE, str(program)]
    subprocess.run([*make, "--manifest", str(ROOT / "plugins/file-info/manifest.json")], check=True, stdout=subprocess.DEVNULL)


def table(rows: list[tuple[Way, list[float]]], files: int) -> list[dict]:
    """A row for each way; milliseconds for each task, the scan itself taken off."""
    alone = statistics.median(next(seconds for way, seconds in rows if not way.plugin))
    found = []
    for way, seconds in rows:
        each = [(one - (alone if way.plugin else 0)) * 1_000 / files for one in seconds]
        found.append({
            "plugin": way.name,
            "atOnce": way.at_once,
            "msPerTask": round(statistics.median(each), 3),
            "lowest": round(min(each), 3),
            "highest": round(max(each), 3),
            "filesPerSecond": round(files / statistics.median(seconds)),
        })
    return found


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--stage", type=Path, default=ROOT / "target/stage")
    parse.add_argument("--files", type=int, default=2_000)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--output", choices=["text", "json"], default="text")
    asked = parse.parse_args()
    stage = asked.stage.resolve()
    make_image(stage)
    rows: list[tuple[Way, list[float]]] = [(way, []) for way in ways(stage)]
    for turn in range(asked.rounds):
        for way, seconds in rows:
            print(f"round {turn + 1}: {way.name}, {way.at_once} at once", file=sys.stderr)
            seconds.append(measure(stage, way, asked.files))
    found = table(rows, asked.files)
    if asked.output == "json":
        print(json.dumps(found, indent=2))
        return
    print(f"| plugin, and where it runs | tasks at once | ms a task | lowest to highest of {asked.rounds} |\n|---|---|---|---|")
    for row in found:
        print(f"| {row['plugin']} | {row['atOnce'] or '–'} | {row['msPerTask']:.2f} | {row['lowest']:.2f} to {row['highest']:.2f} |")


if __name__ == "__main__":
    main()
