"""PURE. The metadata that a plugin wrote, in the shape of the wire, and checked against its dataSchema."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from .outcome import Meta
from .wire import DataField, DataType, Manifest

_MOST_KEY_BYTES = 512
_MOST_FOUND = 4096
# Arrays and objects of a value within each other; readers may give up on what nests deeper.
_MOST_DEPTH = 64
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KINDS: dict[DataType, str] = {"string": "a string", "set": "an array of strings", "json": "JSON"}


class InvalidMeta(Exception):
    """The dataSchema does not allow what was written; each problem names its key."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("; ".join(problems))


class DataSchema:
    """The keys that a plugin may write."""

    def __init__(self, manifest: Manifest) -> None:
        self._plugin = manifest.get("id", "")
        self._fields = manifest.get("dataSchema") or {}
        self._families = [
            (pattern, field)
            for name, field in self._fields.items()
            for pattern in (name, field.get("pattern") or name)
        ]

        # Plugins write the same keys again and again.
        self._found: dict[str, DataField | None] = {}

    def field(self, key: str) -> DataField | None:
        """The field that allows `key`."""
        if key in self._found:
            return self._found[key]
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        found = self._found[key] = self._look_up(key)
        return found

    def _look_up(self, key: str) -> DataField | None:
        if (found := self._fields.get(key)) is not None:
            return found
        # A field may be empty, and so count as false.
        return next((field for pattern, field in self._families if matches(pattern, key)), None)

    def check(self, meta: Meta) -> dict[str, Any]:
        """The metadata as it goes into the record.

        Raises:
            InvalidMeta: with all that is wrong.
        """
        wire: dict[str, Any] = {}
        problems = []
        for key, value in meta.items():
            if key not in self._found and not is_key(key):
                problems.append(f"metadata key `{key!s:.80}` must be `/`-separated segments, none empty, 512 bytes at most")
            elif (field := self.field(key)) is None:
                problems.append(f"key `{key}` is not in the dataSchema of {self._plugin}")
            else:
                kind = field.get("type", "string")
                fits, written = _written(value, kind)
                if not fits:
                    problems.append(f"key `{key}` must be {_KINDS[kind]}")
                elif kind == "json" and not _nests_within(written, _MOST_DEPTH):
                    problems.append(f"key `{key}` nests deeper than {_MOST_DEPTH}")
                elif written is not None:
                    wire[key] = written
        if problems:
            raise InvalidMeta(problems)
        return wire


def _written(value: object, kind: DataType) -> tuple[bool, Any]:
    """Whether the value is of the kind, and how it is written; None is left out, and so is an empty set."""
    if value is None:
        return True, None
    if kind == "json":
        return True, _sorted_texts(value) if isinstance(value, (set, frozenset)) else value
    if kind == "string":
        if isinstance(value, bool):
            return True, "true" if value else "false"
        return isinstance(value, (str, int, float)), str(value)
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(one, str) for one in value):
        return True, _sorted_texts(value) or None
    return False, None


def _sorted_texts(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values))


def _nests_within(value: object, depth: int) -> bool:
    # It ends also with a value that holds itself.
    if isinstance(value, dict):
        return depth > 0 and all(_nests_within(one, depth - 1) for one in value.values())
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(_nests_within(one, depth - 1) for one in value)
    return True


def is_key(key: object) -> bool:
    """Whether it is one or more segments joined by `/`, none empty, without control characters."""
    if not isinstance(key, str) or not key or len(key.encode(errors="replace")) > _MOST_KEY_BYTES:
        return False
    return not (key[0] == "/" or key[-1] == "/" or "//" in key or _CONTROL.search(key))


def matches(pattern: str, key: str) -> bool:
    """Whether `*` (one segment; at the end one or more) and `{n}` (digits) can be filled in to make `key`."""
    return _compiled(pattern).fullmatch(key) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    segments = pattern.split("/")
    parts = [{"*": "[^/]+", "{n}": "[0-9]+"}.get(segment, re.escape(segment)) for segment in segments]
    if segments[-1] == "*":
        parts[-1] = "(?s:.+)"
    return re.compile("/".join(parts))
