"""What all parts of a worker share. It belongs to the loop that talks to the broker, but for what it says."""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .aio import in_thread
from .job import Mailbox
from .leases import Leases
from .link import Link
from .mask import Mask
from .meta import DataSchema
from .names import Names
from .options import FilesOffer, Options
from .plugin import Plugin
from .publisher import Publisher
from .standing import Standing
from .telemetry import Tracing
from .text import now
from .wire import Manifest, Totals


@dataclass
class Rim:
    """One worker."""

    plugin: Plugin
    manifest: Manifest
    options: Options
    instance: str
    link: Link
    publisher: Publisher
    mailbox: Mailbox
    handlers: asyncio.AbstractEventLoop
    tracing: Tracing
    drain: asyncio.Event
    abort: asyncio.Event = field(default_factory=asyncio.Event)
    announce: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the sign of life has something new to say."""
    leases: Leases = field(default_factory=Leases)
    standing: Standing = Standing()
    settings: Mapping[str, Any] = field(default_factory=dict)
    heartbeat: float = 5.0
    files: FilesOffer | None = None
    started_at: str = field(default_factory=now)
    host: str = field(default_factory=socket.gethostname)
    totals: dict[str, float] = field(default_factory=dict)
    watchers: list[Callable[[Standing], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = Names(self.options.prefix)
        self.schema = DataSchema(self.manifest)
        self.plugin_id: str = self.manifest["id"]
        self.version: str = self.manifest["version"]

    def hide(self, text: str) -> str:
        """A text for people without the secrets among the settings."""
        return Mask.of(self.manifest, self.settings).text(text)

    def stand(self, **changes: Any) -> None:
        """Changes the standing, and tells those who watch it."""
        standing = replace(self.standing, **changes)
        if standing == self.standing:
            return
        self.standing = standing
        self.changed.set()
        for watcher in list(self.watchers):
            watcher(standing)

    def count(self, what: str, how_much: float = 1) -> None:
        """Adds to the totals."""
        self.totals[what] = self.totals.get(what, 0) + how_much

    def shown_totals(self) -> Totals:
        """The totals as the sign of life shows them."""
        names = (
            "started", "completed", "skipped", "failed", "retried", "deferred", "superseded", "busyMs", "fetchedBytes",
        )
        totals = {name: int(self.totals.get(name, 0)) for name in names}
        return totals  # type: ignore[return-value]

    def places(self, allowed: int | None) -> int:
        """Tasks at once: what the environment says, else the operator, else the manifest, else the processors."""
        return self.options.concurrency or allowed or self.manifest.get("concurrency") or os.cpu_count() or 1

    def offer(self, answer: Mapping[str, Any]) -> None:
        """Takes where bytes of files can be had; the environment goes before the answer."""
        offered = answer.get("files") or {}
        url = self.options.files_url or offered.get("url")
        token = self.options.files_token or offered.get("token")
        self.files = FilesOffer(url, token) if url and token else None

    def beside(self, hook: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """Calls a hook of the plugin: on the loop of the handlers if it is awaited, else in a thread."""
        if not inspect.iscoroutinefunction(hook):
            return in_thread(hook, *arguments)
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(hook(*arguments), self.handlers))


def made_up(plugin_id: str) -> str:
    """A name for this process: the plugin, and what tells it from others."""
    return f"{plugin_id}-{os.getpid()}-{secrets.token_hex(4)}"
