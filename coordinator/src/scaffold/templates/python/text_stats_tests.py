"""The plugin on real files, as a worker would run it, without a broker."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from metafleet import PermanentError, Skipped
from metafleet.testing import Bench, Report

from text_stats import TextStats


class TextStatsTest(unittest.TestCase):
    def run_on(self, content: bytes, **settings: float) -> Report:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.txt"
            path.write_bytes(content)
            return Bench(TextStats(), settings=settings).run(path)

    def test_lines_and_words_are_counted(self) -> None:
        report = self.run_on("one two\nthree – vier\n".encode())
        self.assertEqual(report.meta, {"@ID@/lines": "2", "@ID@/words": "5"})

    def test_short_words_count_only_when_the_setting_says_so(self) -> None:
        report = self.run_on(b"one two three four\n", minWordLength=4)
        self.assertEqual(report.meta["@ID@/words"], "2")

    def test_a_setting_that_makes_no_sense_is_refused(self) -> None:
        self.assertIn("must be 1 to 1000", self.run_on(b"text", minWordLength=0).error or "")

    def test_an_empty_file_is_skipped(self) -> None:
        self.assertEqual(self.run_on(b"").said, Skipped("the file is empty"))

    def test_what_is_not_text_fails_for_good(self) -> None:
        self.assertIsInstance(self.run_on(b"\xff\xfe\xff").said, PermanentError)


if __name__ == "__main__":
    unittest.main()
