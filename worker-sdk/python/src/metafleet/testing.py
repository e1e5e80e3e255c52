"""Runs a plugin on a file without a broker; for the tests of plugins.

    report = Bench(LineCounter()).run("tests/poem.txt")
    assert report.meta["text/lines"] == "12"

Settings, deadline, exceptions and the dataSchema are treated as a worker treats them.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from .aio import in_thread
from .artifact import Artifact
from .context import AnyPath
from .job import Job, Mailbox, Work
from .manifest import load, settings_of
from .meta import DataSchema, InvalidMeta, matches
from .outcome import Completed, Forward, PermanentError, RetryableError, Said, TaskError
from .paths import path_fields
from .plugin import Plugin
from .processes import ProcessRunner
from .runner import LoopRunner, Runner, ThreadRunner, is_async
from .submission import EMPTY, UNKNOWN, facts_of_name, mime_of, time_of
from .telemetry import Tracing
from .text import described, readable, short
from .verdict import policy_of, time_limit_ms
from .wire import FileFacts, Manifest, Sidecar, Submission, Task

__all__ = ["Bench", "Report"]


@dataclass(frozen=True)
class Report:
    """What came of one run."""

    said: Said
    """What the plugin said, or the error with which a worker would fail the attempt."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The metadata that would be in the record."""
    submitted: tuple[Path, ...] = ()
    """The files that it handed in."""
    artifacts: tuple[tuple[Artifact, bytes], ...] = ()
    """What it kept of the file, in order."""
    progress: tuple[tuple[float, str], ...] = ()
    """What it reported of its progress."""

    @property
    def error(self) -> str | None:
        """Why the attempt failed."""
        return str(self.said) if isinstance(self.said, TaskError) else None


class Bench:
    """Runs a plugin on files, one at a time."""

    def __init__(
        self,
        plugin: Union[Plugin, Callable[[], Plugin]],
        settings: Mapping[str, Any] | None = None,
        existing: Mapping[str, Any] | None = None,
        attempt: int = 1,
    ) -> None:
        self._factory = type(plugin) if isinstance(plugin, Plugin) else plugin
        self._plugin = plugin if isinstance(plugin, Plugin) else plugin()
        self.manifest: Manifest = load(self._plugin.manifest, type(self._plugin))
        self._settings = dict(settings or {})
        self._existing = dict(existing or {})
        self._attempt = attempt

    def run(self, path: AnyPath) -> Report:
        """Configures the plugin and has it process one file; one that does not exist is given to it all the same."""
        return asyncio.run(self.run_async(path))

    async def run_async(self, path: AnyPath) -> Report:
        """The same on a loop that runs already."""
        try:
            settings = settings_of(self.manifest, self._settings)
            configured = self._plugin.configure(settings) if is_async(self._plugin) else None
            if configured is None:
                configured = await in_thread(self._plugin.configure, settings)
            if configured is not None:
                await configured
        except Exception as error:
            return Report(PermanentError(str(error) or described(error)))
        task = await in_thread(self._task, os.path.abspath(os.fsencode(path)))
        limit = time_limit_ms(self.manifest, 0) / 1000
        work = Work(task, task["cid"], self.manifest["id"], "bench", self._attempt, limit, settings)
        notes = _Notes()
        said = await self._attempted(work, notes)
        meta: Mapping[str, Any] = {}
        if isinstance(said, (Completed, Forward)):
            try:
                meta = DataSchema(self.manifest).check(said.meta)
            except InvalidMeta as error:
                said = PermanentError(str(error))
        if isinstance(said, TaskError):
            said = type(said)(short(readable(str(said)) or type(said).__name__))
        return Report(said, meta, tuple(notes.submitted), tuple(notes.kept), tuple(notes.reported))

    async def _attempted(self, work: Work, notes: _Notes) -> Said:
        loop = asyncio.get_running_loop()
        runner = self._runner(loop)
        job = notes.job = Job(work, notes, loop.create_future())
        stall = self.manifest.get("progressTimeout")
        runner.start(job)
        try:
            while not job.answered.done():
                why = _over(job, stall)
                if why:
                    runner.cancel(job)
                    return RetryableError(why)
                await asyncio.wait({job.answered}, timeout=0.01)
            return job.answered.result()
        finally:
            runner.close()

    def _runner(self, loop: asyncio.AbstractEventLoop) -> Runner:
        if is_async(self._plugin):
            return LoopRunner(self._plugin, loop, Mailbox(loop), Tracing())
        if self._plugin.executor == "process":
            return ProcessRunner(self._factory, Mailbox(loop))
        return ThreadRunner(self._plugin, Mailbox(loop), Tracing())

    def _task(self, path: bytes) -> Task:
        facts = facts_of(path)
        known = {
            "file/path": path.decode(errors="replace"), "file/name": facts["name"], "file/extension": facts["extension"],
            "file/size": str(facts["size"]), "file/mime": facts["mime"], "file/modified": facts.get("modified", ""),
            "file/sidecars": facts.get("sidecars", []),
        }
        reads = self.manifest.get("reads") or []
        seen = {key: value for key, value in known.items() if any(matches(pattern, key) for pattern in reads)}
        task: Any = {
            "type": "metafleet.task.v1", "taskId": "00000000-0000-0000-0000-000000000000", "runId": 1,
            "pluginId": self.manifest["id"], "cid": "test-bench", **path_fields(path), "file": facts,
            "existingMeta": {**seen, **self._existing}, "fingerprint": "bench", "deadlineMs": 0,
            "retry": policy_of(self.manifest),
        }
        return task  # type: ignore[no-any-return]


def _over(job: Job, stall: int | None) -> str | None:
    """Why the attempt is to end."""
    at = time.monotonic()
    if job.begun is None:
        return None
    if at >= job.begun + job.work.limit:
        return f"timed out after {job.work.limit * 1000:.0f} ms"
    if stall and at >= job.got_on + stall / 1000:
        return f"timed out: no progress for {stall} ms"
    return None


class _Notes:
    """A port that only notes what the plugin does."""

    span = None

    def __init__(self) -> None:
        self.job: Job | None = None
        self.submitted: list[Path] = []
        self.kept: list[tuple[Artifact, bytes]] = []
        self.reported: list[tuple[float, str]] = []
        self._lock = threading.Lock()

    def progress(self, fraction: float, note: str) -> None:
        with self._lock:
            self.reported.append((fraction, note))
        if self.job is not None:
            self.job.got_on = time.monotonic()

    def submit(self, submission: Submission) -> Future[None]:
        with self._lock:
            self.submitted.append(Path(submission["filePath"]))
        return _done()

    def keep(self, artifact: Artifact, data: bytes) -> Future[None]:
        with self._lock:
            self.kept.append((artifact, data))
        return _done()

    def fetched(self, octets: int) -> None:
        """Nothing is read by HTTP here."""


def _done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


def facts_of(path: bytes) -> FileFacts:
    """What a scanner would say of a file; of one that cannot be read, what its name says."""
    facts: FileFacts = {"size": 0, **facts_of_name(path)}
    try:
        about = os.stat(path)
        head = b""
        if os.path.isfile(path):
            with open(path, "rb") as file:
                head = file.read(8192)
        mime = mime_of(path, head) if head else EMPTY if os.path.isfile(path) else UNKNOWN
        facts = {**facts, "size": about.st_size, "modified": time_of(about.st_mtime), "mime": mime}
        facts["sidecars"] = _sidecars(path)
    except OSError:
        return facts
    return facts


def _sidecars(path: bytes) -> list[Sidecar]:
    """Files of the same stem beside it, and the `.nfo` of the folder."""
    folder, _, name = path.rpartition(b"/")
    stem = os.path.splitext(name)[0] + b"."
    found: list[Sidecar] = []
    for entry in sorted(os.scandir(folder or b"/"), key=lambda entry: entry.name):
        belongs = entry.name.startswith(stem) or entry.name in (b"movie.nfo", b"tvshow.nfo")
        if belongs and entry.name != name and entry.is_file():
            about = entry.stat()
            shown = entry.name.decode(errors="replace")
            found.append({"name": shown, "size": about.st_size, "modified": time_of(about.st_mtime)})
    return found
