"""The life of one delivery: read it, run the handler under its deadline, settle it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

from nats.aio.msg import Msg

from . import delivery
from .delivery import Place, attempts_used
from .job import Job, Work
from .leases import Held, Known
from .names import Address
from .outcome import PermanentError, RetryableError, Said, TaskError
from .port import FleetPort
from .pull import Puller
from .rim import Rim
from .runner import Runner
from .settle import Attempt
from .verdict import policy_of, time_limit_ms
from .wire import Task

log = logging.getLogger(__name__)

# The lease goes on this long after the deadline, for the handler to clean up.
_AFTER_DEADLINE = 2.0
# A handler may have to wait for one that blocks its loop, or for its process to start.
_TO_BEGIN = 30.0
_LOOK_EVERY = 0.02


class Handling:
    """All deliveries that run."""

    def __init__(self, rim: Rim, runner: Runner) -> None:
        self._rim = rim
        self._runner = runner
        self._running: set[asyncio.Task[None]] = set()
        self._watched: dict[Job, _Watch] = {}
        self.puller: Puller | None = None
        """Who is told of places that are taken and freed."""

    def deliver(self, msg: Msg, place: Place) -> None:
        """Takes a delivery that came."""
        self._begin(msg, place, self._run)

    def give_back(self, msg: Msg, place: Place) -> None:
        """Takes one that came when nothing was to be begun any more."""
        self._begin(msg, place, self._return)

    async def wait(self, seconds: float | None) -> bool:
        """Waits so long until nothing runs; whether that is so."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        return not self._running

    async def watch_for_ever(self) -> None:
        """Ends attempts that have had their time. One look at all of them costs less than a timer for each."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            at = time.monotonic()
            for job, watch in list(self._watched.items()):
                if (why := watch.why(at)) is not None and not job.answered.done():
                    job.answer(RetryableError(why))
                    self._runner.cancel(job)

    def abort(self) -> None:
        """Ends what runs: the tasks are given back."""
        for job in list(self._watched):
            if not job.answered.done():
                job.answer(RetryableError("the worker was stopped"))
                self._runner.cancel(job)

    def __len__(self) -> int:
        return len(self._running)

    def _begin(self, msg: Msg, place: Place, then: Callable[[Msg, Held, Address], Coroutine[Any, Any, None]]) -> None:
        rim = self._rim
        address = rim.names.parse_task(msg.subject)
        if address is None:
            # The consumer's filter keeps this from happening; nobody could be told.
            log.error("a task whose subject `%s` makes no sense is dropped", msg.subject)
            return self._spawn(rim.link.tell(msg.reply, delivery.term("the subject makes no sense")))
        at = time.monotonic()
        # Other handlers may keep this one from beginning, but not for ever.
        until = at + 2 * time_limit_ms(rim.manifest, 0) / 1000 + _AFTER_DEADLINE
        held = rim.leases.begin(msg.subject, msg.reply, place, at, until)
        if held is Known.SETTLED:
            return self._spawn(rim.link.tell(msg.reply, delivery.ACK))
        if not isinstance(held, Held):
            return None
        if self.puller is not None:
            self.puller.taken(address.queue)
        return self._spawn(self._guarded(then(msg, held, address), held, address))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None], held: Held, address: Address) -> None:
        try:
            await work
        except Exception:
            log.exception("could not settle %s, leaving the task to its lease", address.cid)
        finally:
            self._rim.leases.end(held)
            if self.puller is not None:
                self.puller.freed(address.queue)

    async def _run(self, msg: Msg, held: Held, address: Address) -> None:
        rim = self._rim
        rim.count("started")
        task, unreadable = _read(msg.data, address, rim)
        held.task_id, held.cid = task["taskId"], address.cid
        limit = time_limit_ms(rim.manifest, task["deadlineMs"]) / 1000
        number = held.delivered + attempts_used(msg.headers)
        paths, files = rim.options.paths, rim.files
        work = Work(task, address.cid, rim.plugin_id, rim.instance, number, limit, rim.settings, paths, files)
        span = rim.tracing.begin(msg.headers, lambda: _attributes(rim, msg, address, work))
        attempt = Attempt(rim, held, address, work, span)
        error = None
        try:
            if unreadable is not None:
                error = unreadable
                return await attempt.settle(PermanentError(f"the task cannot be read: {unreadable}"))
            if (task.get("pluginVersion") or rim.version) != rim.version:
                # It was on its way when the versions changed; the one that it is for is to run it.
                return await attempt.leave_to_other()
            said = await self._handled(held, work, attempt, span)
            if isinstance(said, TaskError):
                error = str(said)
                if rim.abort.is_set():
                    return await attempt.give_back()
            await attempt.settle(said)
        finally:
            rim.tracing.end(span, error)

    async def _handled(self, held: Held, work: Work, attempt: Attempt, span: Any) -> Said:
        """Runs the handler until it answers, or until it has had its time."""
        port = FleetPort(self._rim, held, attempt, span)
        job = port.job = Job(work, port, asyncio.get_running_loop().create_future())
        # It may begin late; the watch shortens that.
        held.until = job.delivered_at + work.limit + _TO_BEGIN + _AFTER_DEADLINE
        self._watched[job] = _Watch(self._rim, held, job)
        try:
            self._runner.start(job)
            said = await job.answered
        finally:
            del self._watched[job]
            port.close()
        attempt.took = time.monotonic() - (job.begun or job.delivered_at)
        self._rim.count("busyMs", attempt.took * 1000)
        return said

    async def _return(self, msg: Msg, held: Held, address: Address) -> None:
        task, _ = _read(msg.data, address, self._rim)
        number = held.delivered + attempts_used(msg.headers)
        work = Work(task, address.cid, self._rim.plugin_id, self._rim.instance, number, 0, {})
        await Attempt(self._rim, held, address, work, self._rim.tracing.begin(msg.headers, dict)).give_back()


class _Watch:
    """Knows when an attempt is over its deadline, or has not got on for too long."""

    __slots__ = ("_held", "_job", "_look_at", "_progress")

    def __init__(self, rim: Rim, held: Held, job: Job) -> None:
        self._held = held
        self._job = job
        stalled = job.work.task.get("progressTimeoutMs") or rim.manifest.get("progressTimeout")
        self._progress = stalled / 1000 if stalled else None
        self._look_at = job.delivered_at + min(job.work.limit, self._progress or job.work.limit)

    def why(self, at: float) -> str | None:
        """Why the attempt is to end now."""
        if at < self._look_at:
            return None
        job, limit = self._job, self._job.work.limit
        if job.begun is None:
            self._look_at = job.delivered_at + limit + _TO_BEGIN
            return "the handler did not begin: another one blocks it" if at >= self._look_at else None
        deadline = job.begun + limit
        self._held.until = deadline + _AFTER_DEADLINE
        if at >= deadline:
            return f"timed out after {limit * 1000:.0f} ms"
        stalls = job.got_on + self._progress if self._progress is not None else deadline
        if at >= stalls:
            return f"timed out: no progress for {1000 * (self._progress or 0):.0f} ms"
        self._look_at = min(deadline, stalls)
        return None


def _attributes(rim: Rim, msg: Msg, address: Address, work: Work) -> dict[str, Any]:
    return {
        "messaging.system": "nats", "messaging.destination.name": msg.subject, "plugin.id": rim.plugin_id,
        "instance.id": rim.instance, "file.cid": address.cid, "queue": address.queue, "attempt": work.attempt,
        "task.id": work.task["taskId"],
    }


def _read(data: bytes, address: Address, rim: Rim) -> tuple[Task, str | None]:
    """Reads a task, or says why not and makes one that stands for it; what it is about its subject says."""
    try:
        task = json.loads(data)
        problem = _problem(task)
    except ValueError as error:
        task, problem = None, str(error)
    if problem is None:
        task["pluginId"], task["cid"] = address.plugin, address.cid
        return cast(Task, task), None
    known = task if isinstance(task, dict) else {}
    substitute: Task = {
        "type": "metafleet.task.v1", "taskId": "00000000-0000-0000-0000-000000000000", "runId": 0,
        "pluginId": address.plugin, "cid": address.cid, "filePath": "", "fingerprint": "",
        "deadlineMs": rim.manifest.get("timeout", 30_000), "retry": policy_of(rim.manifest),
    }
    if isinstance(known.get("taskId"), str):
        substitute["taskId"] = known["taskId"]
    return substitute, problem


_FIELDS = (("taskId", str), ("filePath", str), ("fingerprint", str), ("deadlineMs", int), ("retry", dict))


def _problem(task: Any) -> str | None:
    if not isinstance(task, dict):
        return "it is no object"
    get = task.get
    if get("type") != "metafleet.task.v1":
        return f"its type is `{get('type')!s:.100}`"
    for name, kind in _FIELDS:
        if not isinstance(get(name), kind):
            return f"`{name}` is missing or of another type"
    retry = task["retry"]
    if not isinstance(retry.get("maxAttempts"), int) or not isinstance(retry.get("delaysMs"), list):
        return "`retry` is not complete"
    return None
