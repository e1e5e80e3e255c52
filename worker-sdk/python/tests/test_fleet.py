"""Workers against a real coordinator and broker: what follows from what a handler says, and what outlives what."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import unittest
from pathlib import Path

from metafleet.names import Names

from .fleet import EXAMPLES, fleet, free_port, program, until
from .on_fleet import MANIFEST, OnFleet, setUpModule, tearDownModule

__all__ = ["setUpModule", "tearDownModule"]

class Outcomes(OnFleet):
    async def test_what_follows_from_what_a_handler_says(self) -> None:
        await self.script()
        record = lambda cid: self.fleet.record(self.plugin, cid)  # noqa: E731
        completed = await record(await self.file('complete {"script/set": ["b", "a"], "script/text/0/é": "日本 😀"}'))
        self.assertEqual(completed["status"], "completed", completed)
        self.assertEqual(completed["meta"]["script/text/0/é"], "日本 😀")
        self.assertEqual(completed["meta"]["script/set"], ["a", "b"])
        skipped = await record(await self.file("skip nothing to see"))
        self.assertEqual((skipped["status"], skipped["reason"]), ("skipped", "nothing to see"))
        again = await record(await self.file("retry busy\ncomplete"))
        self.assertEqual((again["status"], again["attempt"]), ("completed", 2))
        crashed = await record(await self.file("crash oops"))
        self.assertEqual((crashed["status"], crashed["error"]), ("failed", "LookupError: oops"))
        self.assertEqual(len(self.calls()), 3)
        permanent = await record(await self.file("fail no such format"))
        self.assertEqual((permanent["error"], len(self.calls())), ("no such format", 1))
        wrong = await record(await self.file('complete {"other": "x"}'))
        self.assertIn("`other` is not in the dataSchema", wrong["error"])
        long = await record(await self.file("error 9000"))
        self.assertLessEqual(len(long["error"].encode()), 4096)
        self.assertTrue(long["error"].endswith("é…"))
        too_large = await record(await self.file("large 5000000"))
        self.assertIn("bytes, over 4194304", too_large["error"])
        later = await record(await self.file("later 200\ncomplete"))
        self.assertEqual((later["status"], later["attempt"]), ("completed", 1))
        self.assertGreaterEqual(int(self.calls()[1][2]) - int(self.calls()[0][2]), 200)
        entry = await self.fleet.instance(self.plugin, "c-1", lambda entry: entry["totals"]["deferred"] == 1)
        self.assertEqual((entry["totals"]["skipped"], entry["state"]), (1, "ready"))

    async def test_a_handler_logs_with_the_ids_of_its_task(self) -> None:
        worker = await self.script(instance="logs", settings={"METAFLEET_LOG_FORMAT": "json", "METAFLEET_LOG": "info"})
        record = await self.fleet.record(self.plugin, await self.file("complete"))
        lines = [json.loads(line) for line in worker.said().splitlines()]
        [line] = [line for line in lines if line["message"] == "complete"]
        ids = {"plugin": self.plugin, "instance": "logs", "task": record["taskId"], "cid": record["cid"]}
        self.assertEqual({name: line.get(name) for name in ids}, ids)
        self.assertEqual((line["level"], line["target"]), ("INFO", f"metafleet.plugin.{self.plugin}"))

    async def test_files_are_handed_in_and_forwarded(self) -> None:
        await self.script()
        made, other = self.folder / "made é.txt", self.folder / "other.txt"
        made.write_text("complete")
        other.write_text("skip this one")
        await self.file(f"submit {made}", name="submit.txt")
        hello = "bagacbabaeddealivdfucjicjvwd4g4nfar5gonjvykwimb7cx6sih52zdtbhu"
        (self.folder / "hello").write_text("hello")
        await self.file(f"submit {self.folder / 'hello'}", name="again.txt")
        self.assertEqual((await self.fleet.record(self.plugin, hello))["status"], "failed")
        await until("the file that was made", lambda: len(self.calls(made)) == 1)
        forwarded = await self.fleet.record(self.plugin, await self.file(f"forward {other}"))
        self.assertEqual((forwarded["status"], forwarded["reason"]), ("skipped", f"forwarded to {other}"))
        await until("the file that was forwarded to", lambda: len(self.calls(other)) == 1)

    async def test_odd_paths_unknown_fields_and_traces_survive(self) -> None:
        await self.script()
        odd = os.fsencode(self.folder) + b"/caf\xe9 \xff.txt"
        Path(os.fsdecode(odd)).write_text("read")
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
        record, headers = await self.fleet.record_message(self.plugin, await self.hand_in(odd, headers=trace, noSuchField=1))
        self.assertEqual(record["status"], "completed", record)
        self.assertEqual(record["meta"]["script/text/0/size"], "4")
        self.assertTrue(Path(os.fsdecode(odd + b".calls")).exists())
        self.assertEqual({name: headers.get(name) for name in trace}, trace)
        missing = os.fsencode(self.folder) + b"/gone\xff.txt"
        gone = await self.fleet.record(self.plugin, await self.hand_in(missing))
        self.assertIn("could not open", gone["error"])

    async def test_a_task_that_cannot_be_read_fails_permanently(self) -> None:
        await self.script()
        await self.fleet.client.jetstream().publish(Names().task("fast", self.plugin, "a.b c"), b"{no json")
        await self.fleet.instance(self.plugin, "c-1", lambda entry: entry["totals"]["failed"] == 1)
        dead = await self.fleet.client.jetstream().get_last_msg("MF_SIGNALS", f"mf.signal.{self.plugin}.failed")
        said = json.loads(dead.data or b"")
        self.assertEqual((said["cid"], said["permanent"]), ("a.b c", True))

    async def test_processes_do_the_same_and_are_killed_at_their_deadline(self) -> None:
        await self.script(kind="process", timeout=1500, retry={"maxAttempts": 1})
        done = await self.fleet.record(self.plugin, await self.file("complete"))
        self.assertEqual(done["status"], "completed")
        made = self.folder / "made.txt"
        made.write_text("skip this")
        submitted = await self.fleet.record(self.plugin, await self.file(f"submit {made}"))
        self.assertEqual(submitted["status"], "completed")
        await until("the file that was made", lambda: len(self.calls(made)) == 1)
        ended = await self.fleet.record(self.plugin, await self.file("exit 3"))
        self.assertEqual(ended["error"], "the process of the handler ended with exit code 3")
        crashed = await self.fleet.record(self.plugin, await self.file("crash oops"))
        self.assertEqual(crashed["error"], "LookupError: oops")
        hung = await self.fleet.record(self.plugin, await self.file(f"block {self.folder / 'never'}"))
        self.assertEqual(hung["error"], "timed out after 1500 ms")
        await until("its process is killed", lambda: "its process is killed" in self.said("c-1"))
        self.assertEqual((await self.fleet.record(self.plugin, await self.file("complete")))["status"], "completed")

    def said(self, instance: str) -> str:
        return (self.fleet.folder / f"{instance}.log").read_text()


class Lives(OnFleet):
    async def test_a_handler_that_blocks_its_loop_keeps_its_lease_until_the_deadline(self) -> None:
        release = self.folder / "release"
        worker = await self.script("c-1", "async", timeout=60000, concurrency=1)
        blocked = await self.file(f"block {release}", name="blocked.txt")
        await until("the call", lambda: len(self.calls()) == 1)
        path = self.path
        await self.script("c-2", "async", timeout=60000, concurrency=1)
        # Over the lease of 8 s, while the loop of the handlers is blocked; the other one would get the task.
        began = asyncio.get_running_loop().time()
        entry = await self.fleet.instance(
            self.plugin, "c-1", lambda entry: entry["running"] and entry["running"][0]["forMs"] > 10_000
        )
        self.assertGreater(asyncio.get_running_loop().time() - began, 5, entry)
        answer = await self.fleet.tell(self.plugin, "c-1", action="ping")
        self.assertTrue(answer["success"])
        release.touch()
        self.assertEqual((await self.fleet.record(self.plugin, blocked))["attempt"], 1)
        self.assertEqual([call[0] for call in self.calls(path)], ["c-1"])
        worker.signal(signal.SIGTERM)
        self.assertEqual(await worker.ends(), 0)

    async def test_a_deadline_ends_attempts_also_when_the_handler_does_not_heed_it(self) -> None:
        never = self.folder / "never"
        worker = await self.script(timeout=800, retry={"maxAttempts": 2, "delaysMs": [50]})
        record = await self.fleet.record(self.plugin, await self.file(f"block {never}"))
        self.assertEqual((record["error"], len(self.calls())), ("timed out after 800 ms", 2))
        worker.signal(signal.SIGTERM)
        self.assertEqual(await worker.ends(), 0, "handlers that hang do not keep the process")

    async def test_an_async_handler_is_cancelled_at_its_deadline_and_without_progress(self) -> None:
        await self.script(kind="async", timeout=30000, progressTimeout=500, retry={"maxAttempts": 1})
        record = await self.fleet.record(self.plugin, await self.file("sleep"))
        self.assertEqual(record["error"], "timed out: no progress for 500 ms")

    async def test_a_drain_finishes_what_runs_and_gives_back_the_rest(self) -> None:
        release = self.folder / "release"
        worker = await self.script(settings={"METAFLEET_GRACE": "20"})
        running = await self.file(f"wait {release}")
        await until("the call", lambda: len(self.calls()) == 1)
        worker.signal(signal.SIGTERM)
        await self.fleet.instance(self.plugin, "c-1", lambda entry: entry["state"] == "draining")
        release.touch()
        self.assertEqual(await worker.ends(), 0)
        self.assertEqual((await self.fleet.record(self.plugin, running))["attempt"], 1)
        short = await self.script("c-2", settings={"METAFLEET_GRACE": "200ms"})
        given_back = await self.file(f"wait {self.folder / 'later'}")
        await until("the call", lambda: len(self.calls()) == 1)
        short.signal(signal.SIGINT)
        self.assertEqual(await short.ends(), 0)
        (self.folder / "later").touch()
        await self.script("c-3")
        self.assertEqual((await self.fleet.record(self.plugin, given_back))["attempt"], 2)

    async def test_a_second_signal_ends_it_at_once(self) -> None:
        worker = await self.script(settings={"METAFLEET_GRACE": "60"})
        await self.file(f"block {self.folder / 'never'}")
        await until("the call", lambda: len(self.calls()) == 1)
        worker.signal(signal.SIGTERM)
        await self.fleet.instance(self.plugin, "c-1", lambda entry: entry["state"] == "draining")
        worker.signal(signal.SIGTERM)
        self.assertEqual(await worker.ends(), 130)

    async def test_a_handler_that_blocks_its_loop_does_not_keep_the_process(self) -> None:
        worker = await self.script(kind="async", timeout=60000, settings={"METAFLEET_GRACE": "200ms"})
        cid = await self.file(f"block {self.folder / 'release'}")
        await until("the call", lambda: len(self.calls()) == 1)
        worker.signal(signal.SIGTERM)
        self.assertEqual(await worker.ends(), 0)
        (self.folder / "release").touch()
        await self.script("c-2", "async")
        self.assertEqual((await self.fleet.record(self.plugin, cid))["attempt"], 2)

    async def test_who_is_not_let_in_ends_with_the_code_that_says_so(self) -> None:
        port = free_port()
        broker = self.fleet.start("closed", [program("NATS_SERVER_BIN"), "-a", "127.0.0.1", "-p", str(port), "--auth", "open sesame"], {})
        await until("the broker", lambda: "Server is ready" in broker.said())
        manifest = self.folder / "manifest.json"
        manifest.write_text(json.dumps(MANIFEST))
        secret = self.folder / "token"
        secret.write_text("wrong\n")
        worker = self.fleet.plugin("scripted.py", str(manifest), NATS_URL=f"nats://127.0.0.1:{port}", NATS_TOKEN_FILE=str(secret))
        self.assertEqual(await worker.ends(), 4)
        self.assertIn("does not accept the credentials", worker.said())
        secret.write_text("open sesame\n")
        settings = {"NATS_URL": f"nats://127.0.0.1:{port}", "NATS_TOKEN_FILE": str(secret), "METAFLEET_INSTANCE": "let-in"}
        let_in = self.fleet.plugin("scripted.py", str(manifest), **settings)
        await until("an announcement that nobody answers", lambda: "announcing again" in let_in.said())
        let_in.signal(signal.SIGTERM)
        self.assertEqual(await let_in.ends(), 0)

    async def test_what_a_killed_worker_held_is_taken_over(self) -> None:
        worker = await self.script("c-1")
        release = self.folder / "release"
        cid = await self.file(f"wait {release}")
        await until("the call", lambda: len(self.calls()) == 1)
        worker.signal(signal.SIGKILL)
        release.touch()
        await self.script("c-2")
        self.assertEqual((await self.fleet.record(self.plugin, cid))["instance"], "c-2")

    async def test_it_goes_on_after_the_broker_was_killed(self) -> None:
        own = fleet()
        await self.use(own.__enter__())
        self.addCleanup(own.__exit__, None, None, None)
        await self.script()
        release = self.folder / "release"
        held = await self.file(f"wait {release}")
        await until("the call", lambda: len(self.calls()) == 1)
        self.fleet.broker.signal(signal.SIGKILL)
        await self.fleet.broker.ends()
        release.touch()
        self.fleet.start_broker()
        self.assertEqual((await self.fleet.record(self.plugin, held))["status"], "completed")
        self.assertEqual(len(self.calls()), 1, "it is not run a second time")
        await until("our connection", lambda: self.fleet.client.is_connected)
        self.assertEqual((await self.fleet.record(self.plugin, await self.file("complete")))["status"], "completed")

    async def test_it_obeys(self) -> None:
        worker = await self.script()
        tell = lambda **request: self.fleet.tell(self.plugin, "c-1", **request)  # noqa: E731
        self.assertTrue((await tell(action="pause"))["success"])
        await self.fleet.instance(self.plugin, "c-1", lambda entry: entry["state"] == "paused")
        waits = await self.file("complete")
        consumer = lambda: self.fleet.client.jetstream().consumer_info("MF_TASKS", f"{self.plugin}_fast")  # noqa: E731

        async def is_there() -> bool:
            return (await consumer()).num_pending == 1

        await until("the task", is_there)
        self.assertEqual(self.calls(), [])
        self.assertTrue((await tell(action="resume"))["success"])
        await self.fleet.record(self.plugin, waits)
        bad = await tell(action="configure", settings={"mode": "bad"})
        self.assertEqual((bad["success"], bad["error"]), (False, "mode bad is not served"))
        entry = await self.fleet.instance(self.plugin, "c-1", lambda entry: entry["state"] == "failed")
        self.assertEqual(entry["error"], "mode bad is not served")
        self.assertTrue((await tell(action="configure", settings={"mode": "good"}))["success"])
        await self.fleet.ready(self.plugin, "c-1")
        self.assertFalse((await tell(action="dance"))["success"])
        self.assertTrue((await tell(action="announce"))["success"])
        self.assertTrue((await tell(action="drain"))["success"])
        self.assertEqual(await worker.ends(), 0)

    async def test_who_is_not_wanted_ends_with_the_code_that_says_so(self) -> None:
        manifest = self.folder / "manifest.json"
        manifest.write_text(json.dumps({**MANIFEST, "priority": 5}))
        rejected = self.fleet.plugin("scripted.py", str(manifest))
        self.assertEqual(await rejected.ends(), 5)
        self.assertIn("priority: 5", rejected.said())
        other = self.fleet.plugin("scripted.py", str(manifest), METAFLEET_PLUGIN="other", METAFLEET_INSTANCE="b")
        self.assertEqual(await other.ends(), 2)
        wrong = self.fleet.plugin("scripted.py", str(manifest), METAFLEET_PATHS="no pair", METAFLEET_INSTANCE="c")
        self.assertEqual(await wrong.ends(), 2)
        self.assertIn("METAFLEET_PATHS", wrong.said())

    async def test_the_plugin_of_the_readme_counts_lines(self) -> None:
        readme = (EXAMPLES.parent / "README.md").read_text()
        program = readme.split("```python\n")[1].split("```")[0]
        self.assertEqual(program, (EXAMPLES / "line_counter.py").read_text())
        self.plugin = "line-counter"
        self.fleet.plugin("line_counter.py", folder=EXAMPLES, METAFLEET_INSTANCE="l-1")
        await self.fleet.ready("line-counter", "l-1")
        record = await self.fleet.record("line-counter", await self.file("one\ntwo\n"))
        self.assertEqual(record["meta"], {"text/lines": "2"})
        empty = await self.fleet.record("line-counter", await self.file("", name="empty.txt"))
        self.assertEqual(empty["reason"], "the file is empty")


if __name__ == "__main__":
    unittest.main()
