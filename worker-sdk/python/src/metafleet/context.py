"""What a handler gets: the task, the file, what is known of it, and how much time is left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Union

from .aio import AsyncFile, in_thread
from .artifact import Artifact, Octets, describe, octets_of
from .files import Files
from .job import Cancel, Port, Work
from .paths import path_of
from .submission import look_at
from .wire import Task

AnyPath = Union[str, bytes, "os.PathLike[str]"]


@dataclass(frozen=True)
class Sidecar:
    """A file beside another one that describes or completes it: subtitles, `.nfo`."""

    name: str = ""
    size: int = 0
    modified: str = ""


@dataclass(frozen=True)
class File:
    """What the finder of a file says about it."""

    size: int = 0
    mime: str = ""
    name: str = ""
    extension: str = ""
    modified: str = ""
    sidecars: tuple[Sidecar, ...] = ()


def _known(cls: type[Any], facts: Mapping[str, Any]) -> Any:
    """Takes the fields that are known, and leaves the others."""
    return cls(**{name: facts[name] for name in cls.__dataclass_fields__ if facts.get(name) is not None})


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    # It takes no parameter before Python 3.11.
    _Adapter = logging.LoggerAdapter


class TaskLog(_Adapter):
    """Adds the ids of the task and the plugin to each line."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs


class BaseContext:
    """What both kinds of context have."""

    def __init__(self, work: Work, begun: float, cancel: Cancel, port: Port) -> None:
        self._work = work
        self._deadline = begun + work.limit
        self._cancel = cancel
        self._port = port
        self._files: Files | None = None
        self._over = False
        self.attempt = work.attempt
        """Number of this attempt, from 1."""
        self.cid = work.cid
        """Content id of the file."""
        self.settings = work.settings
        """What the operator set, defaults filled in."""

    @property
    def instance(self) -> str:
        """The name of this worker."""
        return self._work.instance

    @property
    def task(self) -> Task:
        """The task as it came."""
        return self._work.task

    @cached_property
    def path(self) -> Path:
        """Where the file is on this machine; `os.fsencode(ctx.path)` has the exact bytes, also of odd names."""
        return Path(os.fsdecode(self._work.paths.local(path_of(self._work.task))))

    @cached_property
    def file(self) -> File:
        """What the finder of the file says of it."""
        facts = self._work.task.get("file") or {}
        sidecars = tuple(_known(Sidecar, sidecar) for sidecar in facts.get("sidecars") or ())
        found: File = _known(File, {**facts, "sidecars": sidecars})
        return found

    @property
    def existing(self) -> Mapping[str, Any]:
        """What other plugins and people wrote, as far as the manifest reads it."""
        return self._work.task.get("existingMeta") or {}

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether to stop: the time is up, or the worker is told to."""
        return self._cancel.is_set()

    @cached_property
    def log(self) -> TaskLog:
        """A logger whose lines say which task they are about."""
        work = self._work
        extra = {"plugin": work.plugin_id, "instance": work.instance, "task": work.task["taskId"], "cid": work.cid}
        return TaskLog(logging.getLogger(f"metafleet.plugin.{work.plugin_id}"), extra)

    def progress(self, fraction: float, note: str = "") -> None:
        """Reports how far it has got, from 0 to 1; the fleet hears of it once a second at most."""
        self._port.progress(min(1.0, max(0.0, fraction)) if math.isfinite(fraction) else 0.0, note)

    def _access(self) -> Files:
        if self._files is None:
            self._files = Files(self._work, self._cancel, lambda: self.remaining, self._port.fetched)
        if self._over:
            # Nobody closes what is copied from now on.
            self._files.close()
        return self._files

    def close(self) -> None:
        """Removes what was copied for this attempt; the worker calls it."""
        self._over = True
        if self._files is not None:
            self._files.close()


class Context(BaseContext):
    """For `def process`: what may take a while blocks."""

    def wait_cancelled(self, seconds: float | None = None) -> bool:
        """Sleeps so long, or until it is to stop; whether it is."""
        return self._cancel.wait(seconds)

    def open(self) -> BinaryIO:
        """The bytes of the file: from this machine if it is here, else from the coordinator. Close it."""
        return self._access().open()

    def open_sidecar(self, name: str) -> BinaryIO:
        """The same for a file beside it, by its name in `file.sidecars`."""
        return self._access().open_sidecar(name)

    def local_path(self) -> Path:
        """A path on this machine: the file, or a copy that is removed when the task ends."""
        return self._access().local_path()

    def local_sidecar(self, name: str) -> Path:
        """The same for a file beside it."""
        return self._access().local_sidecar(name)

    def submit(self, path: AnyPath) -> None:
        """Hands in a file that this plugin made."""
        self._port.submit(look_at(self._work, os.fsencode(path))).result()

    def put_artifact(self, name: str, media_type: str, data: Octets) -> Artifact:
        """Keeps something that the plugin made of the file, such as a picture, where everybody can read it: in the broker.

        Returns when it is stored, with what the metadata is to say of it under a key of the type `json`. The same name
        again takes the place of the one before.

        Raises:
            PermanentError: no artefact may have that name or media type, or it is larger than a message may be.
            RetryableError: the broker did not store it.
        """
        octets = octets_of(data)
        artifact = describe(name, media_type, octets)
        self._port.keep(artifact, octets).result()
        return artifact


class AsyncContext(BaseContext):
    """For `async def process`: what may take a while is awaited."""

    async def wait_cancelled(self, seconds: float | None = None) -> bool:
        """Sleeps so long, or until it is to stop; whether it is."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(self.remaining if seconds is None else seconds)
        return self.cancelled

    def open(self) -> AsyncFile:
        """The bytes of the file, as `async with ctx.open() as file`: from this machine, else from the coordinator."""
        return AsyncFile(self._access().open)

    def open_sidecar(self, name: str) -> AsyncFile:
        """The same for a file beside it, by its name in `file.sidecars`."""
        return AsyncFile(lambda: self._access().open_sidecar(name))

    async def local_path(self) -> Path:
        """A path on this machine: the file, or a copy that is removed when the task ends."""
        return await in_thread(self._access().local_path)

    async def local_sidecar(self, name: str) -> Path:
        """The same for a file beside it."""
        return await in_thread(self._access().local_sidecar, name)

    async def submit(self, path: AnyPath) -> None:
        """Hands in a file that this plugin made."""
        submission = await in_thread(look_at, self._work, os.fsencode(path))
        await asyncio.wrap_future(self._port.submit(submission))

    async def put_artifact(self, name: str, media_type: str, data: Octets) -> Artifact:
        """Keeps something that the plugin made of the file in the broker; as `Context.put_artifact`, awaited."""
        octets = octets_of(data)
        artifact = await in_thread(describe, name, media_type, octets)
        await asyncio.wrap_future(self._port.keep(artifact, octets))
        return artifact
