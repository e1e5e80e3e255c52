"""What runs in a process of a plugin: one handler at a time, with a plugin of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from . import logs
from .artifact import Artifact
from .context import Context
from .job import Cancel, Work
from .outcome import PermanentError, RetryableError, TaskError, taken
from .plugin import Plugin
from .text import described
from .wire import Submission

_OVER = "the attempt is over"


class _Pipe:
    """Speaks with the worker."""

    def __init__(self, connection: Connection, copies: str | None) -> None:
        self.attempts: queue.SimpleQueue[_Attempt] = queue.SimpleQueue()
        self._connection = connection
        self._copies = copies
        self._sending = threading.Lock()

    def send(self, *message: Any, unless: Callable[[], bool] = lambda: False) -> bool:
        """Says something to the worker; whether it did."""
        with self._sending:
            if unless():
                return False
            self._connection.send(message)
            return True

    def listen(self) -> None:
        """Obeys the worker; ends with it, however that ends."""
        current: _Attempt | None = None
        with contextlib.suppress(EOFError, OSError):
            while True:
                kind, *values = self._connection.recv()
                if kind == "work":
                    # Before the handler begins, so that what ends it cannot come too early.
                    current = _Attempt(self, values[0]._replace(copies=self._copies))
                    self.attempts.put(current)
                elif current is not None and kind == "cancel":
                    current.cancel.set()
                elif current is not None and kind == "stored":
                    current.stored(*values)
        # A worker that was killed cannot remove it.
        if self._copies is not None:
            shutil.rmtree(self._copies, ignore_errors=True)
        os._exit(0)


class _Attempt:
    """One attempt, and the `Port` for its handler; what threads say that outlive it is not heard."""

    def __init__(self, pipe: _Pipe, work: Work) -> None:
        self.work = work
        self.cancel = Cancel()
        self._pipe = pipe
        self._over = False
        self._numbers = itertools.count(1)
        self._storing: dict[int, Future[None]] = {}

    def progress(self, fraction: float, note: str) -> None:
        self._say("progress", fraction, note)

    def fetched(self, octets: int) -> None:
        self._say("fetched", octets)

    def submit(self, submission: Submission) -> Future[None]:
        return self._store("submit", submission)

    def keep(self, artifact: Artifact, data: bytes) -> Future[None]:
        return self._store("keep", artifact, data)

    def stored(self, number: int, error: BaseException | None) -> None:
        """The worker says what came of something that was to be stored."""
        if (done := self._storing.pop(number, None)) is not None:
            done.set_exception(error) if error else done.set_result(None)

    def _store(self, kind: str, *what: Any) -> Future[None]:
        done: Future[None] = Future()
        number = next(self._numbers)
        self._storing[number] = done
        if not self._say(kind, number, *what):
            self.stored(number, RetryableError(_OVER))
        return done

    def _say(self, *message: Any) -> bool:
        return self._pipe.send(*message, unless=lambda: self._over)

    def run(self, plugin: Plugin) -> object:
        """What the handler says."""
        ctx = Context(self.work, time.monotonic(), self.cancel, self)
        try:
            return taken(plugin.process(ctx))
        finally:
            ctx.close()
            self._over = True
            for number in list(self._storing):
                self.stored(number, RetryableError(_OVER))


def main(connection: Connection, factory: Callable[[], Plugin], copies: str | None) -> None:
    """Serves until the worker ends; copies of files are put into a folder that goes when this process has ended."""
    # The worker says when to stop, also when a terminal tells all processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logs.start()
    pipe = _Pipe(connection, copies)
    threading.Thread(target=pipe.listen, name="metafleet-pipe", daemon=True).start()
    plugin, settings = None, None
    while True:
        attempt = pipe.attempts.get()
        work = attempt.work
        try:
            if plugin is None or settings != work.settings:
                plugin, settings = plugin or factory(), None
                plugin.configure(work.settings)
                settings = work.settings
            pipe.send("begun")
            pipe.send("said", attempt.run(plugin))
        except TaskError as error:
            # Not the error itself: its class may not be picklable, and need not take a text.
            pipe.send("said", (PermanentError if error.permanent else RetryableError)(str(error)))
        except Exception as error:
            pipe.send("failed", described(error), traceback.format_exc())
        except BaseException as error:
            pipe.send("said", RetryableError(described(error)))

