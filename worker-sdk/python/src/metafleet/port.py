"""What a handler can cause outside of itself in a fleet: progress, submissions, artefacts."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from .artifact import Artifact
from .job import Job
from .leases import Held
from .outcome import RetryableError
from .rim import Rim
from .settle import Attempt
from .wire import Submission

_PROGRESS_EVERY = 1.0
_OVER = "the attempt was over before the broker had stored it"


class FleetPort:
    """The port of one attempt; what a handler calls may come from any thread."""

    def __init__(self, rim: Rim, held: Held, attempt: Attempt, span: Any) -> None:
        self.job: Job | None = None
        self.span = span
        self._rim = rim
        self._held = held
        self._attempt = attempt
        self._told = 0.0
        self._submitted = itertools.count(1)
        # What the loop that talks to the broker is at; None when the attempt is over.
        self._running: set[asyncio.Task[None]] | None = set()

    def progress(self, fraction: float, note: str) -> None:
        at = time.monotonic()
        self._held.fraction = fraction
        if self.job is not None:
            self.job.got_on = at
        if at >= self._told + _PROGRESS_EVERY:
            self._told = at
            self._begin(self._attempt.report(fraction, note))

    def submit(self, submission: Submission) -> Future[None]:
        return self._begin(self._attempt.submit(submission, next(self._submitted)))

    def keep(self, artifact: Artifact, data: bytes) -> Future[None]:
        return self._begin(self._attempt.keep(artifact, data))

    def fetched(self, octets: int) -> None:
        self._rim.mailbox.post(self._rim.count, "fetchedBytes", octets)

    def close(self) -> None:
        """The attempt is over: nothing more is stored for it. Only on the loop that talks to the broker."""
        running, self._running = self._running, None
        for task in running or ():
            task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        done: Future[None] = Future()
        self._rim.mailbox.post(self._spawn, work, done)
        return done

    def _spawn(self, work: Coroutine[Any, Any, None], done: Future[None]) -> None:
        if self._running is None:
            work.close()
            return _tell(done, RetryableError(_OVER))
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(functools.partial(self._ended, done))
        done.add_done_callback(functools.partial(self._waits_no_more, task))

    def _ended(self, done: Future[None], task: asyncio.Task[None]) -> None:
        if self._running is not None:
            self._running.discard(task)
        _tell(done, RetryableError(_OVER) if task.cancelled() else task.exception())

    def _waits_no_more(self, task: asyncio.Task[None], done: Future[None]) -> None:
        """The handler gave it up; called in its thread."""
        if done.cancelled():
            self._rim.mailbox.post(task.cancel)


def _tell(done: Future[None], error: BaseException | None) -> None:
    if not done.set_running_or_notify_cancel():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(None)
