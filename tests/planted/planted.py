#!/usr/bin/env python3
"""Which experiment finds which planted bug; see tests/CHAOS.md.

    planted.py [--first] [--bug NAME].. [--experiment NAME].. [--json FILE]

The programs are built once with a feature that nothing else has, in a target folder of their own. Every experiment is run without a
bug, where it must find nothing, and then for each bug of broker-config/src/planted.rs. With `--first`, a bug that was found
is not looked for any further. It ends with 1 when a bug is found by no experiment, or something is found where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target/planted"
PROGRAMS = TARGET / "debug"
BUGS = ROOT / "broker-config/src/planted.rs"
PACKAGES = ["broker-config", "worker-sdk", "coordinator", "integration-tests"]
VARIABLE = "PLANTED_BUG"
FEATURE = "integration-tests/planted-bugs"
NOTHING = "nothing"
CHAOS = [str(PROGRAMS / "metafleet-chaos")]
NO_KILLS = ["--worker-kills", "0", "--coordinator-kills", "0", "--broker-kills", "0"]
# A test that fails, as libtest says it in the list at the end.
FAILED = re.compile(r"^    (\S+)$", re.MULTILINE)
# Of the tests inside the crates, those of the modules around what is planted.
UNITS = [
    "advisories", "broker::", "dispatcher", "durable", "engine::", "feeder", "files::", "lease", "pull", "retry", "run::", "signals",
    "strays", "warrant",
]
# The tests of the whole fleet that are about what bugs could break; those of the simulation and of chaos run by themselves.
FLEET = ["graph", "hostile", "incremental", "junk", "later", "lease", "limits", "repair", "restart", "retry", "standby", "takeover"]


@dataclass
class Found:
    """What an experiment has found."""

    what: str
    seed: str | None = None


@dataclass
class Row:
    """What all experiments have found of one bug; what is missing was not run."""

    bug: str
    by: dict[str, Found | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def is_found(self) -> bool:
        return any(found is not None for found in self.by.values())


def run(command: list[str], bug: str, patience: int, home: str = ".") -> tuple[int | None, str, str]:
    """Runs a program with one bug alive; `None` for one that had to be killed, with all that it started."""
    environment = dict(os.environ)
    environment.pop(VARIABLE, None)
    # What a planted bug does is no regression.
    environment["PROPTEST_DISABLE_FAILURE_PERSISTENCE"] = "1"
    if bug != NOTHING:
        environment[VARIABLE] = bug
    started = subprocess.Popen(
        command, cwd=ROOT / home, env=environment, text=True, errors="replace", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )
    try:
        out, err = started.communicate(timeout=patience)
        return started.returncode, out, err
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        out, err = started.communicate()
        return None, out, err


class Tests:
    """Programs of tests. What fails counts when it fails once more and does not fail without the bug."""

    def __init__(self, programs: list[Path], names: list[str], patience: int, home: str = ".") -> None:
        self.programs, self.names, self.patience, self.home = programs, names, patience, home

    def look(self, bug: str) -> Found | None:
        for program in self.programs:
            failed = self.failed(program, self.names, bug)
            failed = failed and self.failed(program, [*failed, "--exact"], bug)
            if failed and bug != NOTHING:
                without = self.failed(program, [*failed, "--exact"], NOTHING)
                failed = [name for name in failed if name not in without]
            if failed:
                more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
                return Found(f"{failed[0]}{more}")
        return None

    def failed(self, program: Path, names: list[str], bug: str) -> list[str]:
        threads = ["--test-threads", "4"]
        code, out, err = run([str(program), *names, *threads], bug, self.patience, self.home)
        if code == 0:
            return []
        if code is None:
            # What had not ended is what hangs; one of the names is enough.
            ended = set(re.findall(r"^test (\S+) \.\.\.", out, re.MULTILINE))
            begun = run([str(program), *names, "--list"], NOTHING, 60, self.home)[1]
            hang = [name for name in re.findall(r"^(\S+): test$", begun, re.MULTILINE) if name not in ended]
            return hang[:1] or sys.exit(f"error: {program.name} hangs\n{out}\n{err}")
        return FAILED.findall(out.rsplit("\nfailures:\n", 1)[-1]) or sys.exit(f"error: {program.name}\n{out}\n{err}")


class Simulation:
    """The core in simulated worlds."""

    def __init__(self, seeds: int) -> None:
        self.seeds = seeds

    def look(self, bug: str) -> Found | None:
        code, out, err = run([*CHAOS, "simulate", "--seeds", f"0..{self.seeds}"], bug, 600)
        if code == 0:
            return None
        seed, wrong = re.search(r"seed (\d+)", out), re.search(r"^wrong: (.*)$", out, re.MULTILINE)
        if seed is None or wrong is None:
            sys.exit(f"error: the simulation failed\n{out}\n{err}")
        return Found(wrong[1], seed[1])


class Chaos:
    """Real processes that are killed, stopped and cut off."""

    def __init__(self, seed: int, options: str) -> None:
        self.seed, self.options = seed, options.split()

    def look(self, bug: str) -> Found | None:
        command = [*CHAOS, "run", "--seed", str(self.seed), *self.options, "--output", "json"]
        code, out, err = run(command, bug, 240)
        if code == 0:
            return None
        seed = str(self.seed)
        if code is None:
            return Found("it does not end", seed)
        try:
            problems = json.loads(out)["problems"]
        except ValueError:
            words = err.strip().splitlines()
            return Found(words[-1] if words else "it failed", seed)
        return Found("; ".join(problems), seed)


def cargo(*arguments: str) -> list[dict]:
    """Runs cargo; returns what it has made."""
    options = ["--locked", "--features", FEATURE, "--target-dir", str(TARGET)]
    packages = [word for package in PACKAGES for word in ("--package", package)]
    command = ["cargo", *arguments, *packages, *options, "--message-format", "json-render-diagnostics"]
    made = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line) for line in made.splitlines() if line.startswith("{")]


def build() -> dict[tuple[str, str], Path]:
    """Builds all programs; returns those of tests by package and kind."""
    cargo("build", "--bins", "--examples")
    tests = {}
    for made in cargo("test", "--no-run", "--lib", "--test", "it"):
        if made.get("executable") and made.get("profile", {}).get("test"):
            crate = Path(made["manifest_path"]).parent.name
            tests[crate, made["target"]["kind"][0]] = Path(made["executable"])
    # Tests that start the whole program take it from here; they bring plugins of their own.
    for folder in ("bin", "plugins"):
        (TARGET / "stage" / folder).mkdir(parents=True, exist_ok=True)
    program = TARGET / "stage/bin/metafleet"
    program.unlink(missing_ok=True)
    program.symlink_to(PROGRAMS / "metafleet")
    return tests


def experiments(tests: dict[tuple[str, str], Path]) -> dict[str, Tests | Simulation | Chaos]:
    """Those that cost least first."""
    units = [tests[crate, "lib"] for crate in ("broker-config", "worker-sdk", "coordinator")]
    sdk, fleet = tests["worker-sdk", "test"], tests["tests", "test"]
    calm = " ".join(NO_KILLS)
    return {
        "units": Tests(units, UNITS, 300),
        "simulation": Simulation(5_000),
        "sdk": Tests([sdk], [], 300, "worker-sdk"),
        "conformance": Tests([fleet], ["conformance::the_sdk_for_rust_passes_every_case"], 300, "tests"),
        "kills": Chaos(8, "--files 600 --worker-kills 6 --coordinator-kills 3 --broker-kills 8"),
        "pauses": Chaos(3, f"--files 600 {calm} --worker-pauses 4 --coordinator-pauses 2"),
        "crashes": Chaos(1, f"--files 600 {calm} --crash-points 25"),
        "fleet": Tests([fleet], [f"{module}::" for module in FLEET], 600, "tests"),
    }


def bugs() -> list[str]:
    """As the product calls them."""
    return re.findall(r'Self::\w+ => "([a-z-]+)"', BUGS.read_text(encoding="utf-8"))


def table(rows: list[Row], names: list[str]) -> str:
    """A row for each bug, and below what was found, shortened."""
    lines = [f"| bug | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in rows:
        cells = ["not run" if name not in row.by else "found" if row.by[name] else "-" for name in names]
        lines.append(f"| `{row.bug}` | {' | '.join(cells)} |")
    for row in rows:
        for name, found in row.by.items():
            if found is not None:
                seed = f" (seed {found.seed})" if found.seed is not None else ""
                lines.append(f"{row.bug}, {name}{seed}: {found.what[:300]}")
    return "\n".join(lines)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--first", action="store_true", help="look for a bug only until it is found")
    options.add_argument("--bug", action="append", choices=bugs(), metavar="NAME", help="only this one; may be repeated")
    options.add_argument("--experiment", action="append", metavar="NAME", help="only this one; may be repeated")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    arguments = options.parse_args()
    if shutil.which("cargo") is None:
        sys.exit("error: cargo is missing")
    known = experiments(build())
    if strange := [name for name in arguments.experiment or [] if name not in known]:
        sys.exit(f"error: no experiment {strange[0]}; there are {', '.join(known)}")
    chosen = {name: known[name] for name in known if name in (arguments.experiment or known)}
    rows = []
    for bug in [NOTHING, *(arguments.bug or bugs())]:
        row = Row(bug)
        rows.append(row)
        for name, experiment in chosen.items():
            if arguments.first and row.is_found():
                break
            begun = time.monotonic()
            found = row.by[name] = experiment.look(bug)
            row.seconds[name] = round(time.monotonic() - begun, 1)
            said = f"found: {found.what[:160]}" if found else "-"
            print(f"{bug}, {name}, {row.seconds[name]:.0f} s: {said}", file=sys.stderr, flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    print(table(rows, list(chosen)))
    if rows[0].is_found():
        print("something was found where there is no bug", file=sys.stderr)
    unfound = [row.bug for row in rows[1:] if not row.is_found()]
    if unfound:
        print(f"found by nobody: {', '.join(unfound)}", file=sys.stderr)
    return 1 if unfound or rows[0].is_found() else 0


if __name__ == "__main__":
    sys.exit(main())
