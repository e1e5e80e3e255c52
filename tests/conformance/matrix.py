#!/usr/bin/env python3
"""Runs the conformance kit with each worker and writes worker-sdk/conformance/MATRIX.md: `matrix.py [ROW..]`.

METAFLEET_BIN names the program (else target/stage/bin/metafleet), METAFLEET_TEST_PYTHON a Python with nats-py; the rest is where
`make build` and `make sdks` put it. Exit code 1 when a case fails, 2 when a worker is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "worker-sdk"
MANIFEST = str(SDK / "conformance/manifest.json")
PYTHON = os.environ.get("METAFLEET_TEST_PYTHON") or str(ROOT / ".tools/python/bin/python")
BIN = os.environ.get("METAFLEET_BIN") or str(ROOT / "target/stage/bin/metafleet")
SHIM = str(ROOT / "target/debug/metafleet-shim")
SHIM_OPTIONS = [SHIM, "--manifest", MANIFEST, "--check-settings", "--fatal-codes", "9"]
# The one place that knows how each worker is started: name, the file that must be there, command.
ROWS = [
    ("Rust", ROOT / "target/debug/examples/conformance", ["{program}", MANIFEST]),
    ("Python", SDK / "python/examples/conformance.py", [PYTHON, "{program}", MANIFEST]),
    ("TypeScript", SDK / "typescript/dist/examples/conformance.js", ["node", "{program}", MANIFEST]),
    ("Go", ROOT / "target/sdk-go/conformance", ["{program}", MANIFEST]),
    ("shim", SDK / "shim/conformance.sh", [*SHIM_OPTIONS, "--", "{program}"]),
    ("shim, persistent", SDK / "shim/conformance.py", [*SHIM_OPTIONS, "--persistent", "--", sys.executable, "{program}"]),
    ("PROTOCOL.md alone", ROOT / "tests/protocol/scripted.py", [PYTHON, "-B", "{program}", MANIFEST]),
]
# A run takes half a minute; a machine that is busy, some.
PATIENCE = 900
MARKS = {"passed": "✓", "failed": "✗", "notApplicable": "–"}


def run(command: list[str]) -> dict:
    """The report of the kit; PYTHONPATH is for the SDK in Python, that is not installed."""
    environment = {**os.environ, "PYTHONPATH": str(SDK / "python/src")}
    kit = [BIN, "plugin", "conformance", "--format", "json", "--quiet", "--", *command]
    done = subprocess.run(kit, env=environment, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"error: {' '.join(kit)} ended with {done.returncode}")
    return json.loads(done.stdout)


def render(reports: list[tuple[str, dict]]) -> str:
    """The table worker × case, with what was wrong below it."""
    first = reports[0][1]
    lines = [
        "# Which worker passes which case",
        "",
        f"Made by `tests/conformance/matrix.py` with version {first['version']} of the [kit](README.md): "
        "✓ passed, ✗ failed, – not applicable.",
        "The number is the section of [PROTOCOL.md](../../broker-config/PROTOCOL.md) that asks for it.",
        "",
        "| case | § | " + " | ".join(name for name, _ in reports) + " |",
        "|---|---|" + ":-:|" * len(reports),
    ]
    results = [{case["name"]: case for case in report["cases"]} for _, report in reports]
    for case in first["cases"]:
        marks = [MARKS[result[case["name"]]["result"]] for result in results]
        lines.append(f"| `{case['name']}` | {case['section']} | {' | '.join(marks)} |")
    totals = [f"{report['passed']}/{len(report['cases']) - report['notApplicable']}" for _, report in reports]
    lines.append(f"| **passed** | | {' | '.join(totals)} |")
    wrong = [
        f"- {name}, `{case['name']}`: {case['why'].splitlines()[0]}"
        for name, report in reports
        for case in report["cases"]
        if case["result"] == "failed"
    ]
    return "\n".join(lines + ([""] + wrong if wrong else [])) + "\n"


def main(wanted: list[str]) -> int:
    rows = [row for row in ROWS if not wanted or row[0] in wanted]
    missing = [f"{name}: {program}" for name, program, _ in rows if not program.exists()]
    if not shutil.which(BIN):
        missing.append(f"metafleet: {BIN}")
    if missing or not {*wanted} <= {name for name, _, _ in ROWS}:
        print("error: not there, build it first: " + ", ".join(missing or wanted), file=sys.stderr)
        return 2
    reports = []
    for name, program, command in rows:
        report = run([word.format(program=program) for word in command])
        print(f"{name}: {report['passed']} passed, {report['failed']} failed, {report['tookMs']} ms", file=sys.stderr)
        reports.append((name, report))
    if wanted:
        print(render(reports))
    else:
        (SDK / "conformance/MATRIX.md").write_text(render(reports), encoding="utf-8")
    return 1 if any(report["failed"] for _, report in reports) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
