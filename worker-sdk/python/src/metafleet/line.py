"""PURE. One queue: the pull requests that may still be answered, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .share import Ask, Wait
from .wire import Queue

# How long a request waits, in seconds: a place that is promised to one queue cannot serve the other.
_LASTS = {Wait.NO: 0.0, Wait.TURN: 0.5, Wait.SHORT: 0.5, Wait.LONG: 2.0}
# How long one waits when nothing has come for a while, and how often the server then says that it still does.
_QUIET = 5.0
_HEARTBEAT = 1.5
_QUIET_AFTER = 10.0
# After this much more than its time a request is over, answered or not.
_MARGIN = 2.0
# Pauses before an empty queue is looked at again, and after a refusal; they double up to the second.
_LOOK = (0.02, 0.5)
_REFUSED = (0.1, 5.0)


class _Sent(NamedTuple):
    batch: int
    over: float
    heartbeat: bool
    look: bool


class Ended(NamedTuple):
    """A request that is over."""

    unanswered: int
    """Tasks that it asked for and did not get."""
    look: bool
    """Whether it only looked."""


class Line:
    """The requests of one queue."""

    def __init__(self, queue: Queue, now: float) -> None:
        self.queue = queue
        self.not_before = self.next_look = self._last = self._heard = now
        self._asks: dict[int, _Sent] = {}
        self._look = _LOOK[0]
        self._refused: float | None = None
        self._tokens = 0

    def ask(self, ask: Ask, now: float, *, quiet: bool) -> tuple[int, bytes]:
        """Notes a request that is sent; returns its token and its body."""
        lasts = _QUIET if quiet and ask.wait in (Wait.SHORT, Wait.LONG) else _LASTS[ask.wait]
        heartbeat = lasts == _QUIET
        if heartbeat:
            self._heard = now
        self._tokens += 1
        self._asks[self._tokens] = _Sent(ask.batch, now + lasts + _MARGIN, heartbeat, ask.wait is Wait.NO)
        if not lasts:
            return self._tokens, b'{"batch":%d,"no_wait":true}' % ask.batch
        body = b'{"batch":%d,"expires":%d' % (ask.batch, lasts * 1e9)
        return self._tokens, body + (b',"idle_heartbeat":%d}' % (_HEARTBEAT * 1e9) if heartbeat else b"}")

    def heard(self, now: float) -> None:
        """Something came."""
        self._heard = now

    def found(self, now: float, *, all_answered: bool) -> None:
        """A task came."""
        self._refused, self._look = None, _LOOK[0]
        self._last = self.next_look = now
        if all_answered:
            self._asks.clear()

    def ends(self, token: str, headers: Mapping[str, str]) -> Ended:
        """Strikes off the request that a status ends."""
        sent = self._asks.pop(int(token), None) if token.isdigit() else None
        if sent is None:
            return Ended(0, look=False)
        pending = headers.get("Nats-Pending-Messages", "")
        return Ended(int(pending) if pending.isdigit() else sent.batch, sent.look)

    def found_nothing(self, now: float) -> None:
        """A look at the queue found nothing."""
        self.next_look = now + self._look
        self._look = min(self._look * 2, _LOOK[1])

    def accepted(self) -> None:
        """The server takes requests."""
        self._refused = None

    def refused(self, now: float) -> None:
        """The server refused a request."""
        self._refused = _REFUSED[0] if self._refused is None else min(self._refused * 2, _REFUSED[1])
        self.not_before = now + self._refused

    def is_overdue(self, now: float, promised: int) -> bool:
        """Whether more tasks are promised than the requests account for that are not over.

        If not, those that are over were answered, and are struck off.
        """
        asks = {token: sent for token, sent in self._asks.items() if sent.over > now}
        if promised > sum(sent.batch for sent in asks.values()):
            return True
        self._asks = asks
        return False

    def is_silent(self, now: float) -> bool:
        """Whether the server has missed two heartbeats: it has forgotten the request."""
        return any(sent.heartbeat for sent in self._asks.values()) and now > self._heard + 2.33 * _HEARTBEAT

    def is_quiet(self, now: float) -> bool:
        """Whether nothing has come for a while."""
        return now > self._last + _QUIET_AFTER

    def start_anew(self, now: float) -> None:
        """Gives all requests up, because the inbox is another one."""
        self._asks.clear()
        self._refused = None
        self._heard = self.not_before = now
