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
        # Queues without one are not asked.
        self._inboxes: dict[Queue, tuple[str, Subscription]] = {}
        self._renewing: dict[Queue, asyncio.Task[None]] = {}
        self._doubting: set[Queue] = set()
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
            for queue in QUEUES:
                await self._open(queue)
            while not stop.is_set():
                if self._stale or epoch != self._link.epoch:
                    epoch, self._stale = self._link.epoch, False
                    self._start_anew()
                await self._sleep_until(await self._ask())
                self._sweep()
            return await self._finish()
        finally:
            stopping.cancel()
            unwatch()
            for renewing in self._renewing.values():
                renewing.cancel()
            await asyncio.gather(*(self._link.drop(one) for _, one in self._inboxes.values()), return_exceptions=True)

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
            if line.not_before > now or ask.queue not in self._inboxes or ask.queue in self._renewing:
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

    def _sweep(self) -> None:
        """Looks for requests that nobody has ended in time, and for what has gone silent."""
        if not self._link.is_up:
            return
        for queue in QUEUES:
            if queue in self._renewing:
                continue
            if queue not in self._inboxes or self._in_doubt(queue):
                self._renew(queue, doubting=queue in self._inboxes)

    def _in_doubt(self, queue: Queue) -> bool:
        now, line = time.monotonic(), self._lines[queue]
        return line.is_silent(now) or line.is_overdue(now, self._sides.of(queue).promised)

    def _start_anew(self) -> None:
        """Takes new inboxes, because the server may still answer the requests of the old ones."""
        for queue in QUEUES:
            if queue in self._doubting:
                self._doubting.discard(queue)
                self._renewing.pop(queue).cancel()
            if queue not in self._renewing:
                self._renew(queue, doubting=False)

    def _renew(self, queue: Queue, *, doubting: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._renewed(queue, doubting=doubting))
        self._renewing[queue] = task
        if doubting:
            self._doubting.add(queue)

        def ended(_: asyncio.Task[None]) -> None:
            if self._renewing.get(queue) is task:
                del self._renewing[queue]
            self._wake.set()

        task.add_done_callback(ended)

    async def _renewed(self, queue: Queue, *, doubting: bool) -> None:
        """Takes a fresh inbox when nothing more can come on the old one, or has the doubts cleared that it is wanted.

        A broker that stalls reads requests later, and answers them all. So their places stay promised until it has answered
        a ping, and if that has not ended them, until it has confirmed that it knows the inbox no more.
        """
        if doubting:
            await self._link.heard()
            self._doubting.discard(queue)
            if not self._link.is_up or not self._in_doubt(queue):
                return
            log.warning("the broker forgot a pull request, asking again")
        if queue in self._inboxes:
            await self._link.drop(self._inboxes.pop(queue)[1])
        try:
            if self._link.is_up and self._late is None:
                await self._open(queue)
        except TROUBLE as error:
            log.debug("could not subscribe, trying again: %s", error)

    async def _open(self, queue: Queue) -> None:
        async def take(msg: Msg) -> None:
            self._on_answer(msg, queue)

        inbox = self._link.client.new_inbox()
        self._inboxes[queue] = inbox, await self._link.client.subscribe(f"{inbox}.*", cb=take)
        self._lines[queue].start_anew(time.monotonic())
        side = self._sides.of(queue)
        side.promised = side.waiting = 0

    async def _finish(self) -> list[tuple[Msg, Place]]:
        """Ends the subscriptions and collects what was on its way."""
        self._late = []
        if self._link.is_up:
            ends = [self._link.drop(one) for _, one in self._inboxes.values()]
            ended = asyncio.gather(*ends, *self._renewing.values(), return_exceptions=True)
            await asyncio.wait({ended}, timeout=_LAST_ANSWERS)
            ended.cancel()
        self._inboxes.clear()
        return self._late
