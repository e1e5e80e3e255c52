"""PURE. What a plugin makes of a file and what is no metadata, such as a picture or a text."""

from __future__ import annotations

import hashlib
import re
from typing import TypedDict, Union

from .outcome import PermanentError

Octets = Union[bytes, bytearray, memoryview]

_MOST_NAME_BYTES = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?: *;(?:[ -~]*[!-~])?)?")
_LONGEST_MEDIA_TYPE = 255


class Artifact(TypedDict):
    """What the metadata says of an artefact; a value for a key of the type `json`."""

    artifact: str
    """Its name."""
    mediaType: str
    size: int
    sha256: str
    """Of its bytes, in lower-case hexadecimal."""


def describe(name: str, media_type: str, data: bytes) -> Artifact:
    """What the metadata says of these bytes.

    Raises:
        PermanentError: no artefact may have that name, or it is no media type.
    """
    if not is_name(name):
        raise PermanentError(f"an artefact cannot be called `{name!s:.200}`: 1 to 128 bytes without control characters")
    if not is_media_type(media_type):
        raise PermanentError(
            f"`{media_type!s:.200}` is no media type of the artefact `{name}`: "
            "it is like `image/jpeg`, with at most 255 characters of ASCII"
        )
    return {"artifact": name, "mediaType": media_type, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def octets_of(data: Octets) -> bytes:
    """The bytes as they are now: whoever owns a buffer may change it."""
    return data if isinstance(data, bytes) else bytes(memoryview(data))


def is_media_type(text: str) -> bool:
    """Whether an artefact may be of that media type."""
    return len(text) <= _LONGEST_MEDIA_TYPE and _MEDIA_TYPE.fullmatch(text) is not None


def is_name(name: str) -> bool:
    """Whether an artefact may be called so."""
    try:
        return 1 <= len(name.encode()) <= _MOST_NAME_BYTES and not _CONTROL.search(name)
    except UnicodeEncodeError:
        # A lone surrogate: the name of a file that is not UTF-8.
        return False
