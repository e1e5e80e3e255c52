"""PURE. The leases of all deliveries that this instance holds.

The broker lends a delivery for the length of the lease; unless it is renewed, the task goes to another worker. It is
renewed until the task has had its time (`Held.until`): a handler that hangs for ever must lose the task.

The broker may deliver a task again that still runs here, after a restart or a reconnect. The running attempt then takes
over the new delivery and answers that one; it is not run a second time. Nor is one that was settled here a moment ago:
its answer was lost, or was still on its way, and is given again.

Times are those of `time.monotonic`. Everything here belongs to the loop that talks to the broker.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from typing import Union

from .delivery import Place
from .wire import Running

_LISTED = 16
# Some seconds' worth for a busy worker.
_REMEMBERED = 16_384
_FIRST_GUESS = 3.0

_Key = tuple[int, int]


class Held:
    """One delivery that is held."""

    __slots__ = ("cid", "delivered", "fraction", "key", "renewed", "reply", "since", "subject", "sure", "task_id", "until")

    def __init__(self, subject: str, reply: str, place: Place, now: float, sure: float, until: float) -> None:
        self.subject = subject
        self.reply = reply
        self.delivered = place.delivered
        self.key: _Key = (place.sequence, place.stored_at)
        self.since = now
        self.renewed = now
        self.sure = sure
        """Until when it is surely ours; stays where it is once that has passed, for somebody else may have the task then."""
        self.until = until
        self.task_id = ""
        self.cid = ""
        self.fraction: float | None = None

    @property
    def sequence(self) -> int:
        """Sequence of the task in its stream."""
        return self.key[0]


class Known(Enum):
    """A delivery that is not to be run."""

    RUNNING = "running"
    """The attempt that runs answers for it."""
    SETTLED = "settled"
    """It was settled here: answer once more."""


class Leases:
    """All deliveries that are held, by the subject of their task."""

    def __init__(self) -> None:
        self.lease = _FIRST_GUESS
        self._held: dict[str, Held] = {}
        # In the order in which they were settled. A plain dict would look for its first key behind all that are gone.
        self._settled: OrderedDict[_Key, None] = OrderedDict()

    def begin(self, subject: str, reply: str, place: Place, now: float, until: float) -> Union[Held, Known]:
        """Takes hold of a delivery, unless the same message runs here or was settled here.

        An attempt that has had its time does not count as running.
        """
        key = (place.sequence, place.stored_at)
        if key in self._settled:
            return Known.SETTLED
        held = self._held.get(subject)
        if held is not None and held.key == key and held.until > now:
            held.reply, held.delivered, held.renewed, held.sure = reply, place.delivered, now, now + self._surely
            return Known.RUNNING
        held = self._held[subject] = Held(subject, reply, place, now, now + self._surely, until)
        return held

    def remember(self, held: Held) -> None:
        """Notes that a delivery was settled."""
        self._settled[held.key] = None
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)

    def end(self, held: Held) -> None:
        """Ends the renewal; a later delivery that took the place of a handler that hangs is left alone."""
        if self._held.get(held.subject) is held:
            del self._held[held.subject]

    def due(self, now: float, tick: float) -> Iterator[Held]:
        """The leases that would be renewed too late at the next tick."""
        for held in list(self._held.values()):
            # One that was answered while others were renewed is none of ours: a renewal would undo the delay of a nak.
            current = self._held.get(held.subject) is held
            if current and held.until > now and held.renewed + self.lease / 3 <= now + tick:
                held.renewed = now
                yield held

    def told(self, held: Held, now: float) -> None:
        """The broker hears now that a lease is renewed."""
        if held.sure > now:
            held.sure = now + self._surely

    @property
    def _surely(self) -> float:
        """For how long a lease holds for sure once it was begun or renewed: less what the way takes."""
        return self.lease * 7 / 8

    @property
    def tick(self) -> float:
        """How often to look for leases that are due."""
        return min(self.lease / 9, 1.0)

    def running(self, now: float) -> list[Running]:
        """What runs, oldest first, as far as listed."""
        named = [held for held in self._held.values() if held.task_id]
        listed: list[Running] = []
        for held in sorted(named, key=lambda held: held.since)[:_LISTED]:
            entry: Running = {"taskId": held.task_id, "cid": held.cid, "forMs": int((now - held.since) * 1000)}
            if held.fraction is not None:
                entry["fraction"] = held.fraction
            listed.append(entry)
        return listed

    def __len__(self) -> int:
        return len(self._held)
