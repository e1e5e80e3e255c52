"""What plugins make beside metadata, with a real broker: where it is kept, when, and what is refused."""

from __future__ import annotations

import hashlib
import json
import unittest
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from metafleet import PermanentError
from metafleet.artifact import describe
from metafleet.names import NEXT, Names

from .fleet import until
from .on_fleet import MANIFEST, OnFleet, setUpModule, tearDownModule

__all__ = ["setUpModule", "tearDownModule"]

SCHEMA = {**MANIFEST["dataSchema"], "script/kept": {"type": "json"}}
BUCKET = "KV_mf-artifacts"
KINDS = ("thread", "process", "async")
NAMES = ("still é.jpg", "a.b c/日本 😀.*>", "=", "x" * 128)


class Descriptions(unittest.TestCase):
    def test_the_metadata_says_what_there_is(self) -> None:
        said = describe("still.jpg", "image/jpeg", b"hello")
        sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        self.assertEqual(said, {"artifact": "still.jpg", "mediaType": "image/jpeg", "size": 5, "sha256": sha256})

    def test_names_and_media_types_are_held_against_the_protocol(self) -> None:
        for name in NAMES:
            self.assertEqual(describe(name, "text/plain; charset=utf-8", b"")["artifact"], name)
        for name in ("", "x" * 129, "é" * 65, "a\nb", "a\x7f", "a\x85", "\udcff"):
            with self.assertRaisesRegex(PermanentError, "cannot be called", msg=name):
                describe(name, "image/png", b"")
        for media_type in (
            "image/jpeg", "application/vnd.a+b.c-d_e", "text/plain; charset=utf-8", "text/plain ;x=y", "text/plain;",
            'text/plain; title="a; b/c"', "a/" + "x" * 253,
        ):
            self.assertEqual(describe("a", media_type, b"")["mediaType"], media_type)
        for media_type in (
            "", "jpeg", "/", "a/", "/b", "a/b/c", "a b/c", "a/b c", " image/png", "image/png ", "image/png\n", "text/plain; ", "é/x",
            "text/plain; x=é", "a\r\nMf-Dead-Letter: 1", "text/plain\r\nX: y", "text/plain; x\ty", "a/" + "x" * 254,
        ):
            with self.assertRaisesRegex(PermanentError, "is no media type", msg=media_type):
                describe("a", media_type, b"")


class Artefacts(OnFleet):
    def wants(self, *artefacts: dict[str, Any]) -> str:
        return f"keep {json.dumps(artefacts)}"

    async def kept(self, cid: str, name: str, *, trial: bool = False) -> tuple[bytes, dict[str, str]]:
        """An artefact as it lies in the broker."""
        subject = Names().artifact(self.plugin, cid, name, trial=trial)
        found = await self.fleet.client.jetstream().get_last_msg(BUCKET, subject)
        return found.data or b"", found.headers or {}

    async def test_artefacts_are_stored_before_the_record_that_speaks_of_them(self) -> None:
        heard: list[str] = []

        async def hear(msg: Msg) -> None:
            heard.append(msg.subject)

        await self.fleet.client.subscribe("$KV.*.*.>", cb=hear)
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
        for kind in KINDS:
            worker = await self.script(instance=kind, kind=kind, dataSchema=SCHEMA)
            wanted = [{"name": name, "size": 70_000 + number} for number, name in enumerate(NAMES)]
            # The last one takes the place of the first.
            text = self.wants(*wanted, {"name": NAMES[0], "size": 3, "type": "text/plain; x=y", "of": "z"})
            cid = await self.file(text, name=f"{kind}.txt", headers=trace)
            record = await self.fleet.record(self.plugin, cid)
            self.assertEqual(record["status"], "completed", (kind, record))
            said = record["meta"]["script/kept"]
            self.assertEqual([one["artifact"] for one in said], [*NAMES, NAMES[0]], kind)
            for one in said[1:]:
                data, headers = await self.kept(cid, one["artifact"])
                self.assertEqual((len(data), hashlib.sha256(data).hexdigest()), (one["size"], one["sha256"]))
                self.assertEqual(headers["Content-Type"], one["mediaType"])
                self.assertEqual({name: headers.get(name) for name in trace}, trace, kind)
            self.assertEqual((await self.kept(cid, NAMES[0]))[0], b"zzz")
            own = Names().record(self.plugin, cid)
            await until("the record", lambda own=own: own in heard)
            makes = [Names().artifact(self.plugin, cid, name) for name in NAMES]
            self.assertLess(max(heard.index(subject) for subject in makes), heard.index(own), kind)
            worker.stop()

    async def test_what_a_trial_makes_lies_in_a_place_of_its_own(self) -> None:
        await self.script(dataSchema=SCHEMA)
        path = self.folder / "trial.txt"
        path.write_text(self.wants({"name": "still.jpg", "size": 9}))
        task = {
            "type": "metafleet.task.v1", "taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59", "runId": 1, "pluginId": self.plugin,
            "cid": "tried:1", "filePath": str(path), "fingerprint": "f", "deadlineMs": 20000, "trial": True,
            "retry": {"maxAttempts": 1, "delaysMs": [100]},
        }
        await self.fleet.client.jetstream().publish(Names().task("fast", self.plugin, "tried:1"), json.dumps(task).encode())
        outcome = Names().record(self.plugin, "tried:1", trial=True)

        async def settled() -> bool:
            try:
                return bool(await self.fleet.client.jetstream().get_last_msg("KV_mf-records", outcome))
            except NotFoundError:
                return False

        await until("the outcome of the trial", settled)
        self.assertEqual((await self.kept("tried:1", "still.jpg", trial=True))[0], b"x" * 9)
        self.assertTrue(Names().artifact(self.plugin, "a", "b", trial=True).endswith(f".{self.plugin}_{NEXT}.b"))
        with self.assertRaises(NotFoundError):
            await self.kept("tried:1", "still.jpg")

    async def test_what_cannot_be_kept_is_a_permanent_failure_that_says_why(self) -> None:
        for kind in KINDS:
            worker = await self.script(instance=kind, kind=kind, dataSchema=SCHEMA)
            for wanted, words in (
                ({"name": "big", "size": 5_000_000}, r"artefact `big` of 5000000 bytes is too large: .* \d+ bytes, over 4194304"),
                ({"name": "a\nb", "size": 1}, "an artefact cannot be called `a\nb`"),
                ({"name": "a", "size": 1, "type": "a\nb"}, "`a\nb` is no media type"),
            ):
                cid = await self.file(self.wants(wanted))
                record = await self.fleet.record(self.plugin, cid)
                self.assertEqual((record["status"], record["attempt"]), ("failed", 1), (kind, record))
                self.assertRegex(record["error"], words)
            worker.stop()

    @asynccontextmanager
    async def no_bucket(self) -> AsyncIterator[None]:
        """Has the stream of artefacts take nothing for a while; one that is deleted is made anew by the coordinator."""
        js = self.fleet.client.jetstream()
        bucket = (await js.stream_info(BUCKET)).config
        await js.update_stream(bucket.evolve(max_msg_size=1))
        try:
            yield
        finally:
            await js.update_stream(bucket)

    async def test_it_is_tried_until_it_is_stored(self) -> None:
        for kind in KINDS:
            worker = await self.script(instance=f"tries-{kind}", kind=kind, dataSchema=SCHEMA)
            async with self.no_bucket():
                cid = await self.file(self.wants({"name": "late", "size": 9}))
                await until("a second try", lambda worker=worker: worker.said().count("was not stored, trying again") > 1)
            record = await self.fleet.record(self.plugin, cid)
            self.assertEqual((record["status"], record["attempt"]), ("completed", 1), (kind, record))
            self.assertEqual((await self.kept(cid, "late"))[0], b"x" * 9)
            worker.stop()

    async def test_it_is_tried_no_longer_than_the_task_has_time(self) -> None:
        for kind in KINDS:
            worker = await self.script(instance=f"late-{kind}", kind=kind, dataSchema=SCHEMA, timeout=3000, retry={"maxAttempts": 1})
            async with self.no_bucket():
                cid = await self.file(self.wants({"name": "late", "size": 9}))
                record = await self.fleet.record(self.plugin, cid)
                self.assertEqual(record["error"], "timed out after 3000 ms", kind)
                if kind != "async":
                    told = lambda worker=worker: "not kept: the attempt was over before" in worker.said()  # noqa: E731
                    await until("the handler that waits for it to come back", told)
            with self.assertRaises(NotFoundError):
                await self.kept(cid, "late")
            worker.stop()

    async def test_a_thread_that_outlives_its_task_stores_nothing_for_the_next_one(self) -> None:
        for kind in ("thread", "process"):
            worker = await self.script(instance=kind, kind=kind, dataSchema=SCHEMA, concurrency=1)
            file = self.folder / f"stray-{kind}"
            first = await self.file(f"stray {file}", name=f"first-{kind}.txt")
            await self.fleet.record(self.plugin, first)
            release = self.folder / f"release-{kind}"
            second = await self.file(f"wait {release}", name=f"second-{kind}.txt")
            await until("the second task", lambda: len(self.calls()) == 1)
            file.touch()
            said = await until("what comes of it", file.read_text)
            self.assertIn("over", said, kind)
            release.touch()
            await self.fleet.record(self.plugin, second)
            for cid in (first, second):
                with self.assertRaises(NotFoundError):
                    await self.kept(cid, "stray")
            worker.stop()


if __name__ == "__main__":
    unittest.main()
