"""PURE. Paths of the library and where they are on this machine; bytes, because names need not be text."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .wire import Task


class InvalidPathMap(ValueError):
    """METAFLEET_PATHS cannot be read."""


@dataclass(frozen=True)
class PathMap:
    """Pairs of a path in the library and where it is here."""

    pairs: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def parse(cls, text: bytes) -> PathMap:
        """Reads `FROM=TO:FROM=TO`; nothing maps nothing.

        Raises:
            InvalidPathMap: for the first pair that is none.
        """
        pairs = []
        for pair in text.split(b":") if text else ():
            here, equals, there = pair.partition(b"=")
            shown = os.fsdecode(pair)
            if not equals:
                raise InvalidPathMap(f"`{shown}` must be FROM=TO")
            if not here.startswith(b"/") or not there.startswith(b"/"):
                raise InvalidPathMap(f"both paths of `{shown}` must be absolute")
            pairs.append((_trimmed(here), _trimmed(there)))
        return cls(tuple(pairs))

    def local(self, path: bytes) -> bytes:
        """Where a path of the library is on this machine; the longest pair wins."""
        return _moved(path, self.pairs)

    def library(self, path: bytes) -> bytes:
        """What the library calls a path of this machine; the longest pair wins."""
        return _moved(path, tuple((there, here) for here, there in self.pairs))


def _trimmed(path: bytes) -> bytes:
    return path.rstrip(b"/") or b"/"


def _moved(path: bytes, pairs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    fitting = [(here, there) for here, there in pairs if _lies_under(path, here)]
    if not fitting:
        return path
    here, there = max(fitting, key=lambda pair: len(pair[0]))
    rest = path[len(here) :].lstrip(b"/") if here != b"/" else path.lstrip(b"/")
    return (there.rstrip(b"/") + b"/" + rest) if rest else there


def _lies_under(path: bytes, folder: bytes) -> bool:
    return folder == b"/" or path == folder or path.startswith(folder + b"/")


def path_of(task: Task) -> bytes:
    """The exact bytes of a task's path."""
    exact = task.get("filePathBytes")
    return base64.b64decode(exact) if exact else task["filePath"].encode("utf-8", "surrogateescape")


def path_fields(path: bytes) -> dict[str, Any]:
    """A path as messages carry it: the exact bytes only where the text is not exact."""
    try:
        return {"filePath": path.decode()}
    except UnicodeDecodeError:
        return {"filePath": path.decode(errors="replace"), "filePathBytes": base64.b64encode(path).decode()}


def beside(path: bytes, name: str) -> bytes:
    """The path of a sidecar: its name is relative to the folder of the file, and may begin with `../`.

    Raises:
        ValueError: it leads further away than that.
    """
    folder = path.rpartition(b"/")[0]
    octets = os.fsencode(name)
    if octets.startswith(b"../"):
        octets, folder = octets[3:], folder.rpartition(b"/")[0]
    if not octets or b"/" in octets or octets in (b".", b"..") or b"\0" in octets:
        raise ValueError(f"`{name}` is not the name of a sidecar")
    return folder + b"/" + octets


def query_of(path: bytes) -> str:
    """A path in the query of a request."""
    return "path=" + quote(path, safe="/-_.~")
