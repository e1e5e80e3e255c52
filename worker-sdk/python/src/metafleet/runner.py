"""Where handlers run: on a loop, in threads, or in processes; never on the loop that talks to the broker."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import queue
import threading
from abc import ABC, abstractmethod

from .context import AsyncContext, Context
from .job import Job, Mailbox
from .outcome import RetryableError, Said, TaskError, taken
from .plugin import Plugin
from .telemetry import Tracing
from .text import described

log = logging.getLogger(__name__)


class Runner(ABC):
    """Runs handlers; its methods are for the loop that talks to the broker."""

    hanging = 0
    """Handlers that were given up and have not come back."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Runs the handler, which answers the job when it is done."""

    @abstractmethod
    def cancel(self, job: Job) -> None:
        """Tells the handler that it has had its time."""

    def close(self) -> None:
        """Ends what is idle."""


def raised(error: Exception, job: Job) -> Said:
    """What a handler said by raising; a mistake in it is shown with where it happened."""
    if isinstance(error, TaskError):
        return error
    work = job.work
    log.warning("the handler failed with task %s of %s", work.task["taskId"], work.cid, exc_info=error)
    return RetryableError(described(error))


class LoopRunner(Runner):
    """Runs `async def process` on the loop of the main thread."""

    def __init__(self, plugin: Plugin, handlers: asyncio.AbstractEventLoop, answers: Mailbox, tracing: Tracing) -> None:
        self._plugin = plugin
        self._loop = handlers
        self._jobs = Mailbox(handlers)
        self._answers = answers
        self._tracing = tracing

    def start(self, job: Job) -> None:
        self._jobs.post(self._begin, job)

    def cancel(self, job: Job) -> None:
        job.cancel.set()
        # Until the loop hears of it: one that a handler blocks for good counts like threads that hang.
        self.hanging += 1
        self._jobs.post(self._cancel, job)

    def _begin(self, job: Job) -> None:
        if not job.cancel.is_set():
            job.handle = self._loop.create_task(self._run(job))

    def _cancel(self, job: Job) -> None:
        if job.handle is not None:
            job.handle.cancel()
        self._answers.post(self._heard)

    def _heard(self) -> None:
        self.hanging -= 1

    async def _run(self, job: Job) -> None:
        job.begin()
        ctx = AsyncContext(job.work, job.begun or 0.0, job.cancel, job.port)
        said: Said = RetryableError("the handler was cancelled")
        try:
            with self._tracing.current(job):
                said = taken(await self._plugin.process(ctx))
        except Exception as error:
            said = raised(error, job)
        except (SystemExit, KeyboardInterrupt) as error:
            said = RetryableError(described(error))
        finally:
            ctx.close()
            self._answers.post(job.answer, said)


class ThreadRunner(Runner):
    """Runs `def process` in threads: as many as there are handlers at once, and those that hang."""

    def __init__(self, plugin: Plugin, answers: Mailbox, tracing: Tracing) -> None:
        self._plugin = plugin
        self._answers = answers
        self._tracing = tracing
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = 0
        self._spare = 0

    def start(self, job: Job) -> None:
        if self._spare:
            self._spare -= 1
        else:
            self._threads += 1
            threading.Thread(target=self._work, name=f"metafleet-handler-{self._threads}", daemon=True).start()
        self._jobs.put(job)

    def cancel(self, job: Job) -> None:
        job.cancel.set()
        # Until it comes back, see `_ended`.
        self.hanging += 1
        job.handle = "given up"

    def close(self) -> None:
        for _ in range(self._spare):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._answers.post(self._ended, job, self._said(job))

    def _ended(self, job: Job, said: Said) -> None:
        self._spare += 1
        if job.handle is not None:
            self.hanging -= 1
        job.answer(said)

    def _said(self, job: Job) -> Said:
        job.begin()
        ctx = Context(job.work, job.begun or 0.0, job.cancel, job.port)
        try:
            with self._tracing.current(job):
                return taken(self._plugin.process(ctx))
        except Exception as error:
            return raised(error, job)
        except BaseException as error:
            return RetryableError(described(error))
        finally:
            with contextlib.suppress(OSError):
                ctx.close()


def is_async(plugin: Plugin) -> bool:
    """Whether the plugin's handler is awaited."""
    return inspect.iscoroutinefunction(plugin.process)
