"""The plugin is told of pauses, asked for its health, and told of the end; never waited for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from .rim import Rim
from .text import described, short

log = logging.getLogger(__name__)

_WITHIN = 2.0


async def pause(rim: Rim, paused: bool) -> None:
    """Pauses or resumes; the plugin is told only when that is a change."""
    if rim.standing.paused == paused:
        return
    rim.stand(paused=paused)
    log.info("pulling is paused" if paused else "pulling goes on")
    await _tell(rim, rim.plugin.on_pause if paused else rim.plugin.on_resume)


async def stop(rim: Rim) -> None:
    """The worker ends."""
    await _tell(rim, rim.plugin.on_stop)


async def check_health(rim: Rim) -> None:
    """Asks the plugin how it is."""
    try:
        said = await asyncio.wait_for(rim.beside(rim.plugin.health), _WITHIN)
        unhealthy = short(rim.hide(str(said))) if said else None
    except asyncio.TimeoutError:
        unhealthy = "the health check does not answer"
    except Exception as error:
        unhealthy = short(rim.hide(f"the health check failed: {described(error)}"))
    rim.stand(unhealthy=unhealthy)


async def _tell(rim: Rim, hook: Callable[..., Any]) -> None:
    try:
        await asyncio.wait_for(rim.beside(hook), _WITHIN)
    except asyncio.TimeoutError:
        log.warning("%s is slow", hook.__name__)
    except Exception:
        log.exception("%s failed", hook.__name__)
