"""Asks the broker for tasks: never more than there are free places, fast first, background its share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from .delivery import Place
from .line import Line
from .link import TROUBLE, Link
from .names import QUEUES, Names
from .share import Policy, Sides, plan
from .wire import Queue

log = logging.getLogger(__name__)

# How often overdue requests are looked for.
_TICK = 0.5
# How long deliveries that are on their way are waited for when pulling ends.
_LAST_ANSWERS = 0.5

Deliver = Callable[[Msg, Place], None]


class Puller:
    """Pulls the tasks of one lane; belongs to the loop that talks to the broker.

    `deliver` is called with each task, and answers for it: it calls `taken` when a place is held, and `freed` when
    it is given back.
    """

    def __init__(
        self, link: Link, names: Names, plugin: str, lane: str, home: Queue, policy: Policy, deliver: Deliver
    ) -> None:
        self.places = 0
        self.pulling = False
        self.lost = asyncio.Event()
        """Set when a consumer seems to be gone."""
        self._link = link
        self._policy = policy
        self._home: Queue = home
        self._deliver = deliver
        self._next = {queue: names.pull(plugin, lane, queue) for queue in QUEUES}
        self._lines = {queue: Line(queue, time.monotonic()) for queue in QUEUES}
        self._sides = Sides()
        self._inboxes: dict[Queue, tuple[str, Subscription]] = {}
        self._wake = asyncio.Event()
        self._stale = False
        self._late: list[tuple[Msg, Place]] | None = None

    def set(self, *, pulling: bool, places: int) -> None:
        """Says whether to pull, and for how many places."""
        # Requests that wait would still bring tasks after a pause; without an inbox the server forgets them.
        self._stale |= self.pulling and not pulling
        self.pulling, self.places = pulling, places
        self._wake.set()

    def taken(self, queue: Queue) -> None:
        """A place is held by a task of this queue."""
        self._sides.of(queue).held += 1

    def freed(self, queue: Queue) -> None:
        """It is free again."""
        self._sides.of(queue).held -= 1
        self._wake.set()

    def carry_over(self, former: Puller) -> None:
        """Counts the places that tasks of another lane hold."""
        for queue in QUEUES:
            self._sides.of(queue).held = former._sides.of(queue).held

    async def run(self, stop: asyncio.Event) -> list[tuple[Msg, Place]]:
        """Pulls until `stop`; returns the tasks that came too late, to be given back."""
        unwatch = self._link.on_reconnect(self._wake.set)
        stopping = asyncio.ensure_future(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        epoch = self._link.epoch
        try:
            await self._renew_inboxes()
            while not stop.is_set():
                if self._stale or epoch != self._link.epoch:
                    # The server may still answer old requests, so the inboxes are new ones.
                    epoch, self._stale = self._link.epoch, False
                    await self._renew_inboxes()
                await self._sleep_until(await self._ask())
                await self._sweep()
            return await self._finish()
        finally:
            stopping.cancel()
            unwatch()
            await self._drop_inboxes()

    async def _sleep_until(self, until: float) -> None:
        timer = asyncio.get_running_loop().call_at(until, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        self._wake.clear()

    async def _ask(self) -> float:
        """Sends what the plan says; returns when to look again."""
        now = time.monotonic()
        if not self.pulling or not self._link.is_up:
            return now + _TICK
        lines = self._lines.values()
        for line in lines:
            self._sides.of(line.queue).due = line.next_look <= now
        asks = plan(self._policy, self.places, self._home, self._sides)
        self._sides.note(asks)
        quiet = bool(asks) and all(line.is_quiet(now) for line in lines)
        for ask in asks:
            line = self._lines[ask.queue]
            if line.not_before > now:
                continue
            token, body = line.ask(ask, now, quiet=quiet)
            self._sides.of(ask.queue).promised += ask.batch
            await self._link.tell(self._next[ask.queue], body, reply=f"{self._inboxes[ask.queue][0]}.{token}")
        if self._sides.free(self.places) == 0:
            return now + _TICK
        times = [at for line in lines for at in (line.next_look, line.not_before) if at > now]
        return min([now + _TICK, *times])

    def _on_answer(self, msg: Msg, queue: Queue) -> None:
        now = time.monotonic()
        line, side = self._lines[queue], self._sides.of(queue)
        line.heard(now)
        place = Place.parse(msg.reply)
        if place is None:
            self._on_status(msg, queue, now)
            return
        side.promised = max(0, side.promised - 1)
        line.found(now, all_answered=side.promised == 0)
        side.waiting = place.pending
        self._home = queue
        if self._late is not None:
            self._late.append((msg, place))
            return
        self._deliver(msg, place)
        self._wake.set()

    def _on_status(self, msg: Msg, queue: Queue, now: float) -> None:
        line, side = self._lines[queue], self._sides.of(queue)
        headers = msg.headers or {}
        status = headers.get("Status", "")
        if status in ("", "100"):
            return
        over = line.ends(msg.subject.rpartition(".")[2], headers)
        side.promised = max(0, side.promised - over.unanswered)
        side.waiting = 0
        if status in ("404", "408"):
            line.accepted()
            if over.look:
                line.found_nothing(now)
        else:
            why = headers.get("Description", "")
            log.debug("the broker refused a pull request: %s %s", status, why)
            line.refused(now)
            if status == "503" or "Deleted" in why:
                self.lost.set()
        self._wake.set()

    async def _sweep(self) -> None:
        """Takes back what was promised to requests that are over, and starts anew what has gone silent."""
        now = time.monotonic()
        silent = False
        for line in self._lines.values():
            side = self._sides.of(line.queue)
            side.promised = min(side.promised, line.still_asked(now))
            silent |= line.is_silent(now)
        if silent and self._link.is_up:
            log.warning("the broker forgot a pull request, asking again")
            await self._renew_inboxes()

    async def _renew_inboxes(self) -> None:
        await self._drop_inboxes()
        now = time.monotonic()
        for queue in QUEUES:
            inbox = self._link.client.new_inbox()

            async def take(msg: Msg, queue: Queue = queue) -> None:
                self._on_answer(msg, queue)

            subscription = await self._link.client.subscribe(f"{inbox}.*", cb=take)
            self._inboxes[queue] = inbox, subscription
            self._lines[queue].start_anew(now)
            side = self._sides.of(queue)
            side.promised = side.waiting = 0

    async def _drop_inboxes(self) -> None:
        for _, subscription in self._inboxes.values():
            try:
                await self._link.drop(subscription)
            except TROUBLE as error:
                log.debug("could not end a subscription: %s", error)
        self._inboxes.clear()

    async def _finish(self) -> list[tuple[Msg, Place]]:
        """Ends the subscriptions and collects what was on its way."""
        self._late = []
        subscriptions = [subscription for _, subscription in self._inboxes.values()]
        if self._link.is_up:
            ended = asyncio.gather(*(self._link.drop(one) for one in subscriptions), return_exceptions=True)
            await asyncio.wait({ended}, timeout=_LAST_ANSWERS)
            ended.cancel()
        self._inboxes.clear()
        return self._late
