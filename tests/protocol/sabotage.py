"""Workers that do one thing wrong, so that the conformance kit can be seen to find it: `sabotage.py WHAT MANIFEST.json`."""

import asyncio
import json
import os
import sys
from contextlib import suppress

import contract
import worker
from contract import Task, dump, encode
from scripted import Scripted
from worker import TROUBLE, Worker, serve


class AcksBeforeRecord(Worker):
    async def record(self, task, status, **more):
        await self.answer(task, "+ACK")
        await super().record(task, status, **more)


class NoFence(Worker):
    async def store(self, subject, body, headers, task):
        headers.pop("Nats-Expected-Last-Subject-Sequence", None)
        return await super().store(subject, body, headers, task)


class NeverRenews(Worker):
    async def renew(self, task):
        """Leaves the task to its lease."""


class Hoards(Worker):
    """Asks for eight and puts what it cannot run yet aside."""

    def begin(self, task):
        self.__dict__.setdefault("aside", []).append(task)

    async def pull(self, queue, wait=0):
        aside = self.__dict__.setdefault("aside", [])
        if not aside:
            request = {"batch": 8, "expires": int(1e9)}
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.tasks_stream}.{self.id}{self.lane}_{queue}"
            self.token, self.asked = f"{self.inbox}.0", self.loop.create_future()
            with suppress(*TROUBLE):
                await self.nc.publish(subject, dump(request), reply=self.token)
                await asyncio.wait_for(asyncio.shield(self.asked), 2)
        if aside:
            super().begin(aside.pop())
        return bool(aside)


class IgnoresPause(Worker):
    async def on_control(self, message):
        await super().on_control(message)
        self.paused = False


class NoGoodbye(Worker):
    async def finish(self):
        await super().finish()
        await self.nc.flush()
        os._exit(5 if self.rejected else 0)


class BareNak(Worker):
    async def answer(self, task, answer):
        await super().answer(task, "-NAK" if answer.startswith("-NAK") else answer)


class AlwaysFirstAttempt(Worker):
    async def record(self, task, status, **more):
        await super().record(task, status, **more, attempt=1)


class CidOfTheBody(Worker):
    async def record(self, task, status, **more):
        task.cid = task.body["cid"]
        task.token = encode(task.cid)
        await super().record(task, status, **more)


class TermsBeforeSignal(Worker):
    async def fail(self, task, error, permanent=False):
        if permanent or task.attempt >= task.body["retry"]["maxAttempts"]:
            await self.answer(task, "+TERM too early")
        await super().fail(task, error, permanent)


class AcksBeforeDeferral(Worker):
    async def defer(self, task, reason, delay_ms, used):
        await self.answer(task, "+ACK")
        await super().defer(task, reason, delay_ms, used)


class LaterCostsAnAttempt(Worker):
    async def defer(self, task, reason, delay_ms, used):
        await super().defer(task, reason, delay_ms, used=task.attempt)


class PullsTooEarly(Worker):
    async def announce(self):
        self.settings = self.settings or {"mode": "good"}
        self.early = self.loop.create_task(super().announce())


class RunsTwice(Worker):
    def begin(self, task):
        self.running.pop(task.subject, None)
        super().begin(task)


class AnnouncesOnce(Worker):
    def connect_options(self):
        return {**super().connect_options(), "reconnected_cb": None}


class DropsWhatRuns(Worker):
    async def finish(self):
        """Ends at once."""


class AnyVersion(Worker):
    async def attempt(self, task):
        task.body.pop("pluginVersion", None)
        return await super().attempt(task)


class OneLane(Worker):
    def on_accepted(self, answer):
        self.route = {}
        answer.pop("lane", None)
        super().on_accepted(answer)


class NoTrace(Worker):
    async def store(self, subject, body, headers, task):
        task.headers = {name: value for name, value in task.headers.items() if not name.startswith("trace")}
        return await super().store(subject, body, headers, task)


class ReadablePath(Worker):
    def begin(self, task):
        task.path = task.body.get("filePath", "")
        super().begin(task)


class DiesOfGarbage(Worker):
    def begin(self, task):
        json.loads(task.raw)["taskId"]
        super().begin(task)


class ForgetsFingerprint(Worker):
    async def record(self, task, status, **more):
        await super().record(task, status, **more, fingerprint="")


class AgreesToEverything(Worker):
    async def on_control(self, message):
        try:
            if json.loads(message.data)["action"] in ("pause", "resume", "drain", "configure", "announce", "ping"):
                return await super().on_control(message)
        except (ValueError, KeyError, TypeError):
            pass
        await self.nc.publish(message.reply, dump({"success": True, "instance": self.instance}))


class SaysNothingOfLife(Worker):
    async def show_signs_of_life(self):
        shown = self.loop.create_task(super().show_signs_of_life())
        await asyncio.sleep(2)
        shown.cancel()


class LooksAround(Worker):
    async def attempt(self, *arguments):
        await self.nc.publish("$JS.API.STREAM.NAMES", b"")
        return await super().attempt(*arguments)


class HeedlessOfPlaces(Worker):
    def on_accepted(self, answer):
        super().on_accepted(answer)
        self.places = 7


def anything_goes(manifest, meta):
    """Lets every key and value pass."""


def remember_the_body(init):
    def with_body(self, message, of):
        self.raw = message.data
        init(self, message, of)

    return with_body


if __name__ == "__main__":
    what = sys.argv.pop(1)
    Task.__init__ = remember_the_body(Task.__init__)
    if what == "LongErrors":
        worker.short = contract.short = lambda text: text
    elif what == "AnyKey":
        worker.check = anything_goes
    kind = globals().get(what, Worker)
    with open(sys.argv[1], encoding="utf-8") as manifest:
        serve(Scripted(manifest.read()), kind)
