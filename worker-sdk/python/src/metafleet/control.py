"""What this instance obeys: pause, resume, drain, configure, announce, ping."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from nats.aio.msg import Msg

from .announce import configure
from .hooks import pause
from .rim import Rim
from .text import described, dump, short

log = logging.getLogger(__name__)


async def listen(rim: Rim) -> None:
    """Subscribes to what all instances of the plugin are told, and to what this one is told."""

    answering: set[asyncio.Task[None]] = set()

    async def on_request(msg: Msg) -> None:
        # A plugin that thinks about its settings must not keep others from being heard. Tasks begin in order.
        task = asyncio.get_running_loop().create_task(_answer(rim, msg))
        answering.add(task)
        task.add_done_callback(answering.discard)

    for subject in (rim.names.control(rim.plugin_id), rim.names.control(rim.plugin_id, rim.instance)):
        await rim.link.client.subscribe(subject, cb=on_request)


async def _answer(rim: Rim, msg: Msg) -> None:
    reply: dict[str, Any] = {"success": True, "instance": rim.instance}
    try:
        error = await _obey(rim, json.loads(msg.data))
    except (ValueError, TypeError, AttributeError) as unreadable:
        error = f"the request cannot be read: {described(unreadable)}"
        log.warning("a control request cannot be read: %s", unreadable)
    if error is not None:
        reply.update(success=False, error=short(error))
    if msg.reply:
        await rim.link.tell(msg.reply, dump(reply))


async def _obey(rim: Rim, request: dict[str, Any]) -> str | None:
    """Does what is asked; says why not."""
    action = request.get("action")
    if action in ("pause", "resume"):
        await pause(rim, action == "pause")
    elif action == "drain":
        log.info("told to drain")
        rim.drain.set()
    elif action == "configure":
        settings = request.get("settings")
        return await configure(rim, settings) if isinstance(settings, dict) else "settings: must be an object"
    elif action == "announce":
        rim.announce.set()
    elif action != "ping":
        return f"unknown action `{action!s:.100}`"
    return None
