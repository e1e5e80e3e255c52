#!/usr/bin/env python3
"""Runs every experiment of tests/CHAOS.md, whatever becomes of those before it, and ends with 1 when one went wrong.

The soak, which takes an hour, is run where it is named.

Each leaves what it found in FOLDER: NAME.json has a line for each of its experiments, NAME.txt what it said. The table
at the end is in FOLDER/table.txt, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/debug/metafleet-chaos"
NO_KILLS = "--worker-kills 0 --coordinator-kills 0 --broker-kills 0"


@dataclass
class Experiment:
    """A command of `metafleet-chaos`, without how its result is printed."""

    name: str
    command: str
    needs_root: bool = False
    # One that takes long is run only where it is named.
    is_named: bool = False


EXPERIMENTS = [
    Experiment("kills", "run --seed 42 --files 10000 --worker-kills 50 --coordinator-kills 20 --broker-kills 20"),
    Experiment("stopped", f"run --seed 42 --files 2000 {NO_KILLS} --worker-pauses 20 --coordinator-pauses 10"),
    Experiment("cluster", f"run --seed 42 --files 4000 {NO_KILLS} --leader-kills 40 --step-downs 20 --rolling-restarts 2"),
    Experiment("partitions", "partitions --seed 42 --files 200 --times 1"),
    Experiment("deletions", f"run --seed 42 --files 1000 {NO_KILLS} --deletions 20"),
    Experiment("crash-points", f"run --seed 1 --seeds 20 --files 600 {NO_KILLS} --crash-points 25"),
    Experiment("clocks", f"run --seed 9 --files 2000 {NO_KILLS} --clock-jumps 40"),
    Experiment("full-disks", f"run --seed 8 --files 600 {NO_KILLS} --full-disks 2", needs_root=True),
    Experiment("power", "power --seed 42 --cuts 20", needs_root=True),
    Experiment("fleet-power", f"run --seed 42 --files 2000 {NO_KILLS} --power-cuts 20", needs_root=True),
    Experiment("soak", "soak --seed 42 --minutes 60 --rate 220", is_named=True),
]


@dataclass
class Result:
    """What came of one."""

    name: str
    code: int | None
    seconds: float = 0.0
    reports: list[dict] = field(default_factory=list)

    def is_good(self) -> bool:
        """Whether it ended well and told of something; one that was left out is not held against the others."""
        return self.code is None or (self.code == 0 and bool(self.reports))

    def cells(self) -> list[str]:
        """Its line in the table."""
        if self.code is None:
            return [self.name, "left out: it needs root", "", "", "", "", ""]
        if not self.reports:
            return [self.name, f"no result, ended with {self.code}", "", "", "", "", f"{self.seconds:.0f}"]
        problems = sum(len(report["problems"]) for report in self.reports)
        ended = "good" if self.is_good() else f"WRONG, {problems} problems"
        # What power cuts cost where nobody promises anything is no loss of ours.
        lost = sum(report.get("lost", 0) for report in self.reports)
        lost += sum(row["lost"] for report in self.reports for row in report.get("settings", []) if row["syncInterval"] == "always")
        doubled = sum(report.get("duplicates", 0) + report.get("toldTwice", 0) for report in self.reports)
        again = sum(report.get("reexecutions", 0) for report in self.reports)
        stall = max(report.get("stallMsMax", 0) for report in self.reports)
        return [self.name, ended, *map(str, (lost, doubled, again, stall)), f"{self.seconds:.0f}"]


def table(results: list[Result]) -> str:
    """A line for each, in columns."""
    lines = [["experiment", "ended", "lost", "doubled", "again", "stall ms", "seconds"]]
    lines += [result.cells() for result in results]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(shown) + "\n"


def reports_of(text: str) -> list[dict]:
    """The results that a program has printed, one a line."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def run(experiment: Experiment, folder: Path, is_root: bool) -> Result:
    """Runs one, and leaves what it said."""
    if experiment.needs_root and not is_root:
        return Result(experiment.name, None)
    print(f"== metafleet-chaos {experiment.command}", flush=True)
    found, said = folder / f"{experiment.name}.json", folder / f"{experiment.name}.txt"
    begun = time.monotonic()
    with found.open("w") as out, said.open("w") as err:
        command = [str(PROGRAM), *experiment.command.split(), "--output", "json"]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False).returncode
    result = Result(experiment.name, code, time.monotonic() - begun, reports_of(found.read_text()))
    print(said.read_text(), end="")
    print(f"-- {experiment.name}: {'good' if result.is_good() else 'WRONG'}, {result.seconds:.0f} s", flush=True)
    return result


def main() -> int:
    """All of them, or those that are named."""
    names = sys.argv[1:]
    if unknown := set(names) - {experiment.name for experiment in EXPERIMENTS}:
        print(f"error: no such experiment: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    folder = ROOT / "target/chaos"
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    chosen = [experiment for experiment in EXPERIMENTS if experiment.name in names or not (names or experiment.is_named)]
    results = [run(experiment, folder, os.geteuid() == 0) for experiment in chosen]
    shown = table(results)
    (folder / "table.txt").write_text(shown)
    print(f"\n{shown}\n{(time.monotonic() - begun) / 60:.0f} minutes; results in {folder.relative_to(ROOT)}")
    return 0 if all(result.is_good() for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
