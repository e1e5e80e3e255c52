"""The announcement of this instance, and the settings that come in answer.

It announces itself before it serves, after every reconnect (the coordinator may be another one), when its consumers
seem to be gone, and when it is told to. While nobody answers it asks again; it pulls nothing before it was accepted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import platform
import random
import time
from collections.abc import Mapping
from typing import Any

import nats.errors

from .hooks import pause
from .link import TROUBLE
from .mask import Mask
from .names import MAIN
from .rim import Rim
from .text import described, dump, short
from .version import VERSION

log = logging.getLogger(__name__)

_ANSWER_WITHIN = 5.0
# Shortest time between two announcements.
_REST = 0.5
_CONFIGURE_WITHIN = 60.0
_PAUSES = (0.1, 2.0)
# How often the log says that nobody answers.
_COMPLAIN_EVERY = 15


class Rejected(Exception):
    """The coordinator does not accept the plugin; says what is to be mended."""


async def announce(rim: Rim) -> None:
    """Announces until the coordinator accepts, and takes what it answers; returns also when the worker drains.

    Raises:
        Rejected: the coordinator does not want this plugin.
    """
    pause_ = _PAUSES[0]
    for tries in itertools.count():
        asking = asyncio.ensure_future(_ask(rim))
        if not await _unless_draining(rim, asking):
            return
        answer, why = asking.result()
        if answer is not None:
            return await _take(rim, answer)
        level = logging.WARNING if tries % _COMPLAIN_EVERY == 0 else logging.DEBUG
        log.log(level, "no coordinator answers, announcing again: %s", why)
        if not await _unless_draining(rim, asyncio.ensure_future(asyncio.sleep(pause_ * random.uniform(0.5, 1)))):
            return
        pause_ = min(pause_ * 2, _PAUSES[1])


async def keep(rim: Rim) -> None:
    """Announces again whenever there is reason to, until the worker drains."""
    unwatch = rim.link.on_reconnect(rim.announce.set)
    try:
        while await _unless_draining(rim, asyncio.ensure_future(rim.announce.wait())):
            rim.announce.clear()
            await announce(rim)
            await _unless_draining(rim, asyncio.ensure_future(asyncio.sleep(_REST)))
    finally:
        unwatch()


async def _unless_draining(rim: Rim, what: asyncio.Future[Any]) -> bool:
    """Waits for it; whether it is done, because it is given up when the worker drains."""
    draining = asyncio.ensure_future(rim.drain.wait())
    try:
        await asyncio.wait({what, draining}, return_when=asyncio.FIRST_COMPLETED)
        return what.done() and not rim.drain.is_set()
    finally:
        draining.cancel()
        what.cancel()


async def _ask(rim: Rim) -> tuple[dict[str, Any] | None, str]:
    body: dict[str, Any] = {
        "type": "metafleet.announce.v1", "instance": rim.instance, "manifest": rim.manifest, "host": rim.host,
        "pid": os.getpid(), "sdk": f"python {VERSION}, Python {platform.python_version()}", "lanes": True,
    }
    if rim.options.route:
        body["route"] = rim.options.route
    try:
        subject = rim.names.signal(rim.plugin_id, "announce")
        answer = json.loads((await rim.link.client.request(subject, dump(body), timeout=_ANSWER_WITHIN)).data)
        return (answer, "") if _is_answer(answer) else (None, "the answer makes no sense")
    except nats.errors.NoRespondersError:
        return None, "nobody listens"
    except TROUBLE as error:
        return None, described(error)
    except ValueError as error:
        return None, f"the answer cannot be read: {error}"


def _is_answer(answer: Any) -> bool:
    if not isinstance(answer, dict):
        return False
    if answer.get("status") == "rejected":
        return True
    numbers = all(isinstance(answer.get(name), int) for name in ("leaseMs", "heartbeatMs", "maxPayload"))
    return answer.get("status") == "accepted" and numbers and isinstance(answer.get("settings"), dict)


async def _take(rim: Rim, answer: dict[str, Any]) -> None:
    if answer["status"] == "rejected":
        raise Rejected("; ".join(map(str, answer.get("reasons") or ["no reason is given"])))
    rim.leases.lease = max(0.1, answer["leaseMs"] / 1000)
    rim.heartbeat = max(0.1, answer["heartbeatMs"] / 1000)
    rim.publisher.most_bytes = answer["maxPayload"]
    rim.offer(answer)
    # Who serves a route was not started for other tasks, whoever answers.
    lane = answer.get("lane") or MAIN
    own_lane = rim.options.route or lane
    rim.stand(places=rim.places(answer.get("concurrency")), lane=own_lane)
    await pause(rim, bool(answer.get("paused")) or lane != own_lane)
    if not rim.standing.configured or rim.settings != answer["settings"]:
        # What comes of it is shown in the sign of life.
        await configure(rim, answer["settings"])


async def configure(rim: Rim, settings: Mapping[str, Any]) -> str | None:
    """Lets the plugin take its settings; says why it refuses them. Ends when the worker drains."""
    began = time.monotonic()
    answer = asyncio.ensure_future(asyncio.wait_for(rim.beside(rim.plugin.configure, settings), _CONFIGURE_WITHIN))
    if not await _unless_draining(rim, answer):
        return "the worker is draining"
    error = answer.exception()
    why = None
    if isinstance(error, asyncio.TimeoutError):
        why = f"the plugin did not take its settings within {_CONFIGURE_WITHIN:.0f} s"
    elif error is not None:
        why = short(Mask.of(rim.manifest, settings).text(str(error) or described(error)))
    if why is None:
        log.info("configured in %d ms", (time.monotonic() - began) * 1000)
    else:
        log.warning("the plugin refuses its settings, it does not serve: %s", why)
    rim.settings = settings
    rim.stand(configured=True, refused=why)
    return why
