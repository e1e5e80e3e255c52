"""What tests of workers in a fleet begin with; a module of them imports `OnFleet`, `setUpModule` and `tearDownModule`."""

from __future__ import annotations

import json
import tempfile
import unittest
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .fleet import Fleet, Process, fleet

MANIFEST: dict[str, Any] = {
    "id": "conformance", "name": "Conformance", "version": "1.0.0", "priority": 50, "queue": "fast", "timeout": 20000,
    "concurrency": 4, "retry": {"maxAttempts": 3, "delaysMs": [100]}, "filter": {},
    "dataSchema": {
        "script/attempt": {}, "script/cid": {}, "script/text/{n}/*": {}, "script/existing": {"type": "json"},
        "script/set": {"type": "set"},
    },
    "configSchema": {"mode": {"type": "string", "default": "good"}}, "capabilities": {"conformance": True},
}

SHARED = ExitStack()
FLEET: list[Fleet] = []


def setUpModule() -> None:
    """One fleet for all tests of a module; each has a plugin of its own, and hands in files for that alone."""
    FLEET.append(SHARED.enter_context(fleet()))


def tearDownModule() -> None:
    SHARED.close()
    FLEET.clear()


class OnFleet(unittest.IsolatedAsyncioTestCase):
    """Has a fleet, and starts scripted plugins in it."""

    async def asyncSetUp(self) -> None:
        await self.use(FLEET[0])
        self.plugin = f"conformance-{self.id().rpartition('.')[2].replace('_', '-')}"[:60].rstrip("-")

    async def use(self, it: Fleet) -> None:
        self.fleet = it
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        await it.connect()
        self.addAsyncCleanup(it.client.close)
        before = list(it._processes)
        self.addCleanup(lambda: it.end([one for one in it._processes if one not in before]))

    async def script(self, instance: str = "c-1", kind: str = "thread", settings: dict[str, str] | None = None, **change: Any) -> Process:
        manifest = self.folder / "manifest.json"
        manifest.write_text(json.dumps({**MANIFEST, "id": self.plugin, **change}))
        process = self.fleet.plugin("scripted.py", str(manifest), kind, METAFLEET_INSTANCE=instance, **(settings or {}))
        await self.fleet.ready(self.plugin, instance)
        return process

    async def file(self, content: str, name: str | None = None, **more: Any) -> str:
        path = self.folder / (name or f"{len(list(self.folder.iterdir()))}.txt")
        path.write_text(content, encoding="utf-8")
        self.path = path
        return await self.hand_in(path, **more)

    async def hand_in(self, path: Path | bytes, **more: Any) -> str:
        return await self.fleet.hand_in(path, only=[self.plugin], **more)

    def calls(self, path: Path | None = None) -> list[list[str]]:
        calls = Path(f"{path or self.path}.calls")
        return [line.split() for line in calls.read_text().splitlines()] if calls.exists() else []
