"""PURE. How bodies, texts and times are written on the wire."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

MOST_TEXT_BYTES = 4096

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def dump(body: Any) -> bytes:
    """JSON as it goes over the wire.

    Raises:
        ValueError: there is a number in it that JSON does not know.
        TypeError: there is something in it that JSON does not know.
    """
    text = _encoder.encode(body)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Names of files that are not UTF-8 come as lone surrogates.
        return readable(text).encode()


def readable(text: str) -> str:
    """The text with `�` for what is no character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if _is_name(text) else _replaced(text)


def _is_name(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _replaced(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def short(text: str, most: int = MOST_TEXT_BYTES) -> str:
    """Cuts a text for people at the limit of the wire, at a character."""
    if len(text) * 4 <= most:
        return text
    octets = readable(text).encode()
    if len(octets) <= most:
        return text
    return octets[: most - len("…".encode())].decode(errors="ignore") + "…"


def now() -> str:
    """The time, as RFC 3339 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")[:-6] + "Z"


def described(error: BaseException) -> str:
    """An error for people: its words, with its kind where they do not speak for themselves."""
    kind = type(error).__name__
    words = str(error)
    return f"{kind}: {words}" if words else kind
