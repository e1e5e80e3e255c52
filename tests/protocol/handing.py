"""Files that a plugin hands in, and forwards: sections 10 and 16 of PROTOCOL.md."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os

from contract import Skipped, Task

SAMPLE = 1 << 20
PATIENCE = 600  # seconds; the lease is renewed up to the deadline of the task


def content_id(path: str) -> str:
    """The midhash256 of a file."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        file.seek(max(0, (size - SAMPLE) // 2))
        digest = hashlib.sha256(size.to_bytes(8, "big") + file.read(SAMPLE)).digest()
    code = base64.b32encode(bytes.fromhex("018020802020") + digest)
    return "b" + code.decode().lower().rstrip("=")


def submit(task: Task, path: str, message_id: str | None = None):
    """Hands a file in; returns when that is stored. From the thread of a plugin."""
    worker, exact = task.worker, os.fsencode(path)
    body = {
        "type": "metafleet.submission.v1", "cid": content_id(path), "filePath": exact.decode(errors="replace"),
        "file": {"size": os.path.getsize(path), "name": os.path.basename(exact).decode(errors="replace"),
                 "extension": os.path.splitext(path)[1][1:].lower()},
        "origin": worker.id, "depth": task.body.get("depth", 0) + 1,
    }
    if body["filePath"].encode() != exact:
        body["filePathBytes"] = base64.b64encode(exact).decode()
    if "scanId" in task.body:
        body["scanId"] = task.body["scanId"]
    headers = {"Nats-Msg-Id": message_id} if message_id else {}
    stored = worker.store(f"{worker.prefix}.submit.{task.queue}", body, headers, task)
    asyncio.run_coroutine_threadsafe(stored, worker.loop).result(PATIENCE)


def forward(task: Task, path: str):
    """Lets another file take the place of this one: the submission is stored before the record."""
    submit(task, path, f"forward.{task.sequence}.{task.worker.secret:x}")
    raise Skipped(f"forwarded to {path}")
