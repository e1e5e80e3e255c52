"""As many no-op tasks as nats-py can do without the SDK: `raw_ceiling.py COUNT`; prints the seconds.

It keeps to the rules: the record with its fence is stored before the task is acknowledged, and no more is asked for
than there are places. The tasks must be there already, and another worker must have announced `noop`.
"""

import asyncio
import base64
import json
import os
import sys
import time

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

PLACES = 128
NEXT = "$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.noop_fast"


class Ceiling:
    def __init__(self, client: Client, count: int) -> None:
        self.client, self.count = client, count
        self.inbox, self.answers = client.new_inbox(), client.new_inbox()
        self.running: dict[str, str] = {}
        self.asked = self.done = 0
        self.finished = asyncio.Event()

    async def run(self) -> float:
        await self.client.subscribe(self.inbox, cb=self.on_task)
        await self.client.subscribe(f"{self.answers}.*", cb=self.on_stored)
        began = time.monotonic()
        await self.ask()
        await self.finished.wait()
        return time.monotonic() - began

    async def ask(self) -> None:
        batch = min(PLACES - self.asked - len(self.running), self.count - self.done - self.asked - len(self.running))
        if batch >= PLACES // 4 or (batch > 0 and not self.asked):
            self.asked += batch
            request = json.dumps({"batch": batch, "expires": 30_000_000_000}).encode()
            await self.client.publish(NEXT, request, reply=self.inbox)

    async def on_task(self, msg: Msg) -> None:
        if not msg.reply:
            raise SystemExit(f"no task came: {msg.headers}")
        self.asked -= 1
        task = json.loads(msg.data)
        record = {
            "type": "metafleet.record.v1", "taskId": task["taskId"], "pluginId": "noop", "cid": task["cid"],
            "status": "completed", "fingerprint": task["fingerprint"], "pluginVersion": "1.0.0", "meta": {"noop/done": "1"},
        }
        token = msg.subject.rpartition(".")[2]
        key = base64.b16encode(token.encode()).decode()
        self.running[key] = msg.reply
        fence = {"Nats-Expected-Last-Subject-Sequence": str(task.get("recordRevision", 0))}
        subject, reply = f"$KV.mf-records.{token}.noop", f"{self.answers}.{key}"
        await self.client.publish(subject, json.dumps(record).encode(), reply, fence)

    async def on_stored(self, msg: Msg) -> None:
        if b'"error"' in msg.data:
            raise SystemExit(f"not stored: {msg.data!r}")
        await self.client.publish(self.running.pop(msg.subject.rpartition(".")[2]), b"+ACK")
        self.done += 1
        if self.done == self.count:
            await self.client.flush()
            self.finished.set()
        await self.ask()


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    print(f"{await Ceiling(client, int(sys.argv[1])).run():.3f}")
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
