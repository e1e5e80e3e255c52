"""PURE. Which queue the next tasks are pulled from: fast first, background never starved.

A place is *held* by a task that runs, *promised* to a pull request that waits, or *free*; held + promised + free
never exceeds the instance's concurrency, so that no more is ever delivered than can run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from .names import QUEUES, other
from .wire import Queue

# Of how many turns, and of how many places, one is for the background queue.
_BACKGROUND_SHARE = 4


class Policy(Enum):
    """How the two queues share an instance while both have tasks waiting."""

    SHARE = "share"
    """At least one of four turns goes to the background queue, and at most one of four places."""
    STRICT = "strict"
    """Background only while the fast queue is empty."""


class Wait(Enum):
    """How long a pull request waits for tasks."""

    NO = "no"
    """Not at all: it takes what is there."""
    TURN = "turn"
    """A moment, because it is the only place and the other queue is to get its turn."""
    SHORT = "short"
    """A moment, because the place may soon be wanted elsewhere."""
    LONG = "long"
    """As long as requests may wait."""


class Ask(NamedTuple):
    """One pull request to send."""

    queue: Queue
    batch: int
    wait: Wait


@dataclass
class Side:
    """What is known of one queue."""

    waiting: int = 0
    """Tasks that wait in it, as of the last delivery; 0 after a pull found nothing."""
    held: int = 0
    """Places held by tasks of this queue that run."""
    promised: int = 0
    """Places promised to pull requests that have not been answered."""
    turns: int = 0
    """Turns it got while both queues had tasks waiting."""
    due: bool = False
    """Whether it may be asked again although it was found empty."""

    @property
    def busy(self) -> bool:
        """Whether more tasks wait than were asked for."""
        return self.waiting > self.promised


@dataclass
class Sides:
    """Both queues."""

    fast: Side = field(default_factory=Side)
    background: Side = field(default_factory=Side)

    def of(self, queue: Queue) -> Side:
        """What is known of a queue."""
        return self.fast if queue == "fast" else self.background

    def note(self, asks: Iterable[Ask]) -> None:
        """Counts turns while both queues have tasks; one that was alone for a while has no claim from that."""
        contested = self.fast.busy and self.background.busy
        given = {queue: 0 for queue in QUEUES}
        for ask in asks:
            given[ask.queue] += ask.batch
        for queue in QUEUES:
            side = self.of(queue)
            side.turns = side.turns + given[queue] if contested else 0

    def free(self, places: int) -> int:
        """Places that nobody holds and that are promised to no request."""
        fast, background = self.fast, self.background
        return max(0, places - fast.held - fast.promised - background.held - background.promised)


def split(policy: Policy, free: int, places: int, sides: Sides) -> tuple[int, int]:
    """Splits free places between two queues that both have tasks: (fast, background).

    The background queue gets every fourth turn, so that with one place three fast tasks are followed by a background
    task. It never takes more than a fourth of the places (one at least), because its tasks may be long: by turns alone
    they would come to hold them all.
    """
    if policy is Policy.STRICT:
        return free, 0
    fast, background = sides.fast, sides.background
    turns = fast.turns + background.turns + free
    due = max(0, turns // _BACKGROUND_SHARE - background.turns)
    most = max(1, places // _BACKGROUND_SHARE)
    room = max(0, most - background.held - background.promised)
    given = min(due, room, free)
    return free - given, given


def plan(policy: Policy, places: int, home: Queue, sides: Sides) -> list[Ask]:
    """Lists the pull requests to send now.

    `home` is the queue that delivered last: an idle instance waits there with more than one place. A queue known to
    have tasks is asked in batches without waiting. A request for one more place is put off while an earlier one is
    unanswered, until a fourth of all places are free: under load one request fetches many tasks.
    """
    free = sides.free(places)
    if free == 0:
        return []
    busy = [queue for queue in QUEUES if sides.of(queue).busy]
    if len(busy) == 2:
        wanted = zip(QUEUES, split(policy, free, places, sides))
        return [ask for queue, count in wanted for ask in _grab(queue, count, places, sides)]
    if busy:
        return _one_busy(busy[0], free, places, sides)
    return _idle(home, free, places, sides)


def _one_busy(busy: Queue, free: int, places: int, sides: Sides) -> list[Ask]:
    """Everything for the busy queue, after a look at the other one when that is due."""
    away = sides.of(other(busy))
    look = [Ask(other(busy), 1, Wait.NO)] if away.due and away.promised == 0 else []
    return look + _grab(busy, free - len(look), places, sides)


def _grab(queue: Queue, wanted: int, places: int, sides: Sides) -> list[Ask]:
    side = sides.of(queue)
    batch = min(wanted, max(0, side.waiting - side.promised))
    worth_it = side.promised == 0 or batch >= max(1, places // 4)
    return [Ask(queue, batch, Wait.NO)] if batch > 0 and worth_it else []


def _idle(home: Queue, free: int, places: int, sides: Sides) -> list[Ask]:
    """Nothing is known to wait: a request waits at both queues, so that the next task starts at once.

    With a single place only one request may wait; then the queues take turns.
    """
    away = other(home)
    if places == 1:
        return [Ask(away, 1, Wait.NO) if sides.of(away).due else Ask(home, 1, Wait.TURN)]
    asks = []
    wanted = max(1, places // 4)
    promised = sides.of(home).promised
    if promised * 2 <= wanted - 1:
        batch = min(wanted - promised, free)
        free -= batch
        asks.append(Ask(home, batch, Wait.LONG))
    if free > 0 and sides.of(away).promised == 0:
        asks.append(Ask(away, 1, Wait.SHORT))
    return asks
