"""The bytes of a task's file: from this machine if it is here, else over HTTP. Everything here blocks."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .job import Cancel, Work
from .outcome import RetryableError
from .paths import beside, path_of
from .remote import PIECE, Remote, RemoteFile

_LONGEST_SUFFIX = 40


class Files:
    """What one attempt reads."""

    def __init__(self, work: Work, cancel: Cancel, remaining: Callable[[], float], fetched: Callable[[int], None]) -> None:
        self._work = work
        self._cancel = cancel
        self._remaining = remaining
        self._fetched = fetched
        # Held during a copy, so that each file is copied once.
        self._copying = threading.Lock()
        # Of the two below; never held for long, because `close` must not wait for a copy.
        self._lock = threading.Lock()
        self._folder: str | None = None
        self._closed = False
        self._copies: dict[bytes, Path] = {}

    def open(self) -> BinaryIO:
        """The file."""
        return self._open(path_of(self._work.task), self._size())

    def open_sidecar(self, name: str) -> BinaryIO:
        """A file beside it."""
        return self._open(beside(path_of(self._work.task), name), 0)

    def local_path(self) -> Path:
        """The file, or a copy of it."""
        return self._local(path_of(self._work.task), self._size())

    def local_sidecar(self, name: str) -> Path:
        """A file beside it, or a copy of that."""
        return self._local(beside(path_of(self._work.task), name), 0)

    def close(self) -> None:
        """Removes the copies, and ends one that is being made."""
        with self._lock:
            self._closed, folder = True, self._folder
        _remove(folder)

    def _size(self) -> int:
        return (self._work.task.get("file") or {}).get("size", 0)

    def _open(self, path: bytes, size: int) -> BinaryIO:
        local = self._work.paths.local(path)
        try:
            file = open(local, "rb", opener=_without_waiting)
        except OSError as error:
            return self._instead(path, f"could not open {os.fsdecode(local)}: {error}")
        about = os.fstat(file.fileno())
        if stat.S_ISREG(about.st_mode) and (size <= 0 or about.st_size == size):
            return file
        file.close()
        if not stat.S_ISREG(about.st_mode):
            return self._instead(path, f"{os.fsdecode(local)} is not a regular file")
        why = f"{os.fsdecode(local)} has {about.st_size} bytes, but had {size} when it was found; a scan hands it in anew"
        return self._instead(path, why)

    def _instead(self, path: bytes, why: str) -> BinaryIO:
        if self._work.files is None:
            raise RetryableError(why)
        return self._remote(self._work.files.url, self._work.files.token, path)

    def _remote(self, url: str, token: str, path: bytes) -> BinaryIO:
        remote = Remote(url, token, path, self._stop_if_told, self._fetched)
        return RemoteFile.buffered(remote)

    def _local(self, path: bytes, size: int) -> Path:
        with self._open(path, size) as file:
            if not isinstance(getattr(file, "raw", None), RemoteFile):
                return Path(os.fsdecode(self._work.paths.local(path)))
            with self._copying:
                if path not in self._copies:
                    self._copies[path] = self._copy(file, path)
                return self._copies[path]

    def _copy(self, file: BinaryIO, path: bytes) -> Path:
        folder = self._made_folder()
        suffix = Path(os.fsdecode(path.rpartition(b"/")[2])).suffix
        name = f"{len(self._copies)}{suffix if len(os.fsencode(suffix)) <= _LONGEST_SUFFIX else ''}"
        target = Path(folder, name)
        try:
            with open(target, "wb") as copy:
                shutil.copyfileobj(file, copy, PIECE)
        finally:
            # Whoever closed it meanwhile may have looked before the copy was there.
            if self._closed:
                _remove(folder)
        self._stop_if_told()
        wanted = file.seek(0, os.SEEK_END)
        if target.stat().st_size != wanted:
            raise RetryableError(f"{target.stat().st_size} of {wanted} bytes came")
        return target

    def _made_folder(self) -> str:
        with self._lock:
            if self._closed:
                raise RetryableError("the attempt is over")
            if self._folder is None:
                self._folder = tempfile.mkdtemp(prefix="metafleet-", dir=self._work.copies)
            return self._folder

    def _stop_if_told(self) -> float:
        """Seconds that are left; ends whatever reads when the attempt is over."""
        left = self._remaining()
        if self._closed or self._cancel.is_set() or left <= 0:
            raise RetryableError("the attempt was ended while it read its file")
        return left


def _remove(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _without_waiting(path: str, flags: int) -> int:
    """Opens without waiting for somebody who writes to a pipe."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    with contextlib.suppress(OSError):
        os.set_blocking(descriptor, True)
    return descriptor
