"""PURE. What the broker says of a delivery in its reply subject, and what it can be answered."""

from __future__ import annotations

import re
from typing import NamedTuple

ACK = b"+ACK"
STILL_AT_IT = b"+WPI"

_REASON_BYTES = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PREFIX = "$JS.ACK."


class Place(NamedTuple):
    """Where a delivered message stands in its stream and in its consumer."""

    delivered: int
    """How often it was delivered, this time included."""
    sequence: int
    """Its sequence in the stream."""
    stored_at: int
    """When the stream stored it, in nanoseconds."""
    pending: int
    """Messages that wait behind this one."""

    @classmethod
    def parse(cls, reply: str) -> Place | None:
        """Reads either form of the reply subject; None for anything else."""
        if not reply.startswith(_PREFIX):
            return None
        tokens = reply.split(".")[2:]
        if len(tokens) == 7:
            numbers = tokens[2:]
        elif len(tokens) >= 9:
            numbers = tokens[4:9]
        else:
            return None
        try:
            return cls(int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4]))
        except ValueError:
            return None


def nak(delay_ms: float) -> bytes:
    """Again after this long; without a delay it would come back at once, over and over."""
    return b'-NAK {"delay":%d}' % (max(1, round(delay_ms)) * 1_000_000)


def term(reason: str) -> bytes:
    """Never again, and why; the reason goes into the broker's advisory."""
    text = _CONTROL.sub(" ", reason.encode(errors="replace")[:_REASON_BYTES].decode(errors="ignore"))
    return f"+TERM {text}".encode() if text else b"+TERM"


def attempts_used(headers: dict[str, str] | None) -> int:
    """Attempts that were used up before the task was published."""
    text = (headers or {}).get("Mf-Attempts-Used", "")
    return int(text) if text.isascii() and text.isdigit() else 0
