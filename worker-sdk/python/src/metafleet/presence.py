"""The sign of life of this instance, refreshed until it leaves."""

from __future__ import annotations

import os
import time

from .aio import happens
from .hooks import check_health
from .rim import Rim
from .text import dump, now
from .wire import Instance


async def show_for_ever(rim: Rim) -> None:
    """Shows a sign of life at every heartbeat and at every change."""
    while True:
        rim.changed.clear()
        if rim.link.is_up:
            await rim.link.tell(rim.names.instance(rim.plugin_id, rim.instance), dump(entry(rim)))
        if not await happens(rim.changed, rim.heartbeat):
            await check_health(rim)


def entry(rim: Rim) -> Instance:
    """What it says."""
    standing = rim.standing
    said: Instance = {
        "type": "metafleet.instance.v1", "pluginId": rim.plugin_id, "instance": rim.instance, "state": standing.state,
        "healthy": standing.unhealthy is None, "version": rim.version, "host": rim.host, "pid": os.getpid(),
        "startedAt": rim.started_at, "at": now(), "concurrency": standing.places,
        "running": rim.leases.running(time.monotonic()), "totals": rim.shown_totals(),
    }
    if standing.error:
        said["error"] = standing.error
    if rim.options.route:
        said["route"] = rim.options.route
    return said


async def leave(rim: Rim) -> None:
    """Takes the sign of life down, so that nobody waits for it to expire."""
    if rim.link.is_up:
        subject = rim.names.instance(rim.plugin_id, rim.instance)
        await rim.link.tell(subject, b"", headers={"KV-Operation": "DEL"})
