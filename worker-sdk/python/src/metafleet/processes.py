"""Runs `def process` in processes, each with a plugin of its own; one that does not end in time is killed."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from . import child
from .job import Job, Mailbox
from .outcome import RetryableError, Said
from .plugin import Plugin
from .runner import Runner

log = logging.getLogger(__name__)

# How long a process may take to end a handler that has had its time; then it is killed.
_CLEAN_UP = 1.0
# How long processes that were killed may take to end, and their copies to be removed.
_ENDING = 5.0
_SPAWN = multiprocessing.get_context("spawn")


class ProcessRunner(Runner):
    """As many processes as there are handlers at once, each with a thread here that speaks with it."""

    def __init__(self, factory: Callable[[], Plugin], answers: Mailbox) -> None:
        self._factory = factory
        self._answers = answers
        self._spare: list[_Child] = []
        self._all: list[_Child] = []

    def start(self, job: Job) -> None:
        if not self._spare:
            self._spare.append(_Child(self._factory, self._answers, self._ended))
            self._all.append(self._spare[0])
        owner = self._spare.pop()
        job.handle = owner
        owner.jobs.put(job)

    def cancel(self, job: Job) -> None:
        job.cancel.set()
        job.handle.cancel(job)
        asyncio.get_running_loop().call_later(_CLEAN_UP, job.handle.kill_late, job)

    def close(self) -> None:
        # Whatever still runs has been given back, and idle processes have nothing to lose.
        for owner in self._all:
            owner.close()
        end = time.monotonic() + _ENDING
        for owner in self._all:
            owner.wait(max(0.0, end - time.monotonic()))

    def _ended(self, job: Job, said: Said) -> None:
        self._spare.append(job.handle)
        job.answer(said)


class _Child:
    """A process and the thread that speaks with it; the process is started when it is needed."""

    def __init__(self, factory: Callable[[], Plugin], answers: Mailbox, ended: Callable[[Job, Said], None]) -> None:
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._factory = factory
        self._answers = answers
        self._ended = ended
        # Of `_connection.send`, and of what runs at the moment.
        self._lock = threading.Lock()
        self._current: Job | None = None
        self._process: Any = None
        self._connection: Connection | None = None
        self._copies: str | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="metafleet-process", daemon=True)
        self._thread.start()

    def cancel(self, job: Job) -> None:
        """Tells the handler, if it still runs."""
        self._send(job, ("cancel",))

    def kill_late(self, job: Job) -> None:
        """Kills the process, if the handler still runs."""
        if self._current is job:
            log.warning("the handler of task %s does not end, its process is killed", job.work.task["taskId"])
            self.kill(job)

    def kill(self, job: Job) -> None:
        """Kills the process, if it runs this job."""
        with self._lock:
            if self._process is not None and job is self._current:
                self._process.kill()

    def close(self) -> None:
        """Kills the process, whatever it does, and ends the thread."""
        self.jobs.put(None)
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def wait(self, seconds: float) -> None:
        """Waits so long until nothing is left of a process that was closed."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            with self._lock:
                self._current = job
            said = self._said(job)
            with self._lock:
                self._current = None
            self._answers.post(self._ended, job, said)
        self._end()

    def _said(self, job: Job) -> Said:
        try:
            connection = self._connected()
            self._send(job, ("work", job.work))
            while True:
                kind, *values = connection.recv()
                if kind == "said":
                    said: Said = values[0]
                    return said
                if kind == "failed":
                    log.warning("the handler failed with task %s:\n%s", job.work.task["taskId"], values[1])
                    return RetryableError(values[0])
                self._obey(job, kind, values)
        except (EOFError, OSError):
            return RetryableError(f"the process of the handler ended with {self._end()}")
        except Exception as error:
            # What cannot be pickled, for one.
            self._end()
            return RetryableError(f"could not speak with the process of the handler: {error}")

    def _connected(self) -> Connection:
        if self._connection is None or not self._process.is_alive():
            self._end()
            self._copies = _folder()
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=child.main, args=(theirs, self._factory, self._copies), daemon=True)
            process.start()
            theirs.close()
            with self._lock:
                self._process, self._connection = process, ours
                if self._closed:
                    # Meanwhile; there was nothing to kill yet.
                    process.kill()
        assert self._connection is not None
        return self._connection

    def _obey(self, job: Job, kind: str, values: list[Any]) -> None:
        if kind == "begun":
            # Making the process and the plugin in it takes none of the handler's time.
            job.begin()
        elif kind == "progress":
            job.port.progress(*values)
        elif kind == "fetched":
            job.port.fetched(*values)
        elif kind in ("submit", "keep"):
            number, *arguments = values
            stored = job.port.submit(*arguments) if kind == "submit" else job.port.keep(*arguments)
            stored.add_done_callback(lambda done: self._send(job, ("stored", number, done.exception())))

    def _send(self, job: Job, message: tuple[Any, ...]) -> None:
        with self._lock:
            if self._current is not job or self._connection is None:
                return
            try:
                self._connection.send(message)
            except OSError:
                # It has ended; whoever waits for its answer will see that.
                return

    def _end(self) -> str:
        """Ends the process, and removes what it has copied; says how it ended."""
        with self._lock:
            process, connection = self._process, self._connection
            self._process = self._connection = None
        if connection is not None:
            connection.close()
        said = "nothing" if process is None else _joined(process)
        copies, self._copies = self._copies, None
        if copies is not None:
            shutil.rmtree(copies, ignore_errors=True)
        return said


def _joined(process: Any) -> str:
    process.join(_CLEAN_UP)
    if process.is_alive():
        process.kill()
        process.join(_CLEAN_UP)
    code: int | None = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _folder() -> str | None:
    """A folder for the copies of one process; it cannot remove them itself when it is killed."""
    try:
        return tempfile.mkdtemp(prefix="metafleet-")
    except OSError as error:
        # Files that are on this machine can be read without one; whoever copies fails, and says why.
        log.warning("no folder for copies of files: %s", error)
        return None
