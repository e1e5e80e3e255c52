"""PURE. What follows from a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .wire import Manifest, RetryPolicy

LONGEST_NAK_MS = 60_000


class Follows(Enum):
    """What follows."""

    RETRY = "retry"
    """The broker delivers the task again after the delay."""
    DEFER = "defer"
    """The coordinator publishes the task again after the delay: it is too long for the broker."""
    GIVE_UP = "give up"
    """There is no further attempt."""


@dataclass(frozen=True)
class Verdict:
    """What follows, and after how long."""

    follows: Follows
    delay_ms: int = 0


def verdict(retry: RetryPolicy, attempt: int, *, permanent: bool) -> Verdict:
    """Decides what follows from a failure of this attempt."""
    if permanent or attempt >= retry["maxAttempts"]:
        return Verdict(Follows.GIVE_UP)
    delay = delay_ms(retry, attempt)
    return Verdict(Follows.DEFER if delay > LONGEST_NAK_MS else Follows.RETRY, delay)


def delay_ms(retry: RetryPolicy, attempt: int) -> int:
    """The delay after a failed attempt; the last one of the list repeats."""
    delays = retry["delaysMs"] or [1000]
    return max(1, delays[min(attempt, len(delays)) - 1])


def policy_of(manifest: Manifest) -> RetryPolicy:
    """How the coordinator would have the plugin's tasks tried, unless the operator says otherwise."""
    options = manifest.get("retry", {})
    attempts = options.get("maxAttempts", 3)
    first, longest = options.get("initialDelay", 1000), options.get("maxDelay", 30_000)
    grows = options.get("backoff", "exponential") == "exponential"
    steps = range(min(max(attempts - 1, 1), 32))
    computed = [min(first << step if grows else first, longest) for step in steps]
    return {"maxAttempts": attempts, "delaysMs": options.get("delaysMs") or computed}


def time_limit_ms(manifest: Manifest, deadline_ms: int) -> int:
    """How long one attempt may take: what the task says, or else the manifest."""
    return deadline_ms or manifest.get("timeout", 30_000)
