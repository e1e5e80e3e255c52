"""A file that is read over HTTP in pieces, each of the same version."""

from __future__ import annotations

import http.client
import io
import os
import ssl
from collections.abc import Callable
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from .outcome import RetryableError
from .paths import query_of

PIECE = 1 << 20
# Between two parts of a piece whoever reads looks whether it is to stop.
_PART = 1 << 16

_CONNECT = 5.0
_SILENCE = 30.0
_ADVICE = {
    401: "the token is not accepted; check METAFLEET_FILES_TOKEN, or restart the worker to get another one",
    403: "the coordinator does not give out files outside of its libraries; check its libraries and METAFLEET_PATHS",
    404: "there is no such file any more",
    412: "the file has changed since it was opened",
    416: "the file is shorter than it was",
}


class Remote:
    """One file at the coordinator. Proxies are not asked, and redirects not followed."""

    def __init__(
        self, url: str, token: str, path: bytes, stop_if_told: Callable[[], float], fetched: Callable[[int], None]
    ) -> None:
        parts = urlsplit(url)
        self._target = f"{parts.path or '/'}?{query_of(path)}"
        self._shown = f"{os.fsdecode(path)} from {parts.netloc}"
        self._token = token
        self._stop_if_told = stop_if_told
        self._fetched = fetched
        self._make = _maker(parts.scheme, parts.hostname or "", parts.port)
        self._connection: http.client.HTTPConnection | None = None
        self._etag: str | None = None
        self.size = self._look()

    def read(self, begin: int, length: int) -> bytes:
        """Reads a part.

        Raises:
            RetryableError: it could not be had, or is of another version.
        """
        response, body = self._ask("GET", {"Range": f"bytes={begin}-{begin + length - 1}"})
        if response.status == 200 and begin == 0 and len(body) == self.size <= length:
            return body
        if response.status != 206 or len(body) != length:
            raise self._failed(f"{len(body)} of {length} bytes came with status {response.status}")
        if not response.getheader("Content-Range", "").startswith(f"bytes {begin}-"):
            raise self._failed("another part came than was asked for")
        return body

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(self) -> int:
        response, _ = self._ask("HEAD", {})
        etag = response.getheader("ETag")
        if not etag:
            self.close()
            raise self._failed("the answer does not say which version it is")
        self._etag = etag
        length = response.getheader("Content-Length", "")
        if not length.isdigit():
            self.close()
            raise self._failed("the answer does not say how long the file is")
        return int(length)

    def _ask(self, method: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        if self._etag is not None:
            headers = {**headers, "If-Match": self._etag}
        fresh = self._connection is None
        try:
            return self._once(method, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A connection that was kept may have been closed at the other end meanwhile.
            if fresh or isinstance(error, TimeoutError):
                raise self._failed(str(error) or type(error).__name__) from error
        try:
            return self._once(method, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._failed(str(error) or type(error).__name__) from error

    def _once(self, method: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        left = self._stop_if_told()
        if self._connection is None:
            self._connection = self._make(min(_CONNECT, left))
            self._connection.connect()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(min(_SILENCE, left))
        self._connection.request(method, self._target, headers={"Authorization": f"Bearer {self._token}", **headers})
        response = self._connection.getresponse()
        if response.status not in (200, 206):
            self.close()
            raise self._failed(_ADVICE.get(response.status, f"status {response.status} {response.reason}"))
        body = self._body(response)
        # Not more than one piece was asked for; more is another answer than the one wanted.
        if len(body) > PIECE:
            self.close()
            raise self._failed("more bytes came than were asked for")
        self._fetched(len(body))
        return response, body

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while len(body) <= PIECE and (part := response.read(_PART)):
            body += part
            self._stop_if_told()
        return bytes(body)

    def _failed(self, why: str) -> RetryableError:
        return RetryableError(f"could not read {self._shown}: {why}")


def _maker(scheme: str, host: str, port: int | None) -> Callable[[float], http.client.HTTPConnection]:
    if scheme == "https":
        context = ssl.create_default_context()
        return lambda seconds: http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
    return lambda seconds: http.client.HTTPConnection(host, port, timeout=seconds)


class RemoteFile(io.RawIOBase):
    """A remote file as a seekable reader; make it with `buffered`."""

    def __init__(self, remote: Remote) -> None:
        super().__init__()
        self._remote = remote
        self._at = 0

    @classmethod
    def buffered(cls, remote: Remote) -> BinaryIO:
        """With one piece read ahead."""
        return cast(BinaryIO, io.BufferedReader(cls(remote), PIECE))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._remote.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), PIECE, max(0, self._remote.size - self._at))
        if length == 0:
            return 0
        body = self._remote.read(self._at, length)
        buffer[: len(body)] = body
        self._at += len(body)
        return len(body)

    def close(self) -> None:
        if not self.closed:
            self._remote.close()
        super().close()
