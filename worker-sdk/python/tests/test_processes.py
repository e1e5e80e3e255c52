"""Processes of handlers: what they have copied goes, however they end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from unittest import mock

from metafleet import Context, Outcome, PermanentError, Plugin, RetryableError
from metafleet.job import Job, Mailbox, Work
from metafleet.options import FilesOffer
from metafleet.outcome import Completed, Said
from metafleet.paths import path_fields
from metafleet.processes import ProcessRunner

from .fleet import HERE, LIMIT, Process, until
from .test_files import TOKEN, Server

_PATH = b"/library/a.mkv"
_MAIN = """
import asyncio, sys, time
from tests.test_processes import Copies
async def copy():
    copies = Copies(sys.argv[1])
    await copies.begin()
    time.sleep(60)
if __name__ == "__main__":
    asyncio.run(copy())
"""


class Copier(Plugin):
    """Copies its file, says where, and hangs, if it is told to."""

    manifest = {"id": "copier"}

    def process(self, ctx: Context) -> Outcome:
        copy = ctx.local_path()
        ctx.progress(0.5, str(copy))
        if ctx.attempt == 1:
            time.sleep(60)
        return {"copy": str(copy)}


class Unreadable(PermanentError):
    """An error of the plugin's own, which is not made of a text."""

    def __init__(self, line: int, *, column: int) -> None:
        super().__init__(f"no text at {line}:{column}")


class Refusing(Plugin):
    """Fails for good."""

    manifest = {"id": "refusing"}

    def process(self, ctx: Context) -> Outcome:
        raise Unreadable(3, column=7)


class Port:
    """Keeps what the handler notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def progress(self, fraction: float, note: str) -> None:
        self.notes.append(note)

    def fetched(self, octets: int) -> None:
        """Nobody counts."""

    def submit(self, submission: Any) -> Future[None]:
        raise NotImplementedError

    def keep(self, artifact: Any, data: bytes) -> Future[None]:
        raise NotImplementedError


class Copies:
    """A runner of processes, with a file that must be copied."""

    def __init__(self, url: str, factory: type[Plugin] = Copier) -> None:
        self._url = url
        self.port = Port()
        self.runner = ProcessRunner(factory, Mailbox(asyncio.get_running_loop()))

    def start(self, attempt: int) -> Job:
        task: Any = {**path_fields(_PATH), "file": {"size": 0}, "taskId": "t"}
        work = Work(task, "c", "p", "i", attempt, 60, {}, files=FilesOffer(self._url, TOKEN))
        answered: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        job = Job(work, self.port, answered)
        self.runner.start(job)
        return job

    async def begin(self) -> tuple[Job, Path]:
        """An attempt that hangs, and its copy."""
        job = self.start(attempt=1)
        await until("the copy", lambda: self.port.notes)
        return job, Path(self.port.notes[-1])


class Ends(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.server.content[_PATH] = b"x" * 1000
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        # For what is started here and asks anew, and for this process, which has asked already.
        for patch in (mock.patch.dict(os.environ, {"TMPDIR": str(self.temporary)}), mock.patch.object(tempfile, "tempdir", None)):
            patch.start()
            self.addCleanup(patch.stop)

    def left(self) -> list[Path]:
        return list(self.temporary.glob("metafleet-*"))

    async def test_a_process_that_is_killed_leaves_no_copy(self) -> None:
        copies = Copies(self.server.url)
        job, copy = await copies.begin()
        self.assertEqual((copy.read_bytes(), copy.is_relative_to(self.temporary)), (b"x" * 1000, True))
        copies.runner.cancel(job)
        said = await asyncio.wait_for(job.answered, LIMIT)
        self.assertIsInstance(said, RetryableError)
        self.assertRegex(str(said), "signal 9")
        self.assertEqual(self.left(), [])
        # The next one gets a process, and a folder, of its own.
        completed = await asyncio.wait_for(copies.start(attempt=2).answered, LIMIT)
        assert isinstance(completed, Completed), completed
        again = Path(completed.meta["copy"])
        self.assertNotEqual(again.parent.parent, copy.parent.parent)
        self.assertFalse(again.parent.exists(), "the copy goes with its attempt")
        copies.runner.close()
        self.assertEqual(self.left(), [])

    async def test_an_error_of_a_class_of_the_plugins_own_stays_what_it_is(self) -> None:
        copies = Copies(self.server.url, Refusing)
        said = await asyncio.wait_for(copies.start(attempt=1).answered, LIMIT)
        copies.runner.close()
        self.assertIsInstance(said, PermanentError)
        self.assertEqual(str(said), "no text at 3:7")

    async def test_nothing_is_left_when_the_worker_has_ended(self) -> None:
        copies = Copies(self.server.url)
        await copies.begin()
        copies.runner.close()
        self.assertEqual(self.left(), [])

    async def test_nothing_is_left_by_a_process_that_was_starting_when_the_worker_ended(self) -> None:
        copies = Copies(self.server.url)
        job = copies.start(attempt=1)
        copies.runner.close()
        self.assertIsInstance(await asyncio.wait_for(job.answered, LIMIT), RetryableError)
        self.assertEqual((self.left(), copies.port.notes), ([], []))

    async def test_nothing_is_left_when_the_worker_was_killed(self) -> None:
        program = self.folder / "killed.py"
        program.write_text(_MAIN)
        search = os.pathsep.join((str(HERE.parent), str(HERE.parent / "src")))
        worker = Process("killed", [sys.executable, str(program), self.server.url], self.folder, {"PYTHONPATH": search})
        self.addCleanup(worker.stop)
        await until("the copy", lambda: list(self.temporary.glob("metafleet-*/**/*.mkv")))
        worker.signal(signal.SIGKILL)
        await until("the end of what it has left", lambda: not self.left())

    async def test_without_a_folder_for_copies_there_is_an_error_that_says_why(self) -> None:
        tempfile.tempdir = str(self.folder / "nowhere")
        with mock.patch.dict(os.environ, {"TMPDIR": str(self.folder / "nowhere")}):
            copies = Copies(self.server.url)
            with self.assertLogs("metafleet.processes", "WARNING") as logged:
                done = await asyncio.wait_for(copies.start(attempt=2).answered, LIMIT)
        # The process looks for another place.
        self.assertIsInstance(done, Completed)
        self.assertIn("no folder for copies", logged.output[0])
        copies.runner.close()


if __name__ == "__main__":
    unittest.main()
