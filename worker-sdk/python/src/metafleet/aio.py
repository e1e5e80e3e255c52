"""Blocking things, awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")


def in_thread(function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
    """Runs blocking code in a thread of its own, which does not keep the process when it hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except StopIteration as stop:
            # A future takes anything but that.
            error = RuntimeError(f"StopIteration: {stop}")
        except BaseException as raised:
            error = raised  # type: ignore[assignment]
        try:
            loop.call_soon_threadsafe(tell, result, error)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    threading.Thread(target=work, name="metafleet-blocking", daemon=True).start()
    return done


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Waits so long for an event; whether it was set. Unlike `wait_for` it never loses a cancellation."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=seconds)
        return waiting.done()
    finally:
        waiting.cancel()


async def end(tasks: Collection[asyncio.Future[Any]], seconds: float) -> None:
    """Cancels tasks until they have ended; not for ever, because what they wait for may swallow it."""
    left = {task for task in tasks if not task.done()}
    pause = seconds / 8
    for _ in range(8):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=pause)


class AsyncFile:
    """A file that is read in threads, for `async with`."""

    def __init__(self, opens: Callable[[], BinaryIO]) -> None:
        self._opens = opens
        self._file: BinaryIO | None = None

    async def __aenter__(self) -> AsyncFile:
        self._file = await in_thread(self._opens)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def raw(self) -> BinaryIO:
        """The file itself, for code that runs in a thread."""
        if self._file is None:
            raise ValueError("the file is open inside of `async with` only")
        return self._file

    async def read(self, size: int = -1) -> bytes:
        """Reads so many bytes, fewer only at the end; everything without a number."""
        return await in_thread(self.raw.read, size)

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a place in the file."""
        return await in_thread(self.raw.seek, offset, whence)

    def tell(self) -> int:
        """Where it is."""
        return self.raw.tell()
