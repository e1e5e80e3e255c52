"""PURE. Takes secrets out of texts for people, also where they are written in another way.

Programs rarely print a secret as it is: it stands percent-encoded in the address of an error, escaped in JSON, in base64 in a header.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

MASK = "***"
_SHORTEST = 4
"""A shorter text is part of too many words to be looked for."""
_LONG_LINE = 8
"""A line of a secret that is a secret by itself."""
_LAYERS = 2
"""Times that backslashes are taken away: JSON in the text of JSON has two layers."""

_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}|.", re.DOTALL)
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\"\\/'ntrbf]|.",
    re.DOTALL,
)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}


class Mask:
    """Texts that must not be shown."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            # Logs show a key of many lines line by line.
            lines = (line for line in secret.splitlines() if len(line) >= _LONG_LINE)
            for text in (secret, *lines):
                if len(text.encode("utf-8", "surrogatepass")) >= _SHORTEST:
                    forms.update(_forms(text.encode("utf-8", "surrogatepass")))
        self._forms = sorted(forms)

    @classmethod
    def of(cls, manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> Mask:
        """The secrets among the settings; what the manifest does not declare may be one."""
        schema = manifest.get("configSchema") or {}
        values = (value for key, value in settings.items() if key not in schema or schema[key].get("secret"))
        return cls(leaf for value in values for leaf in _leaves(value))

    def text(self, text: str) -> str:
        """The text without them."""
        if not self._forms:
            return text
        octets = text.encode("utf-8", "surrogatepass")
        hidden = sorted(self._hidden(octets))
        if not hidden:
            return text
        covered, at = b"", 0
        for start, end in _merged(hidden):
            covered, at = covered + octets[at:start] + MASK.encode(), end
        return (covered + octets[at:]).decode("utf-8", "replace")

    def _hidden(self, text: bytes) -> Iterator[tuple[int, int]]:
        plain = _View(text, [(at, at + 1) for at in range(len(text))])
        views = [plain]
        if b"%" in text:
            views.append(plain.read(_PERCENT, _percent))
        if b"+" in text:
            views.append(plain.read(_PERCENT, _form))
        for view in views:
            for _ in range(_LAYERS):
                yield from view.find(self._forms)
                if b"\\" not in view.octets:
                    break
                view = view.read(_ESCAPE, _escape)
            yield from view.find(self._forms)


class _View:
    """A text read in some way, and which bytes of the text as it is make up each byte of it."""

    def __init__(self, octets: bytes, places: list[tuple[int, int]]) -> None:
        self.octets, self._places = octets, places

    def read(self, unit: re.Pattern[bytes], meaning: Callable[[bytes], bytes]) -> _View:
        """The same, read once more."""
        octets = bytearray()
        places: list[tuple[int, int]] = []
        for found in unit.finditer(self.octets):
            read = meaning(found[0])
            place = (self._places[found.start()][0], self._places[found.end() - 1][1])
            octets += read
            places += [place] * len(read)
        return _View(bytes(octets), places)

    def find(self, forms: Iterable[bytes]) -> Iterator[tuple[int, int]]:
        """Where they stand in the text as it is."""
        for form in forms:
            at = self.octets.find(form)
            while at >= 0:
                yield self._places[at][0], self._places[at + len(form) - 1][1]
                at = self.octets.find(form, at + 1)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        # A setting of several parts can only be given as the text of JSON.
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            inner = None
        if isinstance(inner, (list, dict)):
            yield from _leaves(inner)
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield json.dumps(value)


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):
        shifted = b"\0" * before + secret
        # Characters that also tell of what stands before it, or after it.
        first, last = -(-before * 8 // 6), len(shifted) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(shifted)[first:last]


def _merged(places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start, end = places[0]
    for next_start, next_end in places[1:]:
        if next_start < end:
            end = max(end, next_end)
        else:
            yield start, end
            start, end = next_start, next_end
    yield start, end


def _percent(unit: bytes) -> bytes:
    return bytes.fromhex(unit[1:].decode()) if len(unit) == 3 else unit


def _form(unit: bytes) -> bytes:
    return b" " if unit == b"+" else _percent(unit)


def _escape(unit: bytes) -> bytes:
    if len(unit) == 1:
        return unit
    if unit[1:2] == b"u":
        return _utf16(unit)
    if unit[1:2] == b"x":
        return bytes.fromhex(unit[2:].decode())
    return _LETTERS.get(unit[1:], unit[1:])


def _utf16(unit: bytes) -> bytes:
    words = bytes.fromhex(unit.replace(b"\\u", b"").decode())
    return words.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
