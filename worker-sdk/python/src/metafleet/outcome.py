"""What a handler says about a task: it returns an outcome, or raises an error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Union

Meta = Mapping[str, Any]
"""Metadata: text, sets of text, or JSON, by key. Numbers and booleans become text, None is left out."""


@dataclass(frozen=True)
class Completed:
    """The metadata of the file; it replaces what the plugin wrote before. A bare mapping says the same."""

    meta: Meta = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """The plugin has nothing to say about this file."""

    reason: str


@dataclass(frozen=True)
class RetryLater:
    """An outside service asks to wait. Costs no attempt; `after` is in seconds, or a timedelta."""

    after: float | timedelta
    reason: str

    @property
    def after_ms(self) -> int:
        """The delay on the wire."""
        seconds = self.after.total_seconds() if isinstance(self.after, timedelta) else float(self.after)
        return max(1, round(seconds * 1000))


@dataclass(frozen=True)
class Forward:
    """Another file, or this file for another plugin, is handed in; make it with `file` or `plugin`."""

    to_file: str | None = None
    to_plugin: str | None = None
    meta: Meta = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.to_file is None) == (self.to_plugin is None):
            raise ValueError("a forward goes to a file or to a plugin: use Forward.file or Forward.plugin")

    @classmethod
    def file(cls, path: str | bytes | os.PathLike[str], meta: Meta | None = None) -> Forward:
        """The file at `path` goes through the fleet instead of this one."""
        return cls(to_file=os.fsdecode(path), meta=meta or {})

    @classmethod
    def plugin(cls, plugin_id: str, meta: Meta | None = None) -> Forward:
        """This file goes to that plugin; its filter still applies."""
        return cls(to_plugin=plugin_id, meta=meta or {})


Outcome = Union[Meta, Completed, Skipped, RetryLater, Forward]
"""What `process` may return."""


class TaskError(Exception):
    """The attempt failed. Any other exception that a handler raises counts as a `RetryableError`."""

    permanent = False


class RetryableError(TaskError):
    """It failed, and another attempt may help."""


class PermanentError(TaskError):
    """It would fail every time: a dead letter, for a person."""

    permanent = True


Said = Union[Completed, Skipped, RetryLater, Forward, TaskError]
"""What came of an attempt."""


def taken(value: object) -> Said:
    """What a handler said by returning `value`."""
    if isinstance(value, (Completed, Skipped, RetryLater, Forward)):
        return value
    if isinstance(value, Mapping):
        return Completed(value)
    return PermanentError(
        f"process returned {type(value).__name__}; it must return metadata, Completed, Skipped, RetryLater or Forward"
    )
