"""The content id of a file: midhash256 over its size and a sample from its middle."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import BinaryIO

SAMPLE_BYTES = 1_048_576

_HEAD = bytes((0x01, 0x80, 0x20, 0x80, 0x20, 0x20))


def sample_of(size: int) -> tuple[int, int]:
    """Where the sample of a file begins and how long it is."""
    length = min(size, SAMPLE_BYTES)
    return (size - length) // 2, length


def cid_of(size: int, sample: bytes) -> str:
    """The content id of a file of this size with this sample."""
    digest = hashlib.sha256(size.to_bytes(8, "big") + sample).digest()
    return "b" + base64.b32encode(_HEAD + digest).decode().rstrip("=").lower()


def of_file(file: BinaryIO) -> str:
    """The content id of an open file.

    Raises:
        OSError: it cannot be read, or shrinks meanwhile.
    """
    size = os.fstat(file.fileno()).st_size
    offset, length = sample_of(size)
    file.seek(offset)
    sample = file.read(length)
    if len(sample) != length:
        raise OSError("the file became shorter while it was read")
    return cid_of(size, sample)
