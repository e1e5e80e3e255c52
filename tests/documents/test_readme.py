"""The plugins that stand in README.md and at the end of plugins/README.md, on real files."""

from __future__ import annotations

import json
import shutil
import unittest
from pathlib import Path

from blocks import PYTHON, REPOSITORY, SDK, AsAuthor, block

LICENCE = REPOSITORY / "LICENSE"


class Plugins(AsAuthor):
    def setUp(self) -> None:
        super().setUp()
        self.text = self.home / "licence.txt"
        shutil.copy(LICENCE, self.text)
        self.blank = self.home / "blank.txt"
        self.blank.write_text("\n \n")
        self.words = str(len(LICENCE.read_text().split()))

    def plugin(self, *parts: str) -> Path:
        folder = self.home.joinpath(*parts)
        folder.mkdir(parents=True)
        return folder

    def test_the_one_in_python_counts_the_words_and_skips_what_has_none(self) -> None:
        folder = self.plugin("python")
        (folder / "manifest.json").write_text(block("README.md", "json", '"id": "word-count"'))
        (folder / "word_count.py").write_text(block("README.md", "python", "class WordCount"))
        self.env["PYTHONPATH"] = str(SDK / "python/src")
        full, blank = self.tried(folder, self.text, self.blank, command=[PYTHON, "word_count.py"])
        self.assertEqual((full["status"], full["meta"]), ("completed", {"text/words": self.words}))
        self.assertEqual((blank["status"], blank["reason"]), ("skipped", "the file has no words"))

    def test_the_one_in_rust_runs_from_a_plugin_folder(self) -> None:
        source = self.plugin("rust", "src")
        crate = source.parent
        (source / "main.rs").write_text(block("README.md", "rust", "struct WordCount"))
        (crate / "manifest.json").write_text(block("README.md", "json", '"id": "word-count"'))
        (crate / "Cargo.toml").write_text(
            f'[package]\nname = "word-count"\nversion = "1.0.0"\nedition = "2024"\n[workspace]\n'
            f'[dependencies]\ntokio = "1"\nworker-sdk = {{ path = {json.dumps(str(SDK))} }}\n')
        program = self.compiled(crate, "word-count")
        installed = self.plugin("plugins", "word-count", "v1.0.0")
        shutil.copy(crate / "manifest.json", installed)
        shutil.copy(program, installed)
        self.run_in(self.home, "metafleet", "scan", str(self.text), "--wait", "--plugin-dir", str(self.home / "plugins"))
        said = json.loads(self.run_in(self.home, "metafleet", "meta", "get", str(self.text), "--output", "json"))
        self.assertEqual(said, {"text/words": self.words})

    def test_the_worker_without_an_sdk_counts_the_lines(self) -> None:
        folder = self.plugin("lines")
        (folder / "manifest.json").write_text(block("plugins/README.md", "json", '"id": "lines"'))
        (folder / "worker.py").write_text(block("plugins/README.md", "python", "import nats"))
        [record] = self.tried(folder, self.text, command=[PYTHON, "worker.py"])
        lines = str(LICENCE.read_bytes().count(b"\n"))
        self.assertEqual((record["status"], record["meta"]), ("completed", {"text/lines": lines}))


if __name__ == "__main__":
    unittest.main()
