"""Settles one delivery: the outcome is stored first, and the broker answered when that is acknowledged."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from . import delivery
from .aio import in_thread
from .artifact import Artifact
from .job import Work
from .leases import Held
from .meta import InvalidMeta
from .names import Address
from .outcome import Completed, Forward, PermanentError, RetryableError, RetryLater, Said, Skipped, TaskError
from .publisher import NotStored, Superseded, TooLarge
from .rim import Rim
from .submission import for_plugin, look_at
from .text import described, dump, now, readable, short
from .verdict import Follows, verdict
from .wire import Submission

log = logging.getLogger(__name__)

# How long settling may take, a restart of the broker included; the lease is renewed so long.
_PATIENCE = 600.0
_GIVE_BACK_MS = 100
# In the ids of messages: whoever could guess one could have the message taken for a repetition.
_SECRET = secrets.token_hex(16)
_OTHER_VERSION_MS = 1000


class Attempt:
    """One attempt that is over."""

    def __init__(self, rim: Rim, held: Held, address: Address, work: Work, span: Any) -> None:
        self._rim = rim
        self._held = held
        self._address = address
        self._work = work
        self._span = span
        self._used = work.attempt - held.delivered
        self.took = 0.0
        """Seconds that the handler took."""

    @property
    def number(self) -> int:
        """Number of the attempt; rises when the broker delivers the task again meanwhile."""
        return self._held.delivered + self._used

    async def settle(self, said: Said) -> None:
        """Stores what came of it and answers the broker; leaves the task to its lease if that is hopeless."""
        self._held.until = time.monotonic() + _PATIENCE
        try:
            try:
                await self._carry_out(said)
            except TaskError as error:
                await self._fail(error)
            except (NotStored, TooLarge):
                raise
            except Exception as error:
                # What the handler said cannot be carried out: a reason that is no text, metadata that is no mapping.
                log.warning("what the handler said of %s makes no sense", self._work.cid, exc_info=error)
                await self._fail(PermanentError(described(error)))
        except (NotStored, TooLarge) as error:
            log.warning("could not settle %s, leaving the task to its lease: %s", self._work.cid, error)

    async def _carry_out(self, said: Said) -> None:
        if isinstance(said, Completed):
            await self._record("completed", meta=self._checked(said.meta))
        elif isinstance(said, Skipped):
            await self._record("skipped", reason=short(self._rim.hide(said.reason)))
        elif isinstance(said, RetryLater):
            self._rim.count("deferred")
            # Waiting costs no attempt.
            await self._defer(short(self._rim.hide(said.reason)), said.after_ms, self.number - 1)
        elif isinstance(said, Forward):
            await self._forward(said)
        else:
            await self._fail(said)

    async def give_back(self) -> None:
        """Somebody else is to run it soon, because this worker stops.

        From its last attempt on it goes through the coordinator: naks could use up its deliveries.
        """
        if self.number < self._work.task["retry"]["maxAttempts"]:
            return await self._nak(_GIVE_BACK_MS)
        try:
            await self._defer("the worker was stopped", _GIVE_BACK_MS, self.number - 1)
        except (NotStored, TooLarge) as error:
            log.warning("could not give %s back, leaving the task to its lease: %s", self._work.cid, error)

    async def leave_to_other(self) -> None:
        """Does not run a task for another version of the plugin; whoever still wants it publishes it anew."""
        last = self.number >= self._work.task["retry"]["maxAttempts"]
        if last:
            return await self._answer(delivery.ACK, settled=True)
        await self._nak(_OTHER_VERSION_MS)

    def _checked(self, meta: Any) -> dict[str, Any]:
        try:
            return self._rim.schema.check(meta)
        except InvalidMeta as error:
            raise PermanentError(str(error)) from error

    async def _record(self, status: str, **what: Any) -> None:
        rim, work, task = self._rim, self._work, self._work.task
        record = {
            "type": "metafleet.record.v1", "taskId": task["taskId"], "pluginId": rim.plugin_id, "cid": work.cid,
            "status": status, "durationMs": self._took_ms, "attempt": self.number, "pluginVersion": rim.version,
            "fingerprint": task["fingerprint"], "finishedAt": now(), "instance": rim.instance, **what,
        }
        headers = {"Nats-Expected-Last-Subject-Sequence": str(task.get("recordRevision", 0))}
        rim.tracing.inject(self._span, headers)
        subject = rim.names.record_of_token(rim.plugin_id, self._address.token, trial=bool(task.get("trial")))
        try:
            body = dump(record)
        except (TypeError, ValueError, RecursionError) as error:
            raise PermanentError(f"the metadata cannot be written as JSON: {error}") from error
        try:
            await rim.publisher.store(subject, body, headers)
            rim.count(status)
        except Superseded:
            rim.count("superseded")
            log.debug("somebody else has settled %s", work.cid)
        except TooLarge as error:
            raise PermanentError(str(error)) from error
        await self._answer(delivery.ACK, settled=True)

    async def _fail(self, error: TaskError) -> None:
        task, text = self._work.task, short(self._rim.hide(readable(str(error)) or type(error).__name__))
        follows = verdict(task["retry"], self.number, permanent=error.permanent)
        if follows.follows is Follows.GIVE_UP:
            self._rim.count("failed")
            log.info("task %s of %s failed: %s", task["taskId"], self._work.cid, text)
            said = {"error": text, "permanent": error.permanent, "durationMs": self._took_ms, "task": task}
            await self._signal("failed", said)
            return await self._answer(delivery.term(text), settled=True)
        self._rim.count("retried")
        if follows.follows is Follows.DEFER:
            return await self._defer(text, follows.delay_ms, self.number)
        # For people only: the nak says the same to the broker.
        said = {"error": text, "delayMs": follows.delay_ms, "durationMs": self._took_ms}
        await self._rim.link.tell(self._rim.names.signal(self._rim.plugin_id, "retrying"), dump(self._about("retrying", said)))
        await self._nak(follows.delay_ms)

    async def _defer(self, reason: str, delay_ms: int, used: int) -> None:
        said = {"reason": reason, "delayMs": max(1, delay_ms), "attemptsUsed": used, "task": self._work.task}
        await self._signal("deferred", said)
        await self._answer(delivery.ACK, settled=True)

    async def _forward(self, said: Forward) -> None:
        meta = self._checked(said.meta)
        if said.to_plugin is not None:
            submission, where = for_plugin(self._work, said.to_plugin), said.to_plugin
        else:
            where = readable(said.to_file or "")
            submission = await in_thread(look_at, self._work, (said.to_file or "").encode("utf-8", "surrogateescape"))
        try:
            await self.hand_in(submission, f"forward.{self._held.sequence}")
        except TooLarge as error:
            raise PermanentError(str(error)) from error
        if meta:
            return await self._record("completed", meta=meta)
        await self._record("skipped", reason=short(f"forwarded to {where}"))

    async def hand_in(self, submission: Submission, message_id: str) -> None:
        """Stores a submission; the id lets it be repeated without harm."""
        headers = {"Nats-Msg-Id": f"{message_id}.{_SECRET}"}
        self._rim.tracing.inject(self._span, headers)
        await self._rim.publisher.store(self._rim.names.submit(self._address.queue), dump(submission), headers)

    async def _signal(self, kind: str, said: dict[str, Any]) -> None:
        """Publishes a signal that must not be lost.

        Where the task makes it too large, what others wrote about the file is left out; the coordinator has that.
        """
        headers = {"Nats-Msg-Id": f"{kind}.{self._held.sequence}.{self.number}.{_SECRET}"}
        self._rim.tracing.inject(self._span, headers)
        subject = self._rim.names.signal(self._rim.plugin_id, kind)
        try:
            await self._rim.publisher.store(subject, dump(self._about(kind, said)), headers)
        except TooLarge:
            smaller = {**said, "task": {**self._work.task, "existingMeta": {}}}
            await self._rim.publisher.store(subject, dump(self._about(kind, smaller)), headers)

    def _about(self, kind: str, said: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "metafleet.signal.v1", "kind": kind, "taskId": self._work.task["taskId"], "cid": self._work.cid,
            "queue": self._address.queue, "attempt": self.number, "instance": self._rim.instance, "at": now(), **said,
        }

    async def report(self, fraction: float, note: str) -> None:
        """Says how far the task has got; may be lost."""
        body = dump(self._about("progress", {"fraction": fraction, "note": short(self._rim.hide(note))}))
        await self._rim.link.tell(self._rim.names.signal(self._rim.plugin_id, "progress"), body)

    async def submit(self, submission: Submission, number: int) -> None:
        """Hands in a file that the handler made."""
        try:
            await self.hand_in(submission, f"submit.{self._held.sequence}.{self.number}.{number}")
        except TooLarge as error:
            raise PermanentError(f"the broker does not take {submission['filePath']}: {error}") from error
        except NotStored as error:
            raise RetryableError(f"the broker did not take {submission['filePath']}: {error}") from error

    async def keep(self, artifact: Artifact, data: bytes) -> None:
        """Stores an artefact; the same one in the same place again does no harm."""
        name, headers = artifact["artifact"], {"Content-Type": artifact["mediaType"]}
        self._rim.tracing.inject(self._span, headers)
        trial = bool(self._work.task.get("trial"))
        subject = self._rim.names.artifact_of_token(self._rim.plugin_id, self._address.token, name, trial=trial)
        try:
            await self._rim.publisher.store(subject, data, headers)
        except TooLarge as error:
            raise PermanentError(f"the artefact `{name}` of {len(data)} bytes is too large: {error}") from error
        except NotStored as error:
            raise RetryableError(f"the broker did not store the artefact `{name}`: {error}") from error

    async def _nak(self, delay_ms: float) -> None:
        """Asks for the task again, as long as it is surely ours and the broker hears of it now.

        Later somebody else may have it, whose delivery a nak would end; the last one would become a dead letter while it
        runs. Else the lease runs out, which has the same effect.
        """
        self._rim.leases.end(self._held)
        if self._rim.link.is_up and self._held.sure > time.monotonic():
            await self._rim.link.tell(self._held.reply, delivery.nak(delay_ms))
        else:
            log.info("somebody else may have %s by now, leaving it to its lease", self._work.cid)

    async def _answer(self, answer: bytes, *, settled: bool = False) -> None:
        if settled:
            self._rim.leases.remember(self._held)
        self._rim.leases.end(self._held)
        await self._rim.link.tell(self._held.reply, answer)

    @property
    def _took_ms(self) -> int:
        return int(self.took * 1000)
