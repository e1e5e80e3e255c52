"""How a worker asks for tasks: never more than it has places for, fast first, background its share.

The numbers in brackets are the sections of broker-config/PROTOCOL.md.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from contextlib import suppress

import nats

from contract import Task, dump

QUEUES = ("fast", "background")
TROUBLE = (nats.errors.Error, asyncio.TimeoutError, OSError)


class Pulling:
    """The part of a worker that pulls [7]. One request at a time may be answered: a task is begun when it arrives."""

    def prepare(self):
        self.tokens, self.turns = itertools.count(), itertools.count(1)
        self.handlers: set[asyncio.Task] = set()
        self.at_work = 0
        self.asked = None

    async def open_inbox(self):
        """Takes a new inbox, because the server may still answer requests of the old one."""
        self.inbox, self.connection = self.nc.new_inbox(), self.nc.stats["reconnects"]
        self.answers = await self.nc.subscribe(f"{self.inbox}.*", cb=self.on_answer)

    async def close_inbox(self):
        """Gives the inbox up; what was on its way is begun."""
        with suppress(*TROUBLE):
            await (self.answers.drain() if self.nc.is_connected else self.answers.unsubscribe())

    async def pull_tasks(self):
        while not self.draining.is_set():
            if self.state() != "ready" or len(self.handlers) >= self.places:
                await asyncio.sleep(0.01)
                continue
            held = sum(task.queue == "background" for task in self.running.values())
            turn = next(self.turns) % 4 == 0 and held < max(1, self.places // 4)
            order = QUEUES[::-1] if turn and self.env.get("METAFLEET_QUEUES") != "strict" else QUEUES
            home = self.manifest["queue"]
            await self.pull(order[0]) or await self.pull(order[1]) or await self.pull(home, 0.5)
        await self.close_inbox()  # what is late is given back at once, while it is surely ours [14]

    async def pull(self, queue: str, wait: float = 0) -> bool:
        """Asks for one task; whether it came."""
        if self.connection != self.nc.stats["reconnects"]:
            await self.close_inbox()
            await self.open_inbox()
        request = {"batch": 1, "expires": int(wait * 1e9)} if wait else {"batch": 1, "no_wait": True}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.tasks_stream}.{self.id}{self.lane}_{queue}"
        self.token, self.asked = f"{self.inbox}.{next(self.tokens)}", self.loop.create_future()
        try:
            await self.nc.publish(subject, dump(request), reply=self.token)
            status = await asyncio.wait_for(asyncio.shield(self.asked), wait + 2)
        except TROUBLE:
            return await self.doubt()
        if status in ("409", "503"):
            await asyncio.sleep(0.5)
            await self.announce()  # perhaps the consumer is gone
        return status is None

    async def doubt(self) -> bool:
        """Nobody has ended the request. A broker that stalls answers it later: its place stays promised until the broker has
        answered a ping, and if that has not ended it, until it knows the inbox no more."""
        connection, ping = self.nc.stats["reconnects"], self.loop.create_task(self.ping())
        while not (ping.done() or self.asked.done()) and connection == self.nc.stats["reconnects"]:
            await asyncio.sleep(0.01)
        if not self.asked.done():
            await self.close_inbox()
            await self.open_inbox()
        return self.asked.done() and self.asked.result() is None

    async def ping(self):
        """Waits until the broker has read all that was sent. nats-py stops to read when a ping that was given up is answered,
        so it is not given up."""
        with suppress(*TROUBLE):
            await self.nc.flush(timeout=3600)

    async def on_answer(self, message):
        """A task, or a status that ends a request."""
        if message.reply.startswith("$JS.ACK."):
            if self.asked and not self.asked.done():
                self.asked.set_result(None)
            return self.begin(Task(message, self))
        status = (message.headers or {}).get("Status", "")
        if message.subject == self.token and status != "100" and not self.asked.done():
            if status in ("409", "503"):
                print(f"pull: {message.headers}", file=sys.stderr, flush=True)
            self.asked.set_result(status)

    def begin(self, task: Task):
        held = self.running.get(task.subject)
        if held and held.sequence == task.sequence:  # it still runs here: go on with that [8]
            held.reply, held.delivered, held.sure = task.reply, task.delivered, task.sure
            return
        serve = self.give_back if self.draining.is_set() else self.serve
        self.handlers.add(handler := self.loop.create_task(serve(task)))  # a late one is given back [14]
        handler.add_done_callback(self.handlers.discard)

    async def has_place(self, task: Task) -> bool:
        """Waits for a place where more was given than there are; False when the task is to be given back."""
        until = time.monotonic() + self.lease
        while self.at_work >= self.places:
            if self.draining.is_set() or time.monotonic() > until:
                return False
            await asyncio.sleep(0.01)
        return True
