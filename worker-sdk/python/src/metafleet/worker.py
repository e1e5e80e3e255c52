"""The worker: start, serve, drain.

Two loops. Handlers belong to the loop that awaits `Worker.run`, to threads or to processes; everything that talks to the
broker runs on a loop in a thread of its own, so that a handler that blocks stops neither the renewal of leases nor the
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Union

from . import announce, control, hooks, presence
from .aio import end
from .delivery import STILL_AT_IT
from .handle import Handling
from .job import Mailbox
from .link import Link
from .manifest import load
from .options import Options
from .plugin import Plugin
from .processes import ProcessRunner
from .publisher import Publisher
from .pull import Puller
from .rim import Rim, made_up
from .runner import LoopRunner, Runner, ThreadRunner, is_async
from .standing import Standing
from .telemetry import Tracing

log = logging.getLogger(__name__)

# How long running tasks may take to notice that they were stopped.
_STOPPING = 1.0
# So many handlers that were given up and hang are more than any places explain: somebody has to look at it.
_MOST_HANGING = 64


class OtherPlugin(Exception):
    """This is not the plugin that whoever started the process expects."""


class TooManyHang(Exception):
    """Handlers were given up and do not end; only the end of the process ends them."""


class Worker:
    """Runs a plugin inside of a program; a plugin's own program uses `metafleet.run`."""

    def __init__(self, plugin: Union[Plugin, Callable[[], Plugin]], options: Options, tracing: Tracing | None = None) -> None:
        self._factory = type(plugin) if isinstance(plugin, Plugin) else plugin
        self.plugin = plugin if isinstance(plugin, Plugin) else plugin()
        self.manifest = load(self.plugin.manifest, type(self.plugin))
        expected = options.plugin or self.manifest["id"]
        if expected != self.manifest["id"]:
            raise OtherPlugin(f"this is the plugin {self.manifest['id']}, not {expected}")
        if is_async(self.plugin) and self.plugin.executor == "process":
            raise TypeError("executor `process` is for `def process`; an `async def process` runs on the loop")
        self._options = options
        self.tracing = tracing or Tracing()
        self._stopped = threading.Event()
        self._tell_to_stop: Callable[[], None] | None = None
        self.hanging = False
        """Whether handlers were left that do not end."""
        self.when_stuck: Callable[[BaseException | None], object] | None = None
        """Called with what the worker ended with when a handler blocks the loop that awaits `run`."""

    async def run(self) -> None:
        """Serves until it is told to drain, finishes what runs within the grace period, and leaves.

        `async def` handlers run on the loop that awaits this.

        Raises:
            announce.Rejected, link.Refused, TooManyHang: it cannot serve, and trying again does not help.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._talk, args=(loop, ended), name="metafleet-broker", daemon=True)
        thread.start()
        try:
            await ended
        finally:
            self.stop()
            # It ends by itself now; this only keeps its last lines in order.
            await asyncio.sleep(0)
            thread.join(_STOPPING)

    def stop(self) -> None:
        """Begins the drain; from any thread."""
        self._stopped.set()
        if self._tell_to_stop is not None:
            self._tell_to_stop()

    def _talk(self, handlers: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._start(handlers))
        except BaseException as raised:
            error = raised

        told = threading.Event()

        def tell() -> None:
            told.set()
            if not ended.done():
                ended.set_exception(error) if error else ended.set_result(None)

        # The loop of the handlers may be closed: whoever waited has gone.
        with contextlib.suppress(RuntimeError):
            handlers.call_soon_threadsafe(tell)
            if self.when_stuck is not None and not told.wait(2 * _STOPPING):
                self.when_stuck(error)

    async def _start(self, handlers: asyncio.AbstractEventLoop) -> None:
        loop, drain = asyncio.get_running_loop(), asyncio.Event()

        def tell_to_stop() -> None:
            # The loop may be closed: then it has stopped.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(drain.set)

        self._tell_to_stop = tell_to_stop
        if self._stopped.is_set():
            drain.set()
        instance = self._options.instance or made_up(self.manifest["id"])
        log.info("starting %s %s as %s", self.manifest["id"], self.manifest["version"], instance)
        link = await Link.open(self._options, instance, drain)
        if link is None:
            return
        publisher, mailbox = Publisher(link), Mailbox(loop)
        try:
            await publisher.open()
            rim = Rim(
                self.plugin, self.manifest, self._options, instance, link, publisher, mailbox, handlers, self.tracing, drain
            )
            await self._serve(rim)
        finally:
            await link.close()

    def _runner(self, rim: Rim) -> Runner:
        if is_async(self.plugin):
            return LoopRunner(self.plugin, rim.handlers, rim.mailbox, rim.tracing)
        if self.plugin.executor == "process":
            return ProcessRunner(self._factory, rim.mailbox)
        return ThreadRunner(self.plugin, rim.mailbox, rim.tracing)

    async def _serve(self, rim: Rim) -> None:
        runner = self._runner(rim)
        handling = Handling(rim, runner)
        parts = [
            asyncio.ensure_future(part)
            for part in (presence.show_for_ever(rim), _renew(rim, runner), _look_for_overdue(rim), handling.watch_for_ever())
        ]
        serving = asyncio.ensure_future(_pull(rim, handling))
        try:
            await control.listen(rim)
            await asyncio.wait({serving, rim.link.refused, *parts}, return_when=asyncio.FIRST_COMPLETED)
            rim.drain.set()
            await self._drain(rim, handling, serving)
            for part in (serving, *parts, rim.link.refused):
                if part.done():
                    part.result()
        finally:
            await end([serving, *parts], _STOPPING)
            self.hanging = runner.hanging > 0
            runner.close()
            await presence.leave(rim)
            await hooks.stop(rim)
            log.info("stopped")

    async def _drain(self, rim: Rim, handling: Handling, serving: asyncio.Future[None]) -> None:
        rim.stand(draining=True)
        log.info("draining, %d tasks run", len(handling))
        await asyncio.wait({serving}, timeout=_STOPPING + self._options.grace)
        if not await handling.wait(self._options.grace):
            log.warning("the grace period is over, %d tasks are given back", len(handling))
            rim.abort.set()
            handling.abort()
            await handling.wait(_STOPPING)


async def _pull(rim: Rim, handling: Handling) -> None:
    """Announces, and pulls the tasks of the lane that the coordinator names, until the worker drains."""
    await announce.announce(rim)
    announcing = asyncio.ensure_future(announce.keep(rim))
    try:
        while not rim.drain.is_set():
            await _pull_lane(rim, handling, announcing)
    finally:
        if not announcing.done():
            announcing.cancel()
    if announcing.done() and not announcing.cancelled():
        announcing.result()


async def _pull_lane(rim: Rim, handling: Handling, announcing: asyncio.Future[None]) -> None:
    lane = rim.standing.lane
    puller = Puller(
        rim.link, rim.names, rim.plugin_id, lane, "background" if rim.manifest.get("queue") == "background" else "fast",
        rim.options.policy, handling.deliver,
    )
    puller.lost = rim.announce
    if handling.puller is not None:
        puller.carry_over(handling.puller)
    handling.puller = puller
    moved = asyncio.Event()

    def watch(standing: Standing) -> None:
        puller.set(pulling=standing.pulling and standing.lane == lane, places=standing.places)
        if standing.lane != lane or standing.draining:
            moved.set()

    rim.watchers.append(watch)
    watch(rim.standing)
    draining = asyncio.ensure_future(rim.drain.wait())
    for ends in (draining, announcing):
        ends.add_done_callback(lambda _: moved.set())
    try:
        late = await puller.run(moved)
    finally:
        draining.cancel()
        rim.watchers.remove(watch)
    for msg, place in late:
        handling.give_back(msg, place)
    if announcing.done():
        # It was rejected; whoever waits for us is told.
        rim.drain.set()


async def _renew(rim: Rim, runner: Runner) -> None:
    """Renews every lease before a third of it has passed."""
    while True:
        tick = rim.leases.tick
        await asyncio.sleep(tick)
        for held in rim.leases.due(time.monotonic(), tick):
            if rim.link.is_up:
                rim.leases.told(held, time.monotonic())
            await rim.link.tell(held.reply, STILL_AT_IT)
        if runner.hanging > _MOST_HANGING:
            raise TooManyHang(f"{runner.hanging} handlers are over their deadline and do not end")


async def _look_for_overdue(rim: Rim) -> None:
    while True:
        await asyncio.sleep(1)
        rim.publisher.look_for_overdue()
