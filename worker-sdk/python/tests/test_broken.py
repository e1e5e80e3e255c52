"""Workers whose connection, or whose broker, does not do what it should."""

from __future__ import annotations

import asyncio
import contextlib
import unittest

from .fleet import NOT_YET, until
from .on_fleet import OnFleet, setUpModule, tearDownModule
from .proxy import Proxy

__all__ = ["setUpModule", "tearDownModule"]

# For what must not happen: long enough that it would have.
SETTLE = 2.0


class Cut(OnFleet):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.proxy = Proxy(self.fleet.port)
        await self.proxy.open()
        self.addCleanup(self.proxy.close)

    async def test_a_failure_told_too_late_does_not_end_the_delivery_of_another_worker(self) -> None:
        twice = {"maxAttempts": 2, "delaysMs": [50]}
        first = await self.script("c-1", settings={"NATS_URL": self.proxy.url}, retry=twice)
        fail, finish = self.folder / "fail", self.folder / "finish"
        cid = await self.file(f"late {fail}\nwait {finish}")
        await until("the first attempt", lambda: len(self.calls()) == 1)
        await self.script("c-2", retry=twice)
        self.proxy.cut()
        await until("the first to notice", lambda: "the connection to the broker is lost" in first.said())
        fail.touch()
        await until("the second attempt", lambda: len(self.calls()) == 2)
        self.proxy.heal()
        await until("the first to be back", lambda: "connected to the broker again" in first.said())
        await asyncio.sleep(SETTLE)
        with contextlib.suppress(*NOT_YET):
            early = await self.fleet.client.jetstream().get_last_msg("KV_mf-records", self.fleet.names.record(self.plugin, cid))
            self.fail(f"it was settled while it ran: {early.data!r}")
        finish.touch()
        record = await self.fleet.record(self.plugin, cid)
        self.assertEqual((record["status"], record["attempt"], record["instance"]), ("completed", 2, "c-2"), record)


if __name__ == "__main__":
    unittest.main()
