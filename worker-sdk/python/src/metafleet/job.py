"""What a handler works on, and how the loop that talks to the broker and the handlers hand things over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from .artifact import Artifact
from .options import FilesOffer
from .outcome import Said
from .paths import PathMap
from .wire import Submission, Task


class Work(NamedTuple):
    """One attempt, as it can also be sent to another process."""

    task: Task
    cid: str
    plugin_id: str
    instance: str
    attempt: int
    limit: float
    """Seconds that the attempt may take."""
    settings: Mapping[str, Any]
    paths: PathMap = PathMap()
    files: FilesOffer | None = None
    copies: str | None = None
    """A folder for copies of files, of whoever removes it; without one they lie where temporary files do."""


class Cancel:
    """Says across threads that an attempt is to end. Cheap as long as nobody waits for it."""

    __slots__ = ("_event", "_flag")

    def __init__(self) -> None:
        self._flag = False
        self._event: threading.Event | None = None

    def set(self) -> None:
        """Ends the attempt."""
        self._flag = True
        if self._event is not None:
            self._event.set()

    def is_set(self) -> bool:
        """Whether it is to end."""
        return self._flag

    def wait(self, seconds: float | None) -> bool:
        """Waits so long for it; whether it is to end. One thread waits at a time."""
        # Whoever sets the flag looks for the event afterwards, so neither misses the other.
        if self._event is None:
            self._event = threading.Event()
        return self._flag or self._event.wait(seconds)


class Port(Protocol):
    """What a handler can cause outside; from any thread."""

    def progress(self, fraction: float, note: str) -> None:
        """Reports how far it has got."""

    def submit(self, submission: Submission) -> Future[None]:
        """Hands a file in."""

    def keep(self, artifact: Artifact, data: bytes) -> Future[None]:
        """Stores an artefact."""

    def fetched(self, octets: int) -> None:
        """Counts bytes that were read by HTTP."""


class Mailbox:
    """Calls functions on a loop, from any thread, with one wake-up for many of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Has `function` called soon; nothing happens if the loop is closed."""
        self._calls.append((function, arguments))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                self._calls.clear()

    def _deliver(self) -> None:
        # First, so that whoever posts from now on wakes the loop again.
        self._woken = False
        while self._calls:
            function, arguments = self._calls.popleft()
            function(*arguments)


class Job:
    """One attempt in this process: the work, its clock, and where its outcome goes."""

    __slots__ = ("answered", "begun", "cancel", "delivered_at", "got_on", "handle", "port", "work")

    def __init__(self, work: Work, port: Port, answered: asyncio.Future[Said]) -> None:
        self.work = work
        self.port = port
        self.cancel = Cancel()
        self.answered = answered
        self.delivered_at = time.monotonic()
        self.begun: float | None = None
        """When the handler began; it may have to wait for one that blocks the loop."""
        self.got_on = self.delivered_at
        """When it reported progress last."""
        self.handle: Any = None
        """What runs it; the runner's own."""

    def begin(self) -> None:
        """The handler begins now."""
        self.begun = self.got_on = time.monotonic()

    def answer(self, said: Said) -> None:
        """The attempt is over; only on the loop that talks to the broker. The first answer counts."""
        if not self.answered.done():
            self.answered.set_result(said)
