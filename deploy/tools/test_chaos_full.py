"""Every experiment is run, whatever became of those before, and what went wrong is told."""

import contextlib
import io
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import chaos_full
from chaos_full import Experiment, Result

GOOD = {"lost": 0, "duplicates": 0, "toldTwice": 0, "reexecutions": 3, "stallMsMax": 90, "problems": []}
POWER = {"settings": [{"syncInterval": "always", "lost": 2}, {"syncInterval": "2m", "lost": 900}], "problems": ["lost"]}


class Table(unittest.TestCase):
    def test_a_line_says_how_an_experiment_ended(self):
        several = [{**GOOD, "lost": 1, "stallMsMax": 40, "problems": ["lost"]}, GOOD]
        rows = [
            (Result("x", 0, 7.4, [GOOD]), True, ["x", "good", "0", "0", "3", "90", "7"]),
            (Result("x", 1, 7.6, several), False, ["x", "WRONG, 1 problems", "1", "0", "6", "90", "8"]),
            (Result("x", 1, 1, [POWER]), False, ["x", "WRONG, 1 problems", "2", "0", "0", "0", "1"]),
            (Result("x", 0, 1, []), False, ["x", "no result, ended with 0", "", "", "", "", "1"]),
            (Result("x", 1, 1, [GOOD]), False, ["x", "WRONG, 0 problems", "0", "0", "3", "90", "1"]),
            (Result("x", None), True, ["x", "left out: it needs root", "", "", "", "", ""]),
        ]
        for result, good, cells in rows:
            self.assertEqual((result.is_good(), result.cells()), (good, cells), result)

    def test_columns_are_as_wide_as_what_is_in_them(self):
        lines = chaos_full.table([Result("a-long-name", 0, 1, [GOOD])]).splitlines()

        self.assertEqual(lines[0].index("ended"), lines[1].index("good"))
        self.assertEqual(lines[0].index("stall ms"), lines[1].index("90"))


class Running(unittest.TestCase):
    def all(self, program, *names):
        """Runs experiments with a program in place of the real one."""
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        root = Path(temp.name)
        path = root / "program"
        path.write_text(f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
        experiments = [Experiment("first", "one"), Experiment("second", "two"), Experiment("third", "three", needs_root=True)]
        changed = mock.patch.multiple(chaos_full, ROOT=root, PROGRAM=path, EXPERIMENTS=experiments)
        who = mock.patch.object(chaos_full.os, "geteuid", return_value=1000)
        said = contextlib.redirect_stdout(io.StringIO())
        with changed, who, said as shown, mock.patch.object(chaos_full.sys, "argv", ["chaos_full.py", *names]):
            return chaos_full.main(), shown.getvalue(), root / "target/chaos"

    def test_the_second_is_run_after_the_first_went_wrong(self):
        code, shown, folder = self.all(f"""[ $1 = one ] && exit 3; echo '{{"lost": 0, "problems": []}}'""")

        self.assertEqual(code, 1)
        self.assertIn("no result, ended with 3", shown)
        self.assertRegex(shown, r"second +good")
        self.assertRegex(shown, r"third +left out")
        self.assertEqual((folder / "second.json").read_text(), '{"lost": 0, "problems": []}\n')
        self.assertRegex((folder / "table.txt").read_text(), r"second +good")

    def test_it_ends_well_when_all_did(self):
        code, _, _ = self.all("""echo '{"problems": []}'""")

        self.assertEqual(code, 0)

    def test_one_can_be_named(self):
        code, shown, _ = self.all("""[ $1 = two ] && echo '{"problems": []}'""", "second")

        self.assertEqual(code, 0)
        self.assertNotIn("first", shown)

    def test_the_program_knows_every_experiment(self):
        source = (Path(__file__).parents[2] / "tests/src/bin/metafleet-chaos/main.rs").read_text()
        for experiment in chaos_full.EXPERIMENTS:
            words = experiment.command.split()
            for option in (word for word in words[1:] if word.startswith("--")):
                name = option.removeprefix("--").replace("-", "_")
                if words[0] == "run":
                    self.assertIn(f"    {name}: ", source, experiment)
