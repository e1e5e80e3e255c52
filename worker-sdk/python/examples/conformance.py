"""Does what the file says, for the conformance kit: `conformance.py MANIFEST.json`."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from metafleet import BaseContext, Context, Forward, Outcome, PermanentError, Plugin, RetryableError, RetryLater, Settings, Skipped, run


class Conformance(Plugin):
    def __init__(self, manifest: str) -> None:
        self.manifest = manifest  # type: ignore[misc]

    def configure(self, settings: Settings) -> None:
        if settings.get("mode") == "bad":
            raise ValueError("mode bad is not served")

    def process(self, ctx: Context) -> Outcome:
        call = note(ctx)
        with ctx.open() as file:
            lines = file.read(1 << 20).decode().splitlines() or ["complete"]
        verb, _, rest = lines[min(call, len(lines) - 1)].partition(" ")
        ctx.log.info("%s", verb)
        seen = {"script/attempt": ctx.attempt, "script/cid": ctx.cid, "script/existing": dict(ctx.existing)}
        return obey(ctx, verb, rest, seen)


def note(ctx: BaseContext) -> int:
    """Notes the call beside the file, if its folder is there; returns how many there were before."""
    calls = os.fsencode(ctx.path) + b".calls"
    if not os.path.isdir(os.path.dirname(calls)):
        return 0
    with open(calls, "a+", encoding="utf-8") as file:
        file.seek(0)
        before = len(file.readlines())
        print(ctx.instance, ctx.attempt, int(time.time() * 1000), file=file)
    return before


def obey(ctx: Context, verb: str, rest: str, seen: dict[str, Any]) -> Outcome:
    if verb == "complete":
        return {**seen, **json.loads(rest or "{}")}
    if verb == "skip":
        return Skipped(rest)
    if verb == "retry":
        raise RetryableError(rest)
    if verb == "fail":
        raise PermanentError(rest)
    if verb == "later":
        return RetryLater(int(rest) / 1000, "told to wait")
    if verb == "wait":
        ctx.progress(0.5, "waiting")
        while not os.path.exists(rest) and not ctx.wait_cancelled(0.01):
            pass
        return seen
    if verb == "block":
        while not os.path.exists(rest):
            time.sleep(0.01)
        return seen
    if verb == "crash":
        raise LookupError(rest)
    if verb == "exit":
        os._exit(int(rest))
    if verb == "error":
        raise PermanentError("é" * (int(rest) // 2))
    if verb == "large":
        return {"script/text/0/large": "x" * int(rest)}
    if verb == "forward":
        return Forward.file(rest)
    if verb == "submit":
        ctx.submit(Path(rest))
        return seen
    if verb == "read":
        return read(ctx)
    raise PermanentError(f"`{verb}` is not a verb")


def read(ctx: Context) -> Outcome:
    digest, size = hashlib.sha256(), 0
    with ctx.open() as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return {"script/text/0/sha256": digest.hexdigest(), "script/text/0/size": size}


if __name__ == "__main__":
    run(Conformance(sys.argv[1]))
