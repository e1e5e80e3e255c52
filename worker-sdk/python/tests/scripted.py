"""Plugins for tests: `scripted.py MANIFEST.json [async|process]` does what the file says, as the conformance example.

Beside that, `keep [{"name": NAME, "type": TYPE, "size": BYTES, "of": LETTER}, ...]` stores artefacts, and `stray FILE` leaves
a thread that tries to store one when FILE is there, and appends what comes of it. `late FILE` fails the first attempt when FILE
is there, and has the lines after it for the others; `nap` takes half a second, and says how many ran at once.
"""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from conformance import Conformance, note

from metafleet import AsyncContext, Context, Outcome, RetryableError, TaskError, run


def artefacts(rest: str) -> list[tuple[str, str, bytes]]:
    wanted: list[dict[str, Any]] = json.loads(rest)
    return [(one["name"], one.get("type", "image/jpeg"), one.get("of", "x").encode() * one["size"]) for one in wanted]


def stray(ctx: Context, file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)
    try:
        ctx.put_artifact("stray", "text/plain", b"late")
        said = "stored"
    except TaskError as error:
        said = str(error)
    file.write_text(said)


RUNNING, MOST, COUNTS = [0], [0], threading.Lock()


def nap() -> int:
    """Half a second; how many ran at once at most so far."""
    with COUNTS:
        RUNNING[0] += 1
        MOST[0] = max(MOST[0], RUNNING[0])
    time.sleep(0.5)
    with COUNTS:
        RUNNING[0] -= 1
    return MOST[0]


class Scripted(Conformance):
    """In threads."""

    def process(self, ctx: Context) -> Outcome:
        with ctx.open() as file:
            verb, _, rest = file.read(1 << 20).decode().strip().partition(" ")
        if verb == "keep":
            note(ctx)
            try:
                return {"script/kept": [ctx.put_artifact(*one) for one in artefacts(rest)]}
            except TaskError as error:
                ctx.log.info("not kept: %s", error)
                raise
        if verb == "late" and ctx.attempt == 1:
            note(ctx)
            while not Path(rest.splitlines()[0]).exists():
                time.sleep(0.01)
            raise RetryableError("late")
        if verb == "nap":
            return {"script/text/0/most": nap()}
        if verb == "stray":
            threading.Thread(target=stray, args=(ctx, Path(rest)), daemon=True).start()
            return {}
        return super().process(ctx)


class Asynchronous(Conformance):
    """On the loop; `block` blocks it by mistake, and `sleep` waits as it should."""

    async def process(self, ctx: AsyncContext) -> Outcome:
        note(ctx)
        async with ctx.open() as file:
            verb, _, rest = (await file.read()).decode().strip().partition(" ")
        if verb == "block":
            end = time.monotonic() + 60
            while not Path(rest).exists() and time.monotonic() < end:
                time.sleep(0.01)
        if verb == "sleep":
            await asyncio.sleep(60)
        if verb == "keep":
            return {"script/kept": [await ctx.put_artifact(*one) for one in artefacts(rest)]}
        if verb == "submit":
            await ctx.submit(rest)
        if verb == "path":
            return {"script/text/0/path": str(await ctx.local_path())}
        return {"script/attempt": ctx.attempt}


class InProcess(Scripted):
    executor = "process"

    def __init__(self) -> None:
        super().__init__(sys.argv[1])


if __name__ == "__main__":
    kind = sys.argv[2] if len(sys.argv) > 2 else "thread"
    run({"thread": lambda: Scripted(sys.argv[1]), "async": lambda: Asynchronous(sys.argv[1]), "process": InProcess}[kind])
