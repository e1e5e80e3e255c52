"""The bench for the tests of plugins; by it also what runners do without a fleet."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from metafleet import (
    AsyncContext, Completed, Context, Forward, Outcome, PermanentError, Plugin, RetryableError, RetryLater, Settings, Skipped,
)
from metafleet.manifest import InvalidManifest, load
from metafleet.testing import Bench

MANIFEST: dict[str, Any] = {
    "id": "lines", "name": "Lines", "version": "1.0.0", "priority": 50, "queue": "fast", "timeout": 500, "reads": ["file/*"],
    "dataSchema": {"text/lines": {}, "text/seen": {"type": "json"}, "text/kept": {"type": "json"}}, "configSchema": {"mode": {"default": "good"}},
}


class Lines(Plugin):
    manifest = MANIFEST

    def configure(self, settings: Settings) -> None:
        if settings["mode"] == "bad":
            raise ValueError("mode bad is not served")

    def process(self, ctx: Context) -> Outcome:
        with ctx.open() as file:
            text = file.read().decode()
        ctx.progress(0.5, "read")
        verb, _, rest = text.partition(" ")
        if verb == "hang":
            time.sleep(2)
        if verb == "wait":
            ctx.wait_cancelled(2)
        if verb == "nothing":
            return None  # type: ignore[return-value]
        if verb == "exit":
            sys.exit(rest)
        if verb == "submit":
            ctx.submit(ctx.path)
        if verb == "keep":
            return {"text/kept": ctx.put_artifact(rest, "text/plain", bytearray(b"hello"))}
        outcomes: dict[str, Outcome] = {
            "skip": Skipped(rest), "later": RetryLater(1.5, rest), "forward": Forward.plugin("other"), "key": {"other": "x"},
        }
        return outcomes.get(verb) or Completed({"text/lines": text.count("\n"), "text/seen": dict(ctx.existing)})


class AsyncLines(Lines):
    async def process(self, ctx: AsyncContext) -> Outcome:
        if ctx.file.size == 4:
            await asyncio.sleep(5)
        if ctx.file.size == 7:
            return {"text/kept": await ctx.put_artifact("still.jpg", "text/plain", memoryview(b"hello"))}
        async with ctx.open() as file:
            return {"text/lines": len((await file.read()).splitlines())}


class ProcessLines(Lines):
    executor = "process"

    def process(self, ctx: Context) -> Outcome:
        return {"text/lines": os.getpid(), "text/kept": ctx.put_artifact("still.jpg", "text/plain", b"hello")}


class OnBench(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "file.txt")
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def run_on(self, text: str, plugin: type[Plugin] = Lines, **more: Any) -> Any:
        self.path.write_text(text)
        return Bench(plugin, **more).run(self.path)

    def test_a_plugin_sees_the_file_and_what_it_reads(self) -> None:
        (self.path.parent / "file.nfo").write_text("x")
        report = self.run_on("a\nb\n", existing={"title": "Faust"})
        self.assertIsNone(report.error)
        self.assertEqual(report.meta["text/lines"], "2")
        seen = report.meta["text/seen"]
        self.assertEqual((seen["title"], seen["file/name"], seen["file/size"]), ("Faust", "file.txt", "4"))
        self.assertEqual(seen["file/sidecars"][0]["name"], "file.nfo")
        self.assertEqual(report.progress, ((0.5, "read"),))

    def test_outcomes_are_told(self) -> None:
        self.assertEqual(self.run_on("skip it").said, Skipped("it"))
        self.assertEqual(self.run_on("later busy").said.after_ms, 1500)
        self.assertEqual(self.run_on("forward").said.to_plugin, "other")
        self.assertEqual(self.run_on("submit").submitted, (self.path,))

    def test_artefacts_are_shown(self) -> None:
        for plugin, text in ((Lines, "keep still.jpg"), (AsyncLines, "x keeps"), (ProcessLines, "")):
            report = self.run_on(text, plugin)
            self.assertIsNone(report.error, plugin)
            [(artifact, data)] = report.artifacts
            self.assertEqual((artifact["artifact"], artifact["mediaType"], data), ("still.jpg", "text/plain", b"hello"))
            self.assertEqual(report.meta["text/kept"], artifact)
        refused = self.run_on("keep a\0b")
        self.assertIs(type(refused.said), PermanentError)
        self.assertEqual(refused.artifacts, ())

    def test_failures_are_told_as_a_worker_tells_them(self) -> None:
        for text, kind, words in (
            ("key", PermanentError, "`other` is not in the dataSchema"), ("nothing", PermanentError, "returned NoneType"),
            ("exit 3", RetryableError, "SystemExit: 3"), ("hang", RetryableError, "timed out after 500 ms"),
            ("wait", RetryableError, "timed out after 500 ms"),
        ):
            report = self.run_on(text)
            self.assertIs(type(report.said), kind, text)
            self.assertIn(words, report.error)
        self.assertIn("could not open", Bench(Lines()).run(self.path.with_name("gone")).error or "")
        self.assertEqual(self.run_on("", settings={"mode": "bad"}).error, "mode bad is not served")
        self.assertIn("other: is not a setting", self.run_on("", settings={"other": "x"}).error)

    def test_async_handlers_and_processes_run_too(self) -> None:
        self.assertEqual(self.run_on("a\nb\nc", AsyncLines).meta, {"text/lines": "3"})
        self.assertEqual(self.run_on("hang", AsyncLines).error, "timed out after 500 ms")
        self.assertNotIn(self.run_on("", ProcessLines).meta.get("text/lines"), (None, str(os.getpid())))

    def test_manifests_are_found_and_checked(self) -> None:
        self.assertEqual(load({"id": "x", "version": "1.0.0", "$schema": "s"}, Lines), {"id": "x", "version": "1.0.0"})
        manifest = self.path.with_name("manifest.json")
        manifest.write_text('{"id": "y", "version": "1.0.0"}')
        self.assertEqual(load(manifest, Lines)["id"], "y")
        for wrong, words in (({"id": "x"}, "version"), ({"id": "X", "version": "1"}, "`X`"), (5, "mapping"), ("/none", "/none")):
            with self.assertRaisesRegex(InvalidManifest, words):
                load(wrong, Lines)
        with self.assertRaisesRegex(InvalidManifest, "manifest.json"):
            load(None, Lines)


if __name__ == "__main__":
    unittest.main()
