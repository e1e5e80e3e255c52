#!/usr/bin/env python3
"""Measures how many tasks a second a plugin that does nothing gets done with each SDK, beside the raw ceiling.

    throughput.py --metafleet PROGRAM [--tasks N] [--rounds N] [--only NAME..] [--output json]

The raw ceiling is a program of some 60 lines with the same language's NATS client and no SDK: it pulls, puts a record with
its fence, waits until that is stored, and acknowledges. Both find the same tasks waiting in a fresh nats-server on this machine;
what counts is the time from the first record to the last, as the broker has stamped them, so that no start-up is in it. There
is no coordinator: this program answers the announcement. Rounds alternate, medians count. Needs nats-py, NATS_SERVER_BIN, and
what the programs of the table are run with.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nats

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "worker-sdk"
PLUGIN = "noop"
LIMIT = 300  # seconds for anything


@dataclass(frozen=True)
class Row:
    """A worker, and the program that shows what its client can do."""

    name: str
    worker: list[str]
    raw: list[str] | None


def rows() -> list[Row]:
    rust, go = ROOT / "target/release/examples", ROOT / "target/sdk-go"
    python, typescript = SDK / "python/examples", SDK / "typescript/dist/examples"
    shim = [str(ROOT / "target/release/metafleet-shim"), "--manifest", str(ROOT / "tests/throughput/noop.json")]
    return [
        Row("Rust", [str(rust / "noop")], [str(rust / "raw_ceiling")]),
        Row("Go", [str(go / "noop")], [str(go / "rawceiling")]),
        Row("TypeScript", ["node", str(typescript / "noop.js")], ["node", str(typescript / "raw_ceiling.js")]),
        Row("Python", [sys.executable, str(python / "noop.py")], [sys.executable, str(python / "raw_ceiling.py")]),
        Row("shim, a process for each task", [*shim, "--", "true"], None),
        Row("shim, persistent (sh)", [*shim, "--persistent", "--", "sh", str(ROOT / "tests/throughput/noop.sh")], None),
    ]


class Broker:
    """A nats-server of its own, with the streams of a fleet."""

    def __init__(self, metafleet: str) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="metafleet-throughput-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"nats://127.0.0.1:{port}"
        server = [os.environ["NATS_SERVER_BIN"], "-js", "-sd", self.folder.name, "-a", "127.0.0.1", "-p", str(port)]
        self.log = open(Path(self.folder.name) / "log", "wb")
        self.server = subprocess.Popen(server, stdout=self.log, stderr=self.log)
        end = time.monotonic() + 30
        apply = [metafleet, "broker", "apply", "--nats", self.url, "--quiet"]
        while subprocess.run(apply, check=False, capture_output=True).returncode:
            if time.monotonic() > end:
                sys.exit(f"error: {' '.join(apply)} does not succeed")
            time.sleep(0.2)

    def stop(self) -> None:
        self.server.kill()
        self.server.wait()
        self.log.close()
        self.folder.cleanup()


async def publish(js, number: int, film: Path) -> None:
    """Puts the tasks into the queue, some hundred at a time."""
    await js.add_consumer("MF_TASKS", durable_name=f"{PLUGIN}_fast", filter_subject=f"mf.task.fast.{PLUGIN}.*",
                          ack_policy="explicit", ack_wait=60, max_deliver=5, max_ack_pending=-1)
    await js.add_consumer("MF_TASKS", durable_name=f"{PLUGIN}_background", filter_subject=f"mf.task.background.{PLUGIN}.*",
                          ack_policy="explicit", ack_wait=60, max_deliver=5, max_ack_pending=-1)

    async def one(at: int) -> None:
        cid = f"file-{at}"
        task = {
            "type": "metafleet.task.v1", "taskId": str(uuid.uuid4()), "runId": at + 1, "pluginId": PLUGIN, "cid": cid,
            "filePath": str(film), "fingerprint": f"{at:032x}", "deadlineMs": 30000,
            "file": {"size": film.stat().st_size, "mime": "video/x-matroska", "name": film.name, "extension": "mkv"},
            "retry": {"maxAttempts": 3, "delaysMs": [1000]}, "recordRevision": 0,
        }
        await js.publish(f"mf.task.fast.{PLUGIN}.{cid}", json.dumps(task).encode(), timeout=60)

    for start in range(0, number, 500):
        await asyncio.gather(*(one(at) for at in range(start, min(start + 500, number))))


async def answer(nc) -> None:
    """Accepts the announcement, as a coordinator does."""
    reply = {"status": "accepted", "settings": {}, "leaseMs": 60000, "heartbeatMs": 5000, "maxPayload": 1048576, "paused": False}

    async def accept(message) -> None:
        await nc.publish(message.reply, json.dumps(reply).encode())

    await nc.subscribe(f"mf.signal.{PLUGIN}.announce", cb=accept)


def seconds_between(first: str, last: str) -> float:
    """The broker stamps in nanoseconds, which `datetime` does not know."""
    def parse(text: str) -> tuple[datetime, int]:
        whole, fraction = re.fullmatch(r"([^.Z]+)(?:\.(\d+))?Z", text).groups()
        return datetime.fromisoformat(whole), int((fraction or "0").ljust(9, "0"))

    (a, a_nanos), (b, b_nanos) = parse(first), parse(last)
    return (b - a).total_seconds() + (b_nanos - a_nanos) / 1e9


async def info(nc, stream: str) -> dict:
    return json.loads((await nc.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=10)).data)["state"]


async def measure(metafleet: str, command: list[str], tasks: int) -> float:
    """Tasks a second of one program on a fresh broker."""
    broker = Broker(metafleet)
    try:
        nc = await nats.connect(broker.url)
        # A program behind the shim is given a path, so that there has to be a file.
        film = Path(broker.folder.name) / "a film with a usual name (1999).mkv"
        with film.open("wb") as file:
            file.truncate(734_003_200)
        await publish(nc.jetstream(), tasks, film)
        await answer(nc)
        # The SDK for Python is used as it lies here, not installed.
        env = {**os.environ, "NATS_URL": broker.url, "METAFLEET_LOG": "error", "PYTHONPATH": str(SDK / "python/src")}
        program = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            end = time.monotonic() + LIMIT
            while (await info(nc, "MF_TASKS"))["messages"]:
                # The raw program ends when it has done its number.
                if time.monotonic() > end or program.poll() not in (None, 0):
                    sys.exit(f"error: {' '.join(command)} leaves tasks undone; it ended with {program.poll()}")
                await asyncio.sleep(0.2)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        records = await info(nc, "KV_mf-records")
        await nc.close()
        if records["messages"] != tasks:
            sys.exit(f"error: {' '.join(command)} left {records['messages']} records of {tasks}")
        return (tasks - 1) / seconds_between(records["first_ts"], records["last_ts"])
    finally:
        broker.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metafleet", default=str(ROOT / "target/stage/bin/metafleet"))
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--output", choices=["table", "json"], default="table")
    args = parser.parse_args()
    chosen = [row for row in rows() if not args.only or row.name in args.only]
    measured: dict[tuple[str, str], list[float]] = {}
    for turn in range(args.rounds):
        for row in chosen:
            # A process for each task is slow; fewer show as much.
            tasks = args.tasks if row.raw else max(1, args.tasks // 10)
            # The raw program is told its number, for it knows no signal to end.
            raw = [*row.raw, str(tasks)] if row.raw else None
            for kind, command in (("SDK", row.worker), ("raw", raw)):
                if command:
                    rate = asyncio.run(measure(args.metafleet, command, tasks))
                    measured.setdefault((row.name, kind), []).append(rate)
                    print(f"round {turn + 1}: {row.name}, {kind}: {rate:,.0f}/s", file=sys.stderr)
    found = {key: statistics.median(rates) for key, rates in measured.items()}
    if args.output == "json":
        json.dump([{"name": name, "kind": kind, "tasksPerSecond": round(rate)} for (name, kind), rate in found.items()], sys.stdout)
        return
    print("| worker | tasks/s | raw ceiling, records/s | ratio |\n|---|---|---|---|")
    for row in chosen:
        sdk, raw = found[row.name, "SDK"], found.get((row.name, "raw"))
        print(f"| {row.name} | {sdk:,.0f} | {f'{raw:,.0f}' if raw else '–'} | {f'{sdk / raw:.2f}' if raw else '–'} |")


if __name__ == "__main__":
    main()
