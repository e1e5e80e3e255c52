"""The one line of a plugin's program."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NoReturn, Union

from . import logs, telemetry
from .announce import Rejected
from .link import Refused
from .manifest import InvalidManifest
from .options import InvalidOptions, Options
from .plugin import Plugin
from .text import described
from .worker import OtherPlugin, Worker

log = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """What the process says to who watches it."""

    DRAINED = 0
    FAILED = 1
    ENVIRONMENT = 2
    REFUSED = 4
    REJECTED = 5
    INTERRUPTED = 130


def run(plugin: Union[Plugin, Callable[[], Plugin]]) -> NoReturn:
    """Serves the plugin until SIGTERM or SIGINT, and ends the process with the exit code of the protocol.

    Takes a plugin, its class, or what makes one. Call it under `if __name__ == "__main__":`.
    """
    logs.start()
    code, hanging = _serve(plugin)
    logging.shutdown()
    sys.stdout.flush()
    if hanging:
        # Handlers that do not end must not keep the process.
        os._exit(code)
    sys.exit(code)


def _serve(plugin: Union[Plugin, Callable[[], Plugin]]) -> tuple[ExitCode, bool]:
    """Serves; returns the exit code, and whether something is left that does not end."""
    tracing, worker, ended = telemetry.Tracing(), None, None
    try:
        options = Options.from_environment()
        worker = Worker(plugin, options)
        tracing = worker.tracing = telemetry.start(worker.manifest["id"])
        worker.when_stuck = _end_at_once
        # What is there now stays: the collector need not look at it again with each thousand tasks.
        gc.freeze()
        with _signals(worker):
            _run(worker)
    except Exception as error:
        ended = error
    finally:
        tracing.close()
    return _told(ended), worker is not None and worker.hanging


def _told(error: BaseException | None) -> ExitCode:
    """Logs what the worker ended with, and makes an exit code of it."""
    if error is None:
        return ExitCode.DRAINED
    if isinstance(error, (InvalidOptions, InvalidManifest, OtherPlugin)):
        log.error("%s", error)
        return ExitCode.ENVIRONMENT
    if isinstance(error, Refused):
        log.error("%s", error)
        return ExitCode.REFUSED
    if isinstance(error, Rejected):
        log.error("the coordinator does not accept the plugin: %s", error)
        return ExitCode.REJECTED
    log.error("the worker failed: %s", described(error), exc_info=error)
    return ExitCode.FAILED


def _end_at_once(error: BaseException | None) -> None:
    """A handler blocks the main thread; the worker is done, and so nothing is lost."""
    os._exit(_told(error))


def _run(worker: Worker) -> None:
    """Runs the loop of the handlers; does not wait for handlers that hang in it."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(worker.run())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            with contextlib.suppress(Exception):
                loop.run_until_complete(asyncio.wait(left, timeout=1))
        worker.hanging |= any(not task.done() for task in left)
        asyncio.set_event_loop(None)
        loop.close()


@contextlib.contextmanager
def _signals(worker: Worker) -> Iterator[None]:
    """SIGTERM and SIGINT begin the drain; the second one ends the process at once, as a crash would.

    A thread hears of them, so that a handler that blocks the main thread does not keep us from it.
    """
    hear, tell = socket.socketpair()
    tell.setblocking(False)
    numbers = (signal.SIGTERM, signal.SIGINT)
    former = {number: signal.signal(number, _noted) for number in numbers}
    former_descriptor = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        times = 0
        while octets := hear.recv(64):
            times += sum(octet in numbers for octet in octets)
            if times > 1:
                os._exit(ExitCode.INTERRUPTED)
            if times:
                worker.stop()

    threading.Thread(target=listen, name="metafleet-signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former_descriptor)
        for number, handler in former.items():
            signal.signal(number, handler)
        tell.close()


def _noted(number: int, frame: object) -> None:
    """The thread that listens has heard of it."""
