"""Measures the no-op plugin beside raw_ceiling.py on one broker: `python -m tests.throughput [TASKS] [ROUNDS]`.

The coordinator makes the consumer and is stopped then; the announcement is answered here. What is measured is how long
the tasks take from the first to the last one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from typing import Any

from nats.aio.msg import Msg

from .fleet import EXAMPLES, Fleet, fleet, until

ACCEPTED = {"status": "accepted", "settings": {}, "leaseMs": 8000, "heartbeatMs": 5000, "maxPayload": 4194304}


async def publish(it: Fleet, count: int, batch: str) -> None:
    for begin in range(0, count, 500):
        await asyncio.gather(*(publish_one(it, f"{batch}-{n}") for n in range(begin, min(count, begin + 500))))


async def publish_one(it: Fleet, cid: str) -> None:
    task: dict[str, Any] = {
        "type": "metafleet.task.v1", "taskId": "0b6f8a52-6c1d-8e0f-9a53-1f2d7c3b4a59", "runId": 1, "pluginId": "noop",
        "cid": cid, "filePath": f"/library/Some Folder/A file of some name {cid}.txt",
        "file": {"size": 184320, "mime": "text/plain", "name": f"A file of some name {cid}.txt", "extension": "txt"},
        "recordRevision": 0, "fingerprint": "5d41402abc4b2a76b9719d911017c592", "deadlineMs": 30000,
        "retry": {"maxAttempts": 3, "delaysMs": [1000, 2000]}, "pluginVersion": "1.0.0",
    }
    await it.client.jetstream().publish(it.names.task("fast", "noop", cid), json.dumps(task).encode())


async def pending(it: Fleet) -> tuple[int, int]:
    info = await it.client.jetstream().consumer_info("MF_TASKS", "noop_fast")
    return info.num_pending or 0, info.num_ack_pending or 0


async def raw(it: Fleet, count: int, batch: str) -> float:
    await publish(it, count, batch)
    command = [sys.executable, str(EXAMPLES / "raw_ceiling.py"), str(count)]
    child = await asyncio.create_subprocess_exec(*command, env={"NATS_URL": it.url}, stdout=subprocess.PIPE)
    output, _ = await child.communicate()
    return float(output)


async def with_sdk(it: Fleet, count: int, batch: str, program: str) -> float:
    await publish(it, count, batch)
    process = it.plugin(program, folder=EXAMPLES, METAFLEET_LOG="info")
    await until("the first task", lambda: begun(it, count), 60)
    began, (left, _) = time.monotonic(), await pending(it)
    await until("the last task", lambda: over(it), 120)
    took = (time.monotonic() - began) * count / left
    process.signal(signal.SIGTERM)
    await process.ends()
    return took


async def begun(it: Fleet, count: int) -> bool:
    return (await pending(it))[0] < count


async def over(it: Fleet) -> bool:
    return await pending(it) == (0, 0)


async def main(count: int, rounds: int, program: str) -> None:
    with fleet() as it:
        await it.connect()
        first = it.plugin(program, folder=EXAMPLES, METAFLEET_INSTANCE="noop-1")
        await it.ready("noop", "noop-1")
        first.stop()
        it.coordinator.stop()

        async def accept(msg: Msg) -> None:
            await msg.respond(json.dumps(ACCEPTED).encode())

        await it.client.subscribe(it.names.signal("noop", "announce"), cb=accept)
        for number in range(rounds):
            ceiling = count / await raw(it, count, f"raw{number}")
            own = count / await with_sdk(it, count, f"sdk{number}", program)
            print(f"raw {ceiling:.0f} tasks/s, {program} {own:.0f} tasks/s, {own / ceiling:.0%} of raw", flush=True)


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("20000", "3", "noop.py")[len(sys.argv) - 1 :]]
    asyncio.run(main(int(arguments[0]), int(arguments[1]), arguments[2]))
