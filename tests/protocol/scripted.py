"""A plugin that does what the file tells it: `scripted.py MANIFEST.json`.

The script is that of worker-sdk/conformance/README.md, so that the conformance kit can try this worker.
"""

import hashlib
import json
import os
import sys
import time

from contract import Permanent, RetryLater, Skipped
from handing import forward, submit
from worker import serve


class Scripted:
    def __init__(self, manifest):
        self.manifest = json.loads(manifest)
        self.settings = {}

    def configure(self, settings):
        if settings.get("mode") == "bad":
            raise ValueError("mode bad is not served")
        self.settings = settings

    def process(self, task):
        with open(f"{task.path}.calls", "a+", encoding="utf-8") as calls:
            calls.seek(0)
            number = len(calls.readlines())
            print(os.environ["METAFLEET_INSTANCE"], task.attempt, int(time.time() * 1000), file=calls)
        with open(task.path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        verb, _, rest = lines[min(number, len(lines) - 1)].partition(" ")
        seen = {"script/attempt": str(task.attempt), "script/cid": task.cid, "script/existing": task.existing}
        return {**seen, **getattr(self, f"do_{verb}")(task, rest)}

    def do_complete(self, task, rest):
        return json.loads(rest or "{}")

    def do_skip(self, task, rest):
        raise Skipped(rest)

    def do_retry(self, task, rest):
        raise OSError(rest)

    def do_fail(self, task, rest):
        raise Permanent(rest)

    def do_later(self, task, rest):
        raise RetryLater("told to wait", int(rest))

    def do_wait(self, task, rest):
        task.progress(0.5, "waiting")
        while not os.path.exists(rest) and not task.cancelled.is_set():
            time.sleep(0.01)
        return {}

    def do_late(self, task, rest):
        """Fails when the file is there; only tests of this repository ask for it."""
        while not os.path.exists(rest):
            time.sleep(0.01)
        raise OSError("late")

    def do_block(self, task, rest):
        while not os.path.exists(rest):
            time.sleep(0.01)
        return {}

    def do_crash(self, task, rest):
        return {"script/attempt": rest + 1}  # a bug: nobody adds numbers to texts

    def do_exit(self, task, rest):
        os._exit(int(rest))

    def do_error(self, task, rest):
        raise Permanent("é" * (int(rest) // 2))

    def do_large(self, task, rest):
        return {"script/text/0/large": "x" * int(rest)}

    def do_forward(self, task, rest):
        forward(task, rest)

    def do_submit(self, task, rest):
        submit(task, rest)
        return {}

    def do_read(self, task, rest):
        digest, size = hashlib.sha256(), 0
        with open(task.path, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
                size += len(piece)
        return {"script/text/0/sha256": digest.hexdigest(), "script/text/0/size": str(size)}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as manifest:
        serve(Scripted(manifest.read()))
