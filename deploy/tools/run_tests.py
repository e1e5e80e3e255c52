#!/usr/bin/env python3
"""Runs every test of every language and adds the counts up; the last line is `N passed, N failed`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Tests that need a Docker engine note here whether there was one.
DOCKER_NOTES = ROOT / "target/tmp/docker-tests"
# The tests of compose.yaml note here whether they ran: `ran NAME`, or `skipped NAME: WHY`.
COMPOSE_NOTES = ROOT / "target/tmp/compose-tests"
# The SDKs, each in the words of its language; Rust's is a crate of the workspace.
SDKS = ROOT / "worker-sdk"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
NODE = re.compile(r"^(?:#|ℹ) (pass|fail|skipped) (\d+)$")
SCRIPT = re.compile(r"^(\d+) passed, (\d+) failed$")
PYTHON_RAN = re.compile(r"^Ran (\d+) tests? in")
PYTHON_END = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$")


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: Counts) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


def read_cargo(lines: list[str]) -> Counts:
    """One `test result:` line stands for each test program."""
    counts = Counts()
    for line in lines:
        if found := CARGO.match(line):
            counts.add(Counts(*map(int, found.groups())))
    return counts


def read_unittest(lines: list[str]) -> Counts:
    """`Ran N tests` counts all of them; the line after it says what did not pass."""
    counts = Counts()
    for line in lines:
        if found := PYTHON_RAN.match(line):
            counts.passed += int(found[1])
        elif found := PYTHON_END.match(line):
            said = dict(part.split("=") for part in (found[1] or "").split(", ") if "=" in part)
            failed = sum(int(said.get(key, 0)) for key in ("failures", "errors", "unexpected successes"))
            counts.failed += failed
            counts.skipped += int(said.get("skipped", 0))
            counts.passed -= failed + int(said.get("skipped", 0))
    return counts


def read_go(lines: list[str]) -> Counts:
    """`go test -v` says a line for each test; those within a test are its table and not counted."""
    found = [line.split(maxsplit=2)[1] for line in lines if line.startswith("--- ")]
    return Counts(found.count("PASS:"), found.count("FAIL:"), found.count("SKIP:"))


def read_node(lines: list[str]) -> Counts:
    """node:test ends with `# pass N` or, for people, `ℹ pass N`."""
    said = dict(found.groups() for line in lines if (found := NODE.match(line)))
    return Counts(*(int(said.get(word, 0)) for word in ("pass", "fail", "skipped")))


def read_script(lines: list[str]) -> Counts:
    """The tests of a plugin, in whatever its language prints; a script ends with `N passed, N failed`."""
    counts = Counts()
    for read in (read_unittest, read_node, read_go):
        counts.add(read(lines))
    for line in lines:
        if found := SCRIPT.match(line):
            counts.add(Counts(*map(int, found.groups())))
    return counts


def run(command: list[str], folder: Path, read, **env: str) -> Counts:
    """Runs one test program, shows what it prints and counts it.

    A program that ends badly without a failed test (it did not compile, say) counts as one that failed.
    """
    print(f"\n== {folder.relative_to(ROOT)}: {' '.join(command)}", flush=True)
    lines = []
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        for line in child.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(COLOUR.sub("", line.rstrip("\n")))
    counts = read(lines)
    if child.returncode != 0 and counts.failed == 0:
        print(f"== {' '.join(command)} ended with {child.returncode}")
        counts.failed = 1
    return counts


def read_docker(lines: list[str]) -> tuple[int, list[str]]:
    """How many tests used a real engine, and which found none; each noted a line, passed or not."""
    skipped = [line.partition(" ")[2] for line in lines if line.startswith("skipped ")]
    return sum(line.startswith("ran ") for line in lines), skipped


def tell_docker(ran: int, skipped: list[str]) -> str:
    """A test that finds no engine passes, so the run itself must say what it did not show."""
    text = f"docker: {ran} tests ran against an engine"
    if not skipped:
        return text
    names = ", ".join(skipped)
    return f"{text}\n*** NO DOCKER ENGINE for {len(skipped)} tests, which have shown NOTHING: {names} ***"


def tell_compose(notes: list[str]) -> str:
    """A test without an engine passes, so the run itself must say what it did not show."""
    ran = sum(note.startswith("ran ") for note in notes)
    skipped = [f"*** NOT RUN, SHOWS NOTHING: {note.removeprefix('skipped ')} ***" for note in notes if note.startswith("skipped ")]
    return "\n".join([f"docker compose: {ran} ran", *skipped])


def python_folders() -> list[Path]:
    tops = (ROOT / "deploy", ROOT / "tests")
    return sorted({path.parent for top in tops for path in top.glob("**/test_*.py")})


def sdk_tests() -> dict[str, Counts]:
    """The tests of the SDKs, against the `metafleet` that was built."""
    env = {"METAFLEET_BIN": str(ROOT / "target/stage/bin/metafleet"), "PYTHONPATH": "src"}
    python = os.environ.get("METAFLEET_TEST_PYTHON", sys.executable)
    return {
        "python": run([python, "-m", "unittest", "discover", "-s", "tests", "-t", "."], SDKS / "python", read_unittest, **env),
        "typescript": run(["npm", "test"], SDKS / "typescript", read_node, **env),
        "go": run(["go", "test", "-v", "-count=1", "./..."], SDKS / "go", read_go, **env),
    }


def plugin_tests() -> Counts:
    """The tests of the plugins that are not crates: each has a script `test`."""
    counts = Counts()
    env = {"PYTHON": os.environ.get("METAFLEET_TEST_PYTHON", sys.executable)}
    for script in sorted((ROOT / "plugins").glob("*/test")):
        verbose = ["-v"] if (script.parent / "go.mod").exists() else []
        counts.add(run(["./test", *verbose], script.parent, read_script, **env))
    return counts


def api_tests() -> Counts:
    """Made-up requests to the API of a real fleet; an operation of its document counts as a test."""
    python = os.environ.get("METAFLEET_TEST_OPENAPI", sys.executable)
    return run([python, "contract.py"], ROOT / "tests/openapi", read_script)


def main() -> int:
    by_language = {"rust": Counts(), "python": Counts()}
    DOCKER_NOTES.unlink(missing_ok=True)
    COMPOSE_NOTES.unlink(missing_ok=True)
    for folder in python_folders():
        by_language["python"].add(run([sys.executable, "-m", "unittest"], folder, read_unittest))
    cargo = ["cargo", "test", "--workspace", "--locked", "--no-fail-fast"]
    if sys.stdout.isatty():
        cargo += ["--color", "always"]
    by_language["rust"].add(run(cargo, ROOT, read_cargo))
    for language, counts in sdk_tests().items():
        by_language.setdefault(language, Counts()).add(counts)
    by_language["plugins in other languages"] = plugin_tests()
    by_language["operations of the API by schemathesis"] = api_tests()

    total = Counts()
    print()
    for language, counts in by_language.items():
        print(f"{language}: {counts}")
        total.add(counts)
    notes = DOCKER_NOTES.read_text(encoding="utf-8").splitlines() if DOCKER_NOTES.exists() else []
    print(tell_docker(*read_docker(notes)))
    print(tell_compose(COMPOSE_NOTES.read_text(encoding="utf-8").splitlines() if COMPOSE_NOTES.exists() else []))
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
