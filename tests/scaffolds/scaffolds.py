#!/usr/bin/env python3
"""From nothing to a running plugin in five languages: each step of an author, with the seconds it takes.

    scaffolds.py [--metafleet PROGRAM] [--sdk DIR] [--lang LANG ..] [--keep DIR] [--markdown FILE]

A plugin is created, its tests pass, it is built, it keeps to the protocol (`plugin conformance`), a file is processed
(`plugin test`), it is packed, installed, and it works on a file in a fleet that runs. Needed are the toolchains of the
languages and, for `nats-server`, NATS_SERVER_BIN or one on PATH. Ends with 1 when a step fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LANGUAGES = ("rust", "python", "typescript", "go", "shell")
STEPS = ("create", "test", "build", "conformance", "process", "pack", "install", "enable")
# Compiling the first plugin of a language may fetch and build all that it leans on.
PATIENCE = 1800.0


class Failed(Exception):
    """A step did not do what it should; the text says what."""


class Author:
    """Somebody who writes a plugin, in a folder and a fleet of their own."""

    def __init__(self, lang: str, home: Path, metafleet: str, sdk: Path) -> None:
        self.lang, self.home, self.metafleet, self.sdk = lang, home, metafleet, sdk
        self.id = f"{lang}-stats"
        self.folder = home / self.id
        self.fleet: subprocess.Popen[bytes] | None = None
        shim = Path(os.path.realpath(metafleet)).with_name("metafleet-shim")
        self.env = {
            **os.environ,
            "METAFLEET_DATA_DIR": str(home / "data"),
            "METAFLEET_PLUGIN_PATH": str(home / "data" / "plugins"),
            "METAFLEET_SHIM": os.environ.get("METAFLEET_SHIM", str(shim)),
            # All plugins in Rust share what they lean on.
            "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(REPOSITORY / "target/tmp/scaffold-rust")),
        }
        for name in ("NATS_URL", "METAFLEET_OUTPUT", "METAFLEET_PREFIX"):
            self.env.pop(name, None)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Runs a command to its end; returns what it printed."""
        try:
            done = subprocess.run(command, cwd=cwd or self.folder, env=self.env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failed(f"{' '.join(command)}: {error}") from error
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{said[-4000:]}")
        return done.stdout.decode()

    def plugin(self, *arguments: str, cwd: Path | None = None) -> str:
        """Runs `metafleet plugin …`."""
        return self.run(self.metafleet, "plugin", *arguments, cwd=cwd)

    def create(self) -> None:
        self.plugin("new", "--lang", self.lang, self.id, "--sdk", str(self.sdk), cwd=self.home)
        self.plugin("check")

    def test(self) -> None:
        self.run("./test")

    def build(self) -> None:
        self.run("./build")
        self.plugin("check", "dist")

    def conformance(self) -> None:
        entry = json.loads((self.folder / "manifest.json").read_text())["entryPoint"]
        self.plugin("conformance", "--file", str(self.folder / "sample.txt"), "--", f"./{entry['main']}",
                    *entry.get("args", []), cwd=self.folder / "dist")

    def process(self) -> None:
        printed = self.plugin("test", "sample.txt", "--output", "json")
        report = json.loads(printed)["files"][0]
        self.expect_record(report["record"])

    def expect_record(self, record: dict) -> None:
        if record["status"] != "completed" or record["meta"] != self.wanted():
            raise Failed(f"the record is {json.dumps(record, indent=2)}")

    def wanted(self) -> dict[str, str]:
        """What the plugin says of its sample."""
        return {f"{self.id}/lines": "3", f"{self.id}/words": "14"}

    def pack(self) -> None:
        self.plugin("pack", "dist")

    def install(self) -> None:
        archives = list(self.folder.glob("*.mfp"))
        if len(archives) != 1:
            raise Failed(f"one archive is expected, not {archives}")
        self.plugin("install", str(archives[0]))

    def enable(self) -> None:
        """Starts a fleet over the data folder, enables the plugin, and has it work on a file."""
        library = self.home / "library"
        library.mkdir()
        shutil.copy(self.folder / "sample.txt", library / "text.txt")
        with open(self.home / "up.log", "wb") as log:
            self.fleet = subprocess.Popen(
                [self.metafleet, "up", "--library", f"texts={library}", "--api-listen", "127.0.0.1:0"], env=self.env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("the fleet", lambda: self.listed() is not None)
        self.plugin("enable", self.id)
        until("the plugin in the fleet", lambda: self.is_ready())
        self.run(self.metafleet, "scan", str(library), "--wait", "--only", self.id)
        found = json.loads(self.run(self.metafleet, "meta", "get", str(library / "text.txt"), "--output", "json"))
        if found != self.wanted():
            raise Failed(f"the fleet knows {found}")

    def listed(self) -> list[dict] | None:
        """The plugins of the fleet; None while it does not answer."""
        if self.fleet is not None and self.fleet.poll() is not None:
            raise Failed(f"the fleet has ended:\n{(self.home / 'up.log').read_text(errors='replace')[-4000:]}")
        if not (self.home / "data" / "fleet.json").exists():
            return None
        try:
            return json.loads(self.plugin("list", "--output", "json", cwd=self.home))
        except Failed:
            return None

    def is_ready(self) -> bool:
        return any(one["id"] == self.id and one["instances"] > 0 for one in self.listed() or [])

    def close(self) -> None:
        """Stops the fleet."""
        if self.fleet is not None:
            self.fleet.send_signal(signal.SIGTERM)
            try:
                self.fleet.wait(60)
            except subprocess.TimeoutExpired:
                self.fleet.kill()
                self.fleet.wait()


def until(what: str, holds: Callable[[], bool], limit: float = 120.0) -> None:
    """Waits for a condition."""
    end = time.monotonic() + limit
    while not holds():
        if time.monotonic() > end:
            raise Failed(f"waited {limit:.0f} s in vain for {what}")
        time.sleep(0.2)


def walk(author: Author, steps: list[str]) -> tuple[dict[str, float], str | None]:
    """Does one step after the other; returns the seconds of each, and what went wrong."""
    took: dict[str, float] = {}
    try:
        for step in steps:
            print(f"{author.lang}: {step} …", file=sys.stderr, flush=True)
            begun = time.monotonic()
            getattr(author, step)()
            took[step] = time.monotonic() - begun
    except Failed as failure:
        return took, f"{author.lang}: {step}: {failure}"
    finally:
        author.close()
    return took, None


def table(rows: dict[str, dict[str, float]], steps: list[str]) -> str:
    """The seconds of each step in each language, as Markdown."""
    head = ["language", *steps, "together"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for lang, took in rows.items():
        cells = [f"{took[step]:.1f}" if step in took else "–" for step in steps]
        lines.append(f"| {lang} | {' | '.join(cells)} | {sum(took.values()):.1f} |")
    total = sum(sum(took.values()) for took in rows.values())
    return "\n".join([*lines, "", f"Seconds; {total:.1f} s in all."])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    staged = REPOSITORY / "target/stage/bin/metafleet"
    parser.add_argument("--metafleet", default=os.environ.get("METAFLEET_BIN", str(staged)))
    parser.add_argument("--sdk", type=Path, default=REPOSITORY / "worker-sdk")
    parser.add_argument("--lang", nargs="+", choices=LANGUAGES, default=list(LANGUAGES))
    parser.add_argument("--step", nargs="+", choices=STEPS, default=list(STEPS), help="only these, in their order")
    parser.add_argument("--keep", type=Path, help="a folder for the plugins, which stays")
    parser.add_argument("--markdown", type=Path, help="where the table is written, too")
    args = parser.parse_args()
    metafleet = str(Path(args.metafleet).absolute())
    if not os.access(metafleet, os.X_OK):
        parser.error(f"{metafleet} is no program: run `make build`, or name one with --metafleet")
    steps = [step for step in STEPS if step in args.step]
    home = args.keep or Path(tempfile.mkdtemp(prefix="scaffolds-"))
    rows, failures = {}, []
    try:
        for lang in args.lang:
            place = home / lang
            place.mkdir(parents=True)
            rows[lang], failure = walk(Author(lang, place, metafleet, args.sdk.absolute()), steps)
            failures += [failure] if failure else []
    finally:
        if args.keep is None:
            shutil.rmtree(home, ignore_errors=True)
    shown = table(rows, steps)
    print(shown)
    if args.markdown:
        args.markdown.write_text(f"{shown}\n")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
