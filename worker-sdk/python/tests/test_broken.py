"""Workers whose connection, or whose broker, does not do what it should."""

from __future__ import annotations

import asyncio
import contextlib
import json
import unittest

from .fleet import NOT_YET, fleet, until
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


    async def test_requests_that_get_lost_are_asked_again(self) -> None:
        worker = await self.script(settings={"NATS_URL": self.proxy.url})
        self.proxy.lost = "$JS.API.CONSUMER.MSG.NEXT."
        await until("requests of both queues to get lost", lambda: self.proxy.swallowed >= 2)
        self.proxy.lost = ""
        cid = await self.file("complete")
        record = await self.fleet.record(self.plugin, cid)
        self.assertEqual((record["status"], record["attempt"]), ("completed", 1), record)
        await until("it to say so", lambda: "the broker forgot a pull request" in worker.said())


class Stall(OnFleet):
    async def asyncSetUp(self) -> None:
        own = fleet()
        it = own.__enter__()
        self.addCleanup(own.__exit__, None, None, None)
        await self.use(it)
        self.plugin = "conformance-stall"

    async def test_a_broker_that_stalls_gives_nobody_more_than_it_has_places_for(self) -> None:
        worker = await self.script(concurrency=2)
        path = self.folder / "nap.txt"
        path.write_text("nap")
        cids = [f"stall-{number}" for number in range(20)]
        # Nothing is there, so requests wait, and are over one after the other while the broker reads none of them.
        async with self.fleet.stalled():
            await asyncio.sleep(9)
            for number, cid in enumerate(cids):
                body = {
                    "type": "metafleet.submission.v1", "cid": cid, "filePath": str(path), "only": [self.plugin], "overrideQueue": True,
                }
                queue = ("background", "fast")[number % 2]
                await self.fleet.client.publish(self.fleet.names.submit(queue), json.dumps(body).encode())
        records = [await self.fleet.record(self.plugin, cid) for cid in cids]
        self.assertEqual(max(int(record["meta"]["script/text/0/most"]) for record in records), 2, records)
        self.assertNotIn("the connection to the broker is lost", worker.said())


if __name__ == "__main__":
    unittest.main()
