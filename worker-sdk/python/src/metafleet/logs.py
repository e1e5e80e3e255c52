"""Logging as METAFLEET_LOG and METAFLEET_LOG_FORMAT say: text for people, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from .text import readable

_FIELDS = ("plugin", "instance", "task", "cid")
_LEVELS = {"trace": "DEBUG", "debug": "DEBUG", "info": "INFO", "warn": "WARNING", "warning": "WARNING", "error": "ERROR"}


def levels(text: str) -> dict[str, str]:
    """Reads a filter: a level, and `NAME=LEVEL` for single loggers, separated by commas.

    What it does not know it leaves out; the level of everything else is that of the empty name.
    """
    found = {"": "INFO"}
    for part in text.split(","):
        name, _, level = part.strip().rpartition("=")
        if level.lower() in _LEVELS:
            found[name] = _LEVELS[level.lower()]
        elif level.lower() == "off":
            found[name] = "CRITICAL"
    return found


def start(environment: Mapping[str, str] = os.environ) -> None:
    """Begins to log to standard error, unless the program has set up logging by itself."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    as_json = environment.get("METAFLEET_LOG_FORMAT", "") == "json"
    handler.setFormatter(JsonLines() if as_json else TextLines())
    root.addHandler(handler)
    for name, level in levels(environment.get("METAFLEET_LOG", "")).items():
        logging.getLogger(name or None).setLevel(level)
    # What it has to say reaches us as errors of the connection.
    logging.getLogger("nats").setLevel(logging.CRITICAL)


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextLines(logging.Formatter):
    """One line for people, with the ids behind it."""

    def format(self, record: logging.LogRecord) -> str:
        ids = "".join(f" {name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name))
        line = f"{_time(record)} {record.levelname:>7} {record.name}: {record.getMessage()}{ids}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return readable(line)


class JsonLines(logging.Formatter):
    """One JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": _time(record), "level": record.levelname, "target": record.name, "message": record.getMessage(),
        }
        line.update((name, getattr(record, name)) for name in _FIELDS if hasattr(record, name))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return readable(json.dumps(line, ensure_ascii=False, default=str))
