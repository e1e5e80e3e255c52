#!/usr/bin/env python3
"""Lets schemathesis loose on the API of a real fleet, with the fleet's own document: `make schemathesis`.

Requests are made up from the document, valid and broken, and every answer is held against it: its status, its content
type, its schema; wrong data must be refused, right data taken, the token asked for, unknown methods answered with 405,
and nothing may end with 500. The last line is `N passed, N failed`, an operation of the document each.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The same requests on every run; another one with --seed.
SEED = 20260102
# Made-up requests for each operation and phase.
EXAMPLES = 20
# A fleet starts in about a second; this is for a machine that is busy.
PATIENCE = 60

MANIFEST = {
    "id": "probe",
    "name": "Probe",
    "version": "1.0.0",
    "priority": 50,
    "queue": "fast",
    "dataSchema": {"probe/done": {}},
    "configSchema": {
        "key": {"type": "string", "label": "Key", "secret": True},
        "size": {"type": "number", "label": "Size", "default": 3},
        "form": {"type": "select", "label": "Form", "options": [{"value": "round"}, {"value": "long"}]},
        "loud": {"type": "boolean", "label": "Loud"},
    },
    "entryPoint": {"main": "program", "args": ["completes"]},
}


class Fleet:
    """A fleet with one plugin, in a folder of its own."""

    def __init__(self, metafleet: Path, home: Path) -> None:
        self.home, self.log = home, home / "fleet.log"
        plugin = home / "plugins/probe/v1.0.0"
        plugin.mkdir(parents=True)
        (plugin / "manifest.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
        # Cargo lays the plugin of the tests beside the program.
        (plugin / "program").symlink_to(metafleet.resolve().parent / "odd-plugin")
        env = {name: os.environ[name] for name in ("PATH", "NATS_SERVER_BIN") if name in os.environ}
        env |= {
            "HOME": str(home),
            "METAFLEET_DATA_DIR": str(home / "data"),
            "METAFLEET_PLUGIN_PATH": str(home / "plugins"),
            "METAFLEET_API_LISTEN": "127.0.0.1:0",
            "METAFLEET_KV_LISTEN": "127.0.0.1:0",
            # The plugin notes what it does in its own folder, which no sandbox lets it.
            "METAFLEET_ISOLATION": "off",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([metafleet, "up"], cwd=home, env=env, stdout=log, stderr=log)

    def ready(self) -> tuple[str, str]:
        """Waits until the plugin serves; returns the address of the API and its token."""
        end = time.monotonic() + PATIENCE
        last: object = None
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                url = json.loads((self.home / "data/fleet.json").read_text(encoding="utf-8"))["api"]
                token = (self.home / "data/api-token").read_text(encoding="utf-8").strip()
                last = self.ask(url, token, "/api/plugins/probe")
                if last["status"] == "healthy":
                    return url, token
            except (OSError, KeyError, ValueError) as error:
                last = error
            time.sleep(0.1)
        raise SystemExit(f"error: the fleet does not get ready: {last}\n{self.said()}")

    @staticmethod
    def ask(url: str, token: str, path: str) -> dict:
        request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self) -> list[str]:
        """Stops it; returns what was wrong with it at its end."""
        wrong = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if code != 0:
            wrong.append(f"the fleet ended with {code}")
        if "panicked" in self.said():
            wrong.append("something in the fleet panicked")
        return wrong


def outcomes(events: Path) -> tuple[dict[str, bool], int]:
    """Which operations passed every check, and how many requests were sent."""
    passed: dict[str, bool] = {}
    requests = 0
    for line in events.read_text(encoding="utf-8").splitlines():
        finished = json.loads(line).get("ScenarioFinished")
        if finished is None:
            continue
        recorder = finished["recorder"]
        requests += len(recorder.get("interactions", ()))
        if re.match(r"[A-Z]+ /", recorder["label"]):
            label = recorder["label"]
            passed[label] = passed.get(label, True) and finished["status"] not in ("failure", "error")
    return passed, requests


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metafleet", type=Path, default=ROOT / "target/stage/bin/metafleet")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--events", type=Path, help="keep what was sent and answered here")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="metafleet-openapi-") as folder:
        home = Path(folder)
        fleet = Fleet(options.metafleet, home)
        try:
            url, token = fleet.ready()
            document = home / "openapi.json"
            document.write_text(json.dumps(Fleet.ask(url, token, "/api/openapi.json")), encoding="utf-8")
            events = home / "events.ndjson"
            command = [
                Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run", document,
                "--url", url, "--header", f"Authorization: Bearer {token}", "--seed", str(options.seed),
                "--max-examples", str(options.examples), "--report-ndjson-path", events,
            ]  # fmt: skip
            env = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
            code = subprocess.run(command, cwd=home, env=env, check=False).returncode
            # Whatever it was asked, it still serves.
            Fleet.ask(url, token, "/api/plugins")
        finally:
            wrong = fleet.end()
        if options.events:
            options.events.write_bytes(events.read_bytes())
        passed, requests = outcomes(events)
        if wrong:
            print(fleet.said())
    if code != 0 and all(passed.values()):
        wrong.append(f"schemathesis ended with {code}")
    for reason in wrong:
        print(f"error: {reason}")
    good = sum(passed.values())
    print(f"{requests} requests in {time.monotonic() - begun:.0f} s, seed {options.seed}")
    print(f"{good} passed, {len(passed) - good + len(wrong)} failed")
    return 0 if good and good == len(passed) and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
