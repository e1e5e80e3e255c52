"""What a plugin sees of PROTOCOL.md, and its texts and tokens; nothing here talks to a broker.

The numbers in brackets are the sections of broker-config/PROTOCOL.md.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import threading
import time
import uuid
from contextlib import suppress
from datetime import datetime, timezone


class Skipped(Exception):
    """The plugin has nothing to say about this file."""


class Permanent(Exception):
    """It would fail every time. Any other exception is worth another attempt."""


class RetryLater(Exception):
    """An outside service asks to wait; costs no attempt."""

    def __init__(self, reason: str, delay_ms: int):
        super().__init__(reason)
        self.delay_ms = delay_ms


class Stalled(Exception):
    """The plugin reported no progress for too long."""


class Task:
    """One task in the hands of this worker: what the plugin gets, and where the broker is answered."""

    def __init__(self, message, worker):
        numbers = message.reply.split(".")
        numbers = numbers[4:] if len(numbers) == 9 else numbers[6:]  # without or with a domain [7]
        self.delivered, self.sequence = int(numbers[0]), int(numbers[1])
        self.subject, self.reply, self.headers = message.subject, message.reply, message.headers or {}
        # Identity is what the subject says [3].
        self.queue, self.plugin, self.token = self.subject.split(".")[-3:]
        self.plugin = self.plugin.partition("_")[0]  # of whichever lane
        self.cid = decode(self.token)
        self.body, self.problem = read(message.data, self.plugin, self.cid)
        exact = self.body.get("filePathBytes")
        self.path = os.fsdecode(base64.b64decode(exact)) if exact else self.body["filePath"]
        self.existing = self.body.get("existingMeta", {})
        self.began = self.got_on = time.monotonic()
        # How long a lease surely lasts, less what the way takes, and until when this one does [8].
        self.surely = worker.lease * 7 / 8
        self.sure = self.began + self.surely
        self.told = 0.0
        self.cancelled = threading.Event()
        self.worker = worker

    @property
    def attempt(self) -> int:  # [13]
        return self.delivered + int(self.headers.get("Mf-Attempts-Used", 0))

    @property
    def took_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)

    def work(self, process) -> dict:
        """Has the plugin do it, unless it cannot be read [9, 22]."""
        if self.problem:
            raise Permanent(self.problem)
        return process(self)

    def progress(self, fraction: float, note: str = ""):
        """Reports, once a second at most; from any thread [12]."""
        self.got_on = time.monotonic()
        if self.got_on - self.told >= 1:
            self.told = self.got_on
            self.worker.report(self, fraction, note)


def read(data: bytes, plugin: str, cid: str) -> tuple[dict, str]:
    """The body of a task; what cannot be read is built from the subject, with the reason [9]."""
    built = {
        "type": "metafleet.task.v1", "taskId": str(uuid.UUID(int=0)), "runId": 0, "pluginId": plugin, "cid": cid,
        "filePath": "", "fingerprint": "", "deadlineMs": 0, "retry": {"maxAttempts": 1, "delaysMs": []},
    }
    try:
        body = json.loads(data)
        if body.get("type") != built["type"]:
            return built, f"tasks of the type {body.get('type')} are not known"
        missing = [field for field in built if type(body.get(field)) is not type(built[field])]
        return (built, f"no task: {', '.join(missing)} missing or of another kind") if missing else (body, "")
    except (ValueError, AttributeError) as error:
        return built, f"no task: {error}"


async def attend(task: Task, manifest: dict, work: asyncio.Future, limit: float) -> dict:
    """Waits for what the plugin says, and for no longer without progress than the task allows [12]."""
    patience = (task.body.get("progressTimeoutMs") or manifest.get("progressTimeout") or 0) / 1000
    ends = task.began + limit
    while True:
        until = min(ends, task.got_on + patience) if patience else ends
        await asyncio.wait([work], timeout=max(0, until - time.monotonic()))
        if work.done():
            return work.result()
        if time.monotonic() >= ends:
            raise asyncio.TimeoutError
        if patience and time.monotonic() >= task.got_on + patience:
            task.cancelled.set()
            raise Stalled(f"no progress was reported for {round(patience * 1000)} ms")


def in_thread(function, *arguments) -> asyncio.Future:
    """Runs blocking code beside the renewal of leases; when it hangs it does not keep the process."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def tell(set_done, value):
        if not done.done():
            set_done(value)

    def work():
        try:
            result = (done.set_result, function(*arguments))
        except Exception as error:
            result = (done.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, *result)

    threading.Thread(target=work, daemon=True).start()
    return done


def check(manifest: dict, meta: dict):
    """The plugin writes what its dataSchema allows, and nothing else [18]."""
    schema = manifest["dataSchema"]
    for key, value in meta.items():
        family = (f for name, f in schema.items() if matches(name, key) or matches(f.get("pattern", name), key))
        field = schema.get(key) or next(family, None)
        if field is None:
            raise Permanent(f"key `{key}` is not in the dataSchema of {manifest['id']}")
        kind = field.get("type", "string")
        is_set = isinstance(value, list) and all(isinstance(member, str) for member in value)
        if (kind == "string" and not isinstance(value, str)) or (kind == "set" and not is_set):
            raise Permanent(f"key `{key}` must be a {kind}")
        if not nests_within(value, 64):
            raise Permanent(f"key `{key}` nests deeper than 64")


def nests_within(value, depth: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is None or (depth > 0 and all(nests_within(one, depth - 1) for one in inner))


def matches(pattern: str, key: str) -> bool:
    segments = [{"*": "[^/]+", "{n}": "[0-9]+"}.get(segment, re.escape(segment)) for segment in pattern.split("/")]
    if segments[-1] == "[^/]+":
        segments[-1] = ".+"
    return re.fullmatch("/".join(segments), key) is not None


def encode(text: str) -> str:
    """Makes a token of any text [3]."""
    plain = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    return "".join(chr(byte) if byte in plain else f"={byte:02X}" for byte in text.encode()) or "="


def decode(token: str) -> str:
    octets = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), token.encode())
    text = "" if token == "=" else octets.decode()
    if encode(text) != token:
        raise ValueError(f"`{token}` is not an encoded token")
    return text


def dump(body: dict) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def short(text: str) -> str:
    return text.encode()[:4096].decode(errors="ignore")


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def seconds(text: str) -> float:
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.rstrip("s"))
