"""PURE. Content ids as tokens of subjects: one text has one token, and every other spelling is refused."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(rb"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")
_ESCAPE = re.compile(rb"=([0-9A-F]{2})")
_SPELLED = {byte: f"={byte:02X}" for byte in range(256)}
_SPELLED.update((byte, chr(byte)) for byte in range(128) if _PLAIN.fullmatch(chr(byte)))


class InvalidToken(ValueError):
    """A text is not the token of any other text."""

    def __init__(self, token: str) -> None:
        super().__init__(f"`{token[:300]}` is not an encoded token")


def encode(text: str) -> str:
    """Makes a token of any text."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_SPELLED[byte] for byte in text.encode()) or "="


def decode(token: str) -> str:
    """Reads the text of a token.

    Raises:
        InvalidToken: it is no token, or not the one spelling of its text.
    """
    if _PLAIN.fullmatch(token):
        return token
    if token == "=":
        return ""
    try:
        octets = token.encode("ascii")
        if not _TOKEN.fullmatch(octets):
            raise InvalidToken(token)
        text = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), octets).decode()
    except UnicodeError as error:
        raise InvalidToken(token) from error
    if encode(text) != token:
        raise InvalidToken(token)
    return text
