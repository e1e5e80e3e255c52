"""Files that a plugin hands in: those it made, and those it passes on."""

from __future__ import annotations

import mimetypes
import os
import stat
from datetime import datetime, timezone
from typing import cast

from . import midhash
from .job import Work
from .names import is_plugin_id
from .outcome import PermanentError, RetryableError
from .paths import path_fields
from .wire import FileFacts, Submission

MOST_DEPTH = 8
UNKNOWN = "application/octet-stream"
EMPTY = "inode/x-empty"

# How the content of some common formats begins; for others the name decides.
_HEADS = (
    (b"\x1aE\xdf\xa3", "video/x-matroska"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"), (b"%PDF-", "application/pdf"), (b"fLaC", "audio/x-flac"), (b"ID3", "audio/mpeg"),
    (b"PK\x03\x04", "application/zip"), (b"\x1f\x8b", "application/gzip"), (b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
)
_HEAD_BYTES = 8192


def look_at(work: Work, path: bytes) -> Submission:
    """Reads what is to be said of a file on this machine; blocks.

    Raises:
        RetryableError: it cannot be read.
        PermanentError: it was made from a file that was made from a file, too often.
    """
    depth = _deeper(work)
    path = os.path.abspath(path)
    try:
        with open(path, "rb") as file:
            facts = _facts(path, os.fstat(file.fileno()), file.read(_HEAD_BYTES))
            cid = midhash.of_file(file)
    except OSError as error:
        raise RetryableError(f"could not read {os.fsdecode(path)}: {error}") from error
    return _submission(work, depth, cid, path, facts)


def for_plugin(work: Work, plugin_id: str) -> Submission:
    """The same file, for another plugin."""
    if not is_plugin_id(plugin_id):
        raise PermanentError(f"`{plugin_id}` is not the id of a plugin")
    task = work.task
    submission: Submission = {
        "type": "metafleet.submission.v1", "cid": work.cid, "filePath": task["filePath"], "file": task.get("file", {}),
        "only": [plugin_id], "origin": work.plugin_id, "depth": _deeper(work),
    }
    for name in ("filePathBytes", "scanId"):
        if task.get(name):
            submission[name] = task[name]
    return submission


def _submission(work: Work, depth: int, cid: str, path: bytes, facts: FileFacts) -> Submission:
    body = {
        "type": "metafleet.submission.v1", "cid": cid, **path_fields(work.paths.library(path)), "file": facts,
        "origin": work.plugin_id, "depth": depth,
    }
    if work.task.get("scanId"):
        body["scanId"] = work.task["scanId"]
    return cast(Submission, body)


def _deeper(work: Work) -> int:
    depth = work.task.get("depth", 0) + 1
    if depth > MOST_DEPTH:
        raise PermanentError(f"it was made from a file that was made from a file, {depth} times")
    return depth


def _facts(path: bytes, about: os.stat_result, head: bytes) -> FileFacts:
    if not stat.S_ISREG(about.st_mode):
        raise OSError("it is not a regular file")
    return {**facts_of_name(path), "size": about.st_size, "mime": mime_of(path, head), "modified": time_of(about.st_mtime)}


def facts_of_name(path: bytes) -> FileFacts:
    """What the name alone says."""
    name = path.rpartition(b"/")[2].decode(errors="replace")
    stem, _, extension = name.rpartition(".")
    return {"mime": UNKNOWN, "name": name, "extension": extension.lower() if stem else ""}


def mime_of(path: bytes, head: bytes) -> str:
    """The media type: content before name."""
    if not head:
        return EMPTY
    if head[4:8] == b"ftyp":
        return "audio/mp4" if head[8:11] == b"M4A" else "video/mp4"
    for begins, mime in _HEADS:
        if head.startswith(begins):
            return mime
    by_name = mimetypes.guess_type(os.fsdecode(path), strict=False)[0]
    if b"\0" not in head:
        return by_name if by_name and (by_name.startswith("text/") or "json" in by_name or "xml" in by_name) else "text/plain"
    return by_name if by_name and not by_name.startswith("text/") else UNKNOWN


def time_of(seconds: float) -> str:
    """A modification time, as RFC 3339."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")
