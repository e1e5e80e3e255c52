"""plugins/README.md, "Writing a plugin": its commands in their order, and the heart of a plugin in each language."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
import unittest
from pathlib import Path
from typing import Any

from blocks import PYTHON, SDK, AsAuthor, block

DOCUMENT = "plugins/README.md"
# Of sample.txt in each plugin that is made.
LINES = {"word-count/lines": "3"}
PATIENCE = 180.0


def in_place(source: str, begin: str, end: str, new: str) -> str:
    """The source with what stands from `begin` to the first `end` after it replaced."""
    found = re.search(f"^{re.escape(begin)}.*?^{re.escape(end)}", source, re.MULTILINE | re.DOTALL)
    if found is None:
        raise AssertionError(f"no {begin!r} in\n{source}")
    return source[: found.start()] + new + source[found.end():]


def indented(text: str, by: str) -> str:
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


class Heart(AsAuthor):
    """Each block takes the place of what the template does, in the file that the table names."""

    def make(self, lang: str) -> Path:
        self.run_in(self.home, "metafleet", "plugin", "new", "--lang", lang, "word-count", "--sdk", str(SDK))
        return self.home / "word-count"

    def counts(self, folder: Path, *command: str) -> None:
        [record] = self.tried(folder, Path("sample.txt"), command=command)
        self.assertEqual((record["status"], record["meta"]), ("completed", LINES))

    def test_in_rust(self) -> None:
        folder = self.make("rust")
        path, heart = folder / "src/lib.rs", block(DOCUMENT, "rust", "word-count/lines")
        path.write_text(in_place(path.read_text(), "    async fn process", "    }\n", indented(heart, "    ")))
        # `./build` makes a release, which takes minutes.
        self.counts(folder, str(self.compiled(folder, "plugin-word-count")))

    def test_in_python(self) -> None:
        folder = self.make("python")
        path, heart = folder / "text_stats.py", block(DOCUMENT, "python", "word-count/lines")
        path.write_text(in_place(path.read_text(), "    def process", "        }\n", indented(heart, "    ")))
        self.counts(folder)

    def test_in_typescript(self) -> None:
        folder = self.make("typescript")
        path, heart = folder / "src/plugin.ts", block(DOCUMENT, "typescript", "word-count/lines")
        path.write_text(in_place(path.read_text(), "  async process", "  },\n", indented(heart.rstrip() + ",\n", "  ")))
        self.counts(folder)

    def test_in_go(self) -> None:
        folder = self.make("go")
        path, heart = folder / "plugin.go", block(DOCUMENT, "go", "word-count/lines")
        source = in_place(path.read_text(), "func (p *textStats) Process", "}\n", heart)
        # As editors do: what is used is imported, and nothing else.
        rest = source.partition("\n)\n")[2]
        imports = [f'\t"{name}"\n' for name in ("bytes", "context", "errors", "io", "os", "strings", "sync/atomic", "unicode/utf8")
                   if f"{name.rpartition('/')[2]}." in rest]
        module = re.search(r'^\tmetafleet ".*"$', source, re.MULTILINE)
        imported = f'import (\n{"".join(imports)}\t_ "embed"\n\n{module[0]}\n)\n'
        path.write_text(in_place(source, "import (", ")\n", imported))
        self.counts(folder)

    def test_in_shell(self) -> None:
        folder = self.make("shell")
        path, heart = folder / "extract.sh", block(DOCUMENT, "sh", "word-count/lines")
        path.write_text(f"#!/bin/sh\n{heart}")
        self.counts(folder)


class Commands(AsAuthor):
    """From nothing to a plugin that runs, line by line; a fleet runs meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        # In the words of the document there is a Python that has what the SDK needs.
        packages = self.run_in(self.home, PYTHON, "-c", "import nats, pathlib; print(pathlib.Path(nats.__file__).parents[1])").strip()
        self.env |= {"PYTHON": PYTHON, "PYTHONPATH": f"{SDK / 'python/src'}:{packages}"}
        self.place = self.home
        self.library = self.home / "library"
        self.library.mkdir()
        self.log = self.home / "up.log"
        with open(self.log, "wb") as log:
            fleet = subprocess.Popen(
                ["metafleet", "up", "--library", f"texts={self.library}", "--api-listen", "127.0.0.1:0"],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(self.end, fleet)
        self.until("the fleet", lambda: "metafleet is up" in self.log.read_text())

    def end(self, process: subprocess.Popen[bytes], how: int = signal.SIGTERM) -> int:
        """Ends a program and waits for it."""
        process.send_signal(how)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def until(self, what: str, holds) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), end, f"waited in vain for {what}:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def listed(self) -> list[dict[str, Any]]:
        """The plugins that the fleet knows."""
        return json.loads(self.run_in(self.home, "metafleet", "plugin", "list", "--output", "json"))

    def watched(self, line: str) -> None:
        """A command that goes on: until it has printed the record, then Ctrl-C."""
        printed = self.home / "printed"
        with open(printed, "wb") as out:
            process = subprocess.Popen(["sh", "-c", f"exec {line}"], cwd=self.place, env=self.env,
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            if line.endswith(" dev"):
                self.until("the plugin in the fleet", lambda: any(one["id"] == "word-count" for one in self.listed()))
                shutil.copy(self.place / "sample.txt", self.library)
                self.run_in(self.home, "metafleet", "scan", str(self.library), "--wait")
            self.until(f"the record of `{line}`", lambda: "word-count/words" in printed.read_text() or process.poll() is not None)
        finally:
            code = self.end(process, signal.SIGINT) if process.poll() is None else process.returncode
        self.assertIn("word-count/words", printed.read_text())
        # Ctrl-C ends `dev` in order, and interrupts `test`.
        self.assertEqual(code, 0 if line.endswith(" dev") else 130, printed.read_text())

    def test_each_does_what_stands_beside_it(self) -> None:
        lines = [line.partition("#")[0].strip() for line in block(DOCUMENT, "sh", "metafleet plugin new").splitlines()]
        for line in lines:
            if line.startswith("cd "):
                self.place /= line.removeprefix("cd ")
            elif line.endswith("--watch") or line.endswith(" dev"):
                self.watched(line)
            else:
                self.run_in(self.place, "sh", "-c", line)
        self.assertEqual(lines[-1], "metafleet plugin enable word-count")
        (self.library / "more.txt").write_text("one two\nthree\n")
        self.until("the plugin", lambda: any(one["id"] == "word-count" and one["instances"] for one in self.listed()))
        self.run_in(self.home, "metafleet", "scan", str(self.library), "--wait")
        said = self.run_in(self.home, "metafleet", "meta", "get", str(self.library / "more.txt"), "--output", "json")
        self.assertEqual(json.loads(said), {"word-count/lines": "2", "word-count/words": "3"})


if __name__ == "__main__":
    unittest.main()
