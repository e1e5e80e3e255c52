#!/usr/bin/env python3
"""Follows the script of the conformance kit in a process that lives on: a line of JSON in, a line of JSON out.

Line n of the file is for call n, the last one for all further calls. Run by metafleet-shim with --persistent and --check-settings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import time


def say(answer: dict) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def note(path: bytes, attempt: int) -> int:
    """Notes the call beside the file and returns how many there were before; none where the folder is not there."""
    try:
        with open(path + b".calls", "a+b") as calls:
            calls.seek(0)
            before = calls.read().count(b"\n")
            instance = os.environ.get("METAFLEET_INSTANCE", "shim")
            calls.write(f"{instance} {attempt} {time.time_ns() // 1_000_000}\n".encode())
    except OSError:
        return 0
    return before


def until_there(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.01)


def follow(request: dict, path: bytes, line: str) -> dict:
    verb, _, rest = line.partition(" ")
    task = request["task"]
    meta = {
        "script/attempt": str(request["attempt"]),
        "script/cid": task["cid"],
        "script/existing": task.get("existingMeta", {}),
    }
    completed = {"outcome": "completed", "meta": meta}
    if verb == "complete":
        meta.update(json.loads(rest or "{}"))
        return completed
    if verb in ("wait", "block"):
        if verb == "wait":
            say({"progress": 0.5, "note": "waiting"})
        until_there(rest)
        return completed
    if verb == "skip":
        return {"outcome": "skipped", "reason": rest}
    if verb == "retry":
        return {"outcome": "retry", "error": rest}
    if verb == "fail":
        return {"outcome": "failed", "error": rest}
    if verb == "later":
        return {"outcome": "later", "afterMs": int(rest), "reason": "told to wait"}
    if verb == "crash":
        raise RuntimeError(rest)
    if verb == "exit":
        os._exit(int(rest))
    if verb == "error":
        return {"outcome": "failed", "error": "é" * (int(rest) // 2)}
    if verb == "large":
        meta["script/text/0/large"] = "x" * int(rest)
        return completed
    if verb == "forward":
        return {"outcome": "forward", "file": rest}
    if verb == "submit":
        return {**completed, "submit": [rest]}
    if verb == "read":
        with open(path, "rb") as file:
            content = file.read()
        meta["script/text/0/sha256"] = hashlib.sha256(content).hexdigest()
        meta["script/text/0/size"] = str(len(content))
        return completed
    return {"outcome": "failed", "error": f"unknown: {line}"}


def serve(request: dict) -> None:
    exact = request.get("fileBytes")
    path = base64.b64decode(exact) if exact else os.fsencode(request["file"])
    before = note(path, request["attempt"])
    with open(path, encoding="utf-8") as script:
        lines = [line for line in script.read().splitlines() if line.strip()]
    say({**follow(request, path, lines[min(before, len(lines) - 1)]), "id": request["id"]})


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if request["event"] == "configure":
            if request["settings"].get("mode") == "bad":
                sys.exit("mode bad is not served")
            return
        serve(request)


if __name__ == "__main__":
    main()
