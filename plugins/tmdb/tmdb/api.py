"""Asks The Movie Database: no faster than it may, and tells apart what is worth another try. Everything here blocks."""

from __future__ import annotations

import email.utils
import http.client
import json
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from metafleet import PermanentError, RetryableError

_CONNECT = 10.0
_MOST_BYTES = 8 << 20
_REMEMBERED = 512
_WAIT = 10.0
_LOOK_AGAIN = 0.05
_LONGEST_WAIT = 3600.0
_REFUSED_WAIT = 300.0
_CHECK_WITHIN = 5.0
_REFUSED = "TMDB does not accept the token; set `token` to the API Read Access Token (or the API key) of your account"
_FORBIDDEN = "TMDB does not let this account do that; look at the account at themoviedb.org"


class Busy(Exception):
    """Nothing can be asked now; `after` is in seconds."""

    def __init__(self, after: float, why: str) -> None:
        super().__init__(why)
        self.after = after


class Pace:
    """Lets so many requests a second through, over all threads of this process."""

    def __init__(self, per_second: float) -> None:
        self._gap = 1 / per_second
        self._lock = threading.Lock()
        self._next = 0.0
        self._closed_until = 0.0

    def turn(self, now: float) -> float:
        """Takes the next turn; returns how long to wait for it."""
        with self._lock:
            begins = max(now, self._next, self._closed_until)
            self._next = begins + self._gap
            return begins - now

    def close(self, until: float) -> None:
        """Nobody asks before that: the service has said so."""
        with self._lock:
            self._closed_until = max(self._closed_until, until)

    def closed_for(self, now: float) -> float:
        """How long nobody may ask."""
        return max(0.0, self._closed_until - now)


class Api:
    """One account at TMDB, or at what stands in for it."""

    def __init__(self, url: str, token: str, language: str, per_second: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("apiUrl must be an address like https://api.themoviedb.org/3")
        if not 0 < per_second <= 1000:
            raise ValueError("requestsPerSecond must be more than 0, and 1000 at most")
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._token, self._language = token, language
        self._pace = Pace(per_second)
        self._lock = threading.Lock()
        # Every episode of a show asks for the same show.
        self._answers: OrderedDict[str, dict[str, Any] | None] = OrderedDict()
        self._asking: set[str] = set()
        # Why the token is not accepted, since the last answer.
        self.refused: str | None = None

    def check(self) -> str | None:
        """Why the token is not accepted; None if it is, or if nobody answers who knows."""
        try:
            status, _, _ = self._request(f"{self._path}/authentication?", _CHECK_WITHIN)
        except (OSError, http.client.HTTPException):
            return None
        return _REFUSED if status == 401 else None

    def get(self, path: str, query: Mapping[str, str], wait: Callable[[float], bool], left: float) -> dict[str, Any] | None:
        """An answer; None if there is no such thing.

        Raises:
            Busy: TMDB asks to wait, or does not accept the token.
            RetryableError, PermanentError: it failed.
        """
        target = f"{self._path}{path}?{urlencode({**query, 'language': self._language})}"
        while True:
            with self._lock:
                if target in self._answers:
                    self._answers.move_to_end(target)
                    return self._answers[target]
                if target not in self._asking:
                    self._asking.add(target)
                    break
            # Another file asks the same at this moment.
            if wait(_LOOK_AGAIN):
                raise RetryableError("the attempt was ended while another one asked the same")
        try:
            answer = self._ask(target, path, wait, left)
            with self._lock:
                self._answers[target] = answer
                while len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
            return answer
        finally:
            with self._lock:
                self._asking.discard(target)

    def _ask(self, target: str, path: str, wait: Callable[[float], bool], left: float) -> dict[str, Any] | None:
        self._open()
        if wait(self._pace.turn(time.monotonic())):
            raise RetryableError("the attempt was ended while it waited for its turn")
        # Another thread may have been told to wait meanwhile.
        self._open()
        try:
            status, headers, body = self._request(target, left)
        except (OSError, http.client.HTTPException) as error:
            raise RetryableError(f"could not ask TMDB for {path}: {error or type(error).__name__}") from error
        # Nothing is wrong with the file: its task waits until the token is right.
        self.refused = _REFUSED if status == 401 else None
        if self.refused:
            self._pace.close(time.monotonic() + _REFUSED_WAIT)
            raise Busy(_REFUSED_WAIT, self.refused)
        if status == 404:
            return None
        if status in (429, 503):
            after = retry_after(headers.get("Retry-After"), time.time())
            self._pace.close(time.monotonic() + after)
            raise Busy(after, f"TMDB answers {status}: it asks to wait {after:.0f} s")
        if status == 403:
            raise PermanentError(_FORBIDDEN)
        if status != 200:
            kind = RetryableError if status >= 500 else PermanentError
            raise kind(f"TMDB answers {status} for {path}")
        return read(body, path)

    def _open(self) -> None:
        if (closed := self._pace.closed_for(time.monotonic())) > 0:
            raise Busy(closed, self.refused or "TMDB asked to wait a moment ago")

    def _request(self, target: str, left: float) -> tuple[int, http.client.HTTPMessage, bytes]:
        seconds = max(0.1, min(30.0, left))
        connection = self._connection(min(_CONNECT, seconds))
        try:
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            connection.request("GET", *self._signed(target))
            response = connection.getresponse()
            return response.status, response.headers, response.read(_MOST_BYTES + 1)
        finally:
            connection.close()

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=seconds)

    def _signed(self, target: str) -> tuple[str, None, dict[str, str]]:
        headers = {"Accept": "application/json", "User-Agent": "metafleet-tmdb"}
        if is_key(self._token):
            return f"{target}&{urlencode({'api_key': self._token})}", None, headers
        return target, None, {**headers, "Authorization": f"Bearer {self._token}"}


def is_key(token: str) -> bool:
    """Whether it is an API key of version 3: 32 hexadecimal digits. Anything else is an access token."""
    return len(token) == 32 and all(character in "0123456789abcdef" for character in token)


def retry_after(text: str | None, now: float) -> float:
    """How long to wait, in seconds: a number or a date; some seconds where neither is said."""
    if text is None:
        return _WAIT
    if text.strip().isdecimal():
        return min(max(1.0, float(text)), _LONGEST_WAIT)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return _WAIT
    return min(max(1.0, at - now), _LONGEST_WAIT)


def read(body: bytes, path: str) -> dict[str, Any]:
    """Reads the JSON of an answer."""
    try:
        answer = json.loads(body) if len(body) <= _MOST_BYTES else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise RetryableError(f"the answer of TMDB for {path} cannot be read")
    return answer
