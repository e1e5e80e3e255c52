"""A whole MetaFleet worker in Python, written from broker-config/PROTOCOL.md with nothing but nats-py.

The numbers in brackets are the sections of that text. `line_counter.py` is a plugin that it serves.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import signal
import socket
import ssl
import sys
import time
from collections import Counter
from contextlib import suppress

import nats

from contract import Permanent, RetryLater, Skipped, Task, attend, check, dump, in_thread, now, seconds, short
from pulling import TROUBLE, Pulling

PATIENCE = 600  # seconds that a finished task waits for a broker that is away [10]
LOGINS = {"NATS_CREDS": "user_credentials", "NATS_NKEY": "nkeys_seed_str", "NATS_TOKEN": "token", "NATS_USER": "user"}


class Worker(Pulling):
    """Serves one plugin, an object with `manifest`, `configure(settings)` and `process(task) -> metadata`."""

    def __init__(self, plugin, environment=os.environ):
        self.plugin, self.manifest = plugin, plugin.manifest
        self.env = {name: value for name, value in environment.items() if value}
        self.id = self.manifest["id"]
        if self.env.get("METAFLEET_PLUGIN", self.id) != self.id:
            raise ValueError(f"this is the plugin {self.id}, not {self.env['METAFLEET_PLUGIN']}")
        made_up = f"{self.id}-{os.getpid()}-{random.getrandbits(32):08x}"
        self.instance = self.env.get("METAFLEET_INSTANCE", made_up)
        self.prefix = self.env.get("METAFLEET_PREFIX", "mf")
        self.route = {"route": self.env["METAFLEET_ROUTE"]} if "METAFLEET_ROUTE" in self.env else {}
        self.tasks_stream = self.prefix.upper().replace("-", "_") + "_TASKS"
        self.grace = seconds(self.env.get("METAFLEET_GRACE", "30"))
        self.started_at, self.totals, self.secret = now(), Counter(), random.SystemRandom().getrandbits(128)
        self.settings, self.error, self.paused, self.lane = None, None, False, ""
        self.lease, self.heartbeat, self.max_payload, self.places = 9.0, 5.0, 1 << 20, 1
        self.running: dict[str, Task] = {}  # by subject
        self.prepare()
        self.draining, self.changed = asyncio.Event(), asyncio.Event()
        self.nc, self.rejected, self.pings = None, None, set()

    async def run(self) -> int:
        """Serves until it is told to stop; returns the exit code [2]."""
        self.loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.told_to_stop)
        self.nc = await nats.connect(**self.connect_options())
        await self.open_inbox()
        for subject in (f"{self.prefix}.control.{self.id}", f"{self.prefix}.control.{self.id}.{self.instance}"):
            await self.nc.subscribe(subject, cb=self.on_control)
        presence = self.loop.create_task(self.show_signs_of_life())
        await self.announce()
        await self.pull_tasks()
        await self.finish()
        presence.cancel()
        await self.nc.publish(self.life_subject(), b"", headers={"KV-Operation": "DEL"})
        await self.nc.flush()
        if self.rejected:
            log(f"the coordinator does not accept the plugin: {self.rejected}")
        return 5 if self.rejected else 0

    def password(self) -> str:  # [2]
        path = self.env.get("NATS_PASSWORD_FILE")
        if "NATS_PASSWORD" in self.env or not path:
            return self.env.get("NATS_PASSWORD", "")
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")

    def connect_options(self) -> dict:  # [2]
        options = {"password": self.password()} if "NATS_USER" in self.env else {}
        for name, option in LOGINS.items():
            if name in self.env:
                options[option] = self.env[name]
                break
        if "NATS_CA" in self.env or "NATS_CERT" in self.env:
            options["tls"] = ssl.create_default_context(cafile=self.env.get("NATS_CA"))
            if "NATS_CERT" in self.env:
                options["tls"].load_cert_chain(self.env["NATS_CERT"], self.env["NATS_KEY"])
        servers = self.env.get("NATS_URL", "nats://127.0.0.1:4222").split(",")
        again = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.25, "reconnected_cb": self.announce}
        return {"servers": servers, "name": self.instance, "error_cb": self.on_error, **again, **options}

    async def on_error(self, error):
        log(f"broker: {error!r}")
        if self.nc is None and "authorization" in str(error).lower():
            os._exit(4)

    def told_to_stop(self):
        if self.nc is None or self.draining.is_set():
            os._exit(130 if self.draining.is_set() else 0)
        self.drain()

    def drain(self):
        self.draining.set()
        self.changed.set()

    # Announcement, settings, control [4, 5, 15] --------------------------------------------------

    async def announce(self):
        request = {
            "type": "metafleet.announce.v1", "instance": self.instance, "manifest": self.manifest,
            "host": socket.gethostname(), "pid": os.getpid(), "sdk": "python, from PROTOCOL.md", "lanes": True, **self.route,
        }
        for pause in itertools.chain((0.1, 0.2, 0.5, 1), itertools.repeat(2)):
            if self.draining.is_set():
                return
            with suppress(*TROUBLE):
                answer = await self.nc.request(f"{self.prefix}.signal.{self.id}.announce", dump(request), timeout=5)
                return self.on_accepted(json.loads(answer.data))
            await asyncio.sleep(pause)  # nobody leads at the moment

    def on_accepted(self, answer: dict):
        if answer["status"] == "rejected":
            self.rejected = "; ".join(answer["reasons"])
            return self.drain()
        self.lease, self.heartbeat = answer["leaseMs"] / 1000, answer["heartbeatMs"] / 1000
        self.max_payload, self.paused = answer["maxPayload"], answer.get("paused", False)
        self.lane = "" if (lane := answer.get("lane", "main")) == "main" else f"_{lane}"
        self.paused |= lane != self.route.get("route", lane)  # it was not started for other tasks
        wanted = self.env.get("METAFLEET_CONCURRENCY") or answer.get("concurrency") or self.manifest.get("concurrency")
        self.places = int(wanted or os.cpu_count() or 1)
        if answer["settings"] != self.settings:
            self.configure(answer["settings"])
        self.changed.set()

    def configure(self, settings: dict):
        self.settings = settings
        try:
            self.plugin.configure(settings)
            self.error = None
        except Exception as error:
            self.error = short(f"{error}")

    async def on_control(self, message):
        reply = {"success": True, "instance": self.instance}
        try:
            request = json.loads(message.data)
            action = request["action"]
            if action in ("pause", "resume"):
                self.paused = action == "pause"
            elif action == "drain":
                self.drain()
            elif action == "configure":
                self.configure(request["settings"])
                if self.error:
                    raise ValueError(self.error)
            elif action == "announce":
                self.loop.create_task(self.announce())
            elif action != "ping":
                raise ValueError(f"unknown action {action}")
        except Exception as error:
            reply.update(success=False, error=short(f"{error}"))
        self.changed.set()
        if message.reply:
            await self.nc.publish(message.reply, dump(reply))

    # Signs of life [6] ---------------------------------------------------------------------------

    def life_subject(self) -> str:
        return f"$KV.{self.prefix}-instances.{self.id}.{self.instance}"

    def state(self) -> str:
        if self.draining.is_set():
            return "draining"
        if self.settings is None:
            return "starting"
        return "failed" if self.error else "paused" if self.paused else "ready"

    async def show_signs_of_life(self):
        while True:
            self.changed.clear()
            listed = sorted(self.running.values(), key=lambda task: task.began)[:16]
            entry = {
                "type": "metafleet.instance.v1", "pluginId": self.id, "instance": self.instance,
                "state": self.state(), "version": self.manifest["version"], "host": socket.gethostname(),
                "pid": os.getpid(), "startedAt": self.started_at, "at": now(), "concurrency": self.places, **self.route,
                "running": [{"taskId": t.body["taskId"], "cid": t.cid, "forMs": t.took_ms} for t in listed],
                "totals": dict(self.totals), **({"error": self.error} if self.error else {}),
            }
            with suppress(*TROUBLE):
                await self.nc.publish(self.life_subject(), dump(entry))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.changed.wait(), self.heartbeat)

    # One task, from its delivery to its answer [8, 10] --------------------------------------------

    async def serve(self, task: Task):
        self.running[task.subject] = task
        renewal, placed = self.loop.create_task(self.renew(task)), False
        try:
            task.keep_until = time.monotonic() + 2 * self.lease
            if not await self.has_place(task):
                return await self.give_back(task)
            task.began = task.got_on = time.monotonic()
            placed, self.at_work = True, self.at_work + 1
            self.totals["started"] += 1
            settle = await self.attempt(task)
            self.totals["busyMs"] += task.took_ms
            task.keep_until = time.monotonic() + PATIENCE
            await settle
        except asyncio.CancelledError:  # the grace period is over
            task.cancelled.set()
            await self.give_back(task)
        except Exception as why:
            log(f"could not settle {task.cid}, leaving it to its lease: {why!r}")
        finally:
            renewal.cancel()
            self.at_work -= placed
            if self.running.get(task.subject) is task:
                del self.running[task.subject]

    async def renew(self, task: Task):
        while True:
            await asyncio.sleep(self.lease / 4)
            if (sent := time.monotonic()) > task.keep_until:
                return
            await self.answer(task, "+WPI")
            self.pings.add(ping := self.loop.create_task(self.make_sure(task, sent)))
            ping.add_done_callback(self.pings.discard)

    async def make_sure(self, task: Task, sent: float):
        """The broker has heard of a renewal once it answers a ping behind it; in time, the lease is surely ours."""
        connection = self.nc.stats["reconnects"]
        await self.ping()
        if time.monotonic() < task.sure and connection == self.nc.stats["reconnects"]:
            task.sure = max(task.sure, sent + task.surely)

    async def again(self, task: Task, delay_ms: int):
        """`-NAK`, unless it would be late: it would end the delivery of whoever has the task by now [8]."""
        task.keep_until = 0  # no renewal may follow
        if self.nc.is_connected and time.monotonic() < task.sure:
            return await self.answer(task, "-NAK " + json.dumps({"delay": delay_ms * 1_000_000}))
        log(f"somebody else may have {task.cid} by now, leaving it to its lease")

    async def attempt(self, task: Task):
        """Runs the plugin; returns what is to be done about what it says."""
        if task.body.get("pluginVersion", self.manifest["version"]) != self.manifest["version"]:
            return self.leave_to_other(task)
        limit = (task.body["deadlineMs"] or self.manifest.get("timeout", 30_000)) / 1000
        task.keep_until = task.began + limit + 2  # a handler that hangs loses its task [8]
        try:
            meta = await attend(task, self.manifest, in_thread(task.work, self.plugin.process), limit)
            check(self.manifest, meta)
            return self.record(task, "completed", meta=meta)
        except Skipped as why:
            return self.record(task, "skipped", reason=short(f"{why}"))
        except RetryLater as why:
            return self.defer(task, f"{why}", why.delay_ms, used=task.attempt - 1)
        except Permanent as why:
            return self.fail(task, f"{why}", permanent=True)
        except asyncio.TimeoutError:
            task.cancelled.set()
            return self.fail(task, f"timed out after {round(limit * 1000)} ms")
        except Exception as why:
            return self.fail(task, f"{type(why).__name__}: {why}")

    async def record(self, task: Task, status: str, **more):  # [11]
        body = {
            "type": "metafleet.record.v1", "taskId": task.body["taskId"], "pluginId": self.id, "cid": task.cid,
            "status": status, "durationMs": task.took_ms, "attempt": task.attempt,
            "pluginVersion": self.manifest["version"], "fingerprint": task.body["fingerprint"],
            "finishedAt": now(), "instance": self.instance, **more,
        }
        size = len(dump(body)) + 1024
        if size > self.max_payload:
            return await self.fail(task, f"the record has {size} bytes, over {self.max_payload}", permanent=True)
        fence = {"Nats-Expected-Last-Subject-Sequence": str(task.body.get("recordRevision", 0))}
        key = f"{task.token}.{self.id}{'_next' if task.body.get('trial') else ''}"
        first = await self.store(f"$KV.{self.prefix}-records.{key}", body, fence, task)
        self.totals[status if first else "superseded"] += 1
        await self.answer(task, "+ACK")

    async def fail(self, task: Task, error: str, permanent: bool = False):  # [10, 12]
        retry, said = task.body["retry"], {"error": short(error), "durationMs": task.took_ms}
        if permanent or task.attempt >= retry["maxAttempts"]:
            self.totals["failed"] += 1
            await self.signal(task, "failed", permanent=permanent, task=task.body, **said)
            return await self.answer(task, "+TERM " + re.sub(r"[\x00-\x1f\x7f]", " ", error)[:60])
        delays = retry["delaysMs"] or [1000]
        delay = max(1, delays[min(task.attempt, len(delays)) - 1])
        self.totals["retried"] += 1
        if delay > 60_000:
            return await self.defer(task, error, delay, used=task.attempt)
        await self.signal(task, "retrying", delayMs=delay, **said)
        await self.again(task, delay)

    async def defer(self, task: Task, reason: str, delay_ms: int, used: int):  # [12, 13]
        self.totals["deferred"] += 1
        what = {"reason": short(reason), "delayMs": max(1, delay_ms), "attemptsUsed": used, "task": task.body}
        await self.signal(task, "deferred", **what)
        await self.answer(task, "+ACK")

    async def give_back(self, task: Task):  # [14]
        if task.attempt >= task.body["retry"]["maxAttempts"]:
            return await self.defer(task, "the worker was stopped", 100, used=task.attempt - 1)
        await self.again(task, 100)

    async def leave_to_other(self, task: Task):  # [10]
        last = task.attempt >= task.body["retry"]["maxAttempts"]
        await (self.answer(task, "+ACK") if last else self.again(task, 1000))

    async def finish(self):  # [14]
        if self.handlers:
            _, late = await asyncio.wait(self.handlers, timeout=self.grace)
            for handler in late:
                handler.cancel()  # `serve` gives its task back
            if late:
                await asyncio.wait(late, timeout=5)

    # Publishing ------------------------------------------------------------------------------------

    async def answer(self, task: Task, answer: str):
        with suppress(*TROUBLE):
            await self.nc.publish(task.reply, answer.encode())

    async def signal(self, task: Task, kind: str, /, **what):
        body = {
            "type": "metafleet.signal.v1", "kind": kind, "taskId": task.body["taskId"], "cid": task.cid,
            "queue": task.queue, "attempt": task.attempt, "instance": self.instance, "at": now(), **what,
        }
        if len(dump(body)) + 1024 > self.max_payload and "task" in body:
            body["task"] = {**task.body, "existingMeta": {}}
        subject = f"{self.prefix}.signal.{self.id}.{kind}"
        if kind == "progress":
            return await self.nc.publish(subject, dump(body))
        await self.store(subject, body, {"Nats-Msg-Id": f"{kind}.{task.sequence}.{task.attempt}.{self.secret:x}"}, task)

    def report(self, task: Task, fraction: float, note: str):
        signal = self.signal(task, "progress", fraction=fraction, note=short(note))
        asyncio.run_coroutine_threadsafe(signal, self.loop)

    async def store(self, subject: str, body: dict, headers: dict, task: Task) -> bool:
        """Publishes until the stream has it; False if somebody else has written this record [11, 24]."""
        headers.update({name: task.headers[name] for name in ("traceparent", "tracestate") if name in task.headers})
        end = time.monotonic() + PATIENCE
        for pause in itertools.chain((0.2, 0.5, 1, 2), itertools.repeat(5)):
            with suppress(*TROUBLE):
                answer = await self.nc.request(subject, dump(body), timeout=5, headers=headers)
                error = json.loads(answer.data).get("error")
                if not error or error.get("err_code") == 10071:
                    return not error
                log(f"{subject}: {error}")
            if time.monotonic() > end:
                raise TimeoutError(subject)
            await asyncio.sleep(pause)


def log(text: str):
    print(text, file=sys.stderr, flush=True)


def serve(plugin, worker=Worker):
    """What a plugin's program does: serves, and ends with the exit code of [2]."""

    async def main():
        return await worker(plugin).run()

    os._exit(asyncio.run(main()))  # a handler that hangs must not keep the process
