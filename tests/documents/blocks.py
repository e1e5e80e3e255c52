"""Takes the blocks of code out of the documents as they stand, and runs `metafleet` on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("METAFLEET_BIN", REPOSITORY / "target/stage/bin/metafleet")).absolute()
SDK = REPOSITORY / "worker-sdk"
PYTHON = os.environ.get("METAFLEET_TEST_PYTHON", sys.executable)
# Compiling a first plugin may fetch and build all that it leans on.
PATIENCE = 1800.0
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def block(document: str, language: str, *words: str) -> str:
    """The one block of a document in this language that has these words in it."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    found = [body for kind, body in FENCED.findall(text) if kind == language and all(word in body for word in words)]
    if len(found) != 1:
        raise AssertionError(f"{document} has {len(found)} blocks in {language} with {words}, and should have one")
    return found[0]


class AsAuthor(unittest.TestCase):
    """A folder and a data folder of its own, as somebody has who reads the documents; `metafleet` is on PATH."""

    def setUp(self) -> None:
        if not os.access(PROGRAM, os.X_OK):
            raise AssertionError(f"{PROGRAM} is not there: run `make build`")
        self.home = Path(tempfile.mkdtemp(prefix="documents-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        foreign = ("NATS_URL", "METAFLEET_OUTPUT", "METAFLEET_PREFIX", "METAFLEET_PLUGINS", "PYTHONPATH")
        self.env = {name: value for name, value in os.environ.items() if name not in foreign}
        self.env |= {
            "METAFLEET_DATA_DIR": str(self.home / "data"),
            "METAFLEET_PLUGIN_PATH": str(self.home / "none"),
            "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
            # Plugins in Rust share what they lean on, also with other tests.
            "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(REPOSITORY / "target/tmp/scaffold-rust")),
            "CARGO_PROFILE_DEV_DEBUG": "none",
        }

    def run_in(self, folder: Path, *command: str) -> str:
        """Runs a command, which must succeed; returns what it printed."""
        done = subprocess.run(command, cwd=folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def tried(self, folder: Path, *files: Path, command: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What `metafleet plugin test` says of each file."""
        names = [str(file) for file in files]
        printed = self.run_in(folder, "metafleet", "plugin", "test", *names, "--output", "json", *(["--", *command] if command else []))
        return [one["record"] for one in json.loads(printed)["files"]]

    def compiled(self, crate: Path, package: str) -> Path:
        """Builds a plugin in Rust, as it is quickest; returns the program, which goes with the test."""
        # The versions that are here already.
        shutil.copy(REPOSITORY / "Cargo.lock", crate / "Cargo.lock")
        self.addCleanup(self.run_in, crate, "cargo", "clean", "--quiet", "--package", package)
        self.run_in(crate, "cargo", "build", "--quiet")
        return Path(self.env["CARGO_TARGET_DIR"]) / "debug" / package
