"""A plugin that does what the file tells it, for tests/it/protocol: `scripted.py MANIFEST.json`.

Each line of the file is for one call, the last one for all further calls:

    complete · complete {json}   metadata: what was seen of the task, and the JSON
    skip WHY · retry WHY · fail WHY · later MILLISECONDS
    wait FILE                    reports progress, then completes when FILE is there

Every call is noted in `<file>.calls`: instance, attempt, milliseconds.
"""

import json
import os
import sys
import time

from contract import Permanent, RetryLater, Skipped
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
        if verb == "complete":
            return {**seen, **json.loads(rest or "{}")}
        if verb == "skip":
            raise Skipped(rest)
        if verb == "retry":
            raise OSError(rest)
        if verb == "fail":
            raise Permanent(rest)
        if verb == "later":
            raise RetryLater("told to wait", int(rest))
        task.progress(0.5, "waiting")
        while not os.path.exists(rest) and not task.cancelled.is_set():
            time.sleep(0.01)
        return seen


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as manifest:
        serve(Scripted(manifest.read()))
