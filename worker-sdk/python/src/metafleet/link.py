"""The connection to the broker: reconnects without limit, and says when it did."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import ssl
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from .options import InvalidOptions, Options

log = logging.getLogger(__name__)

TROUBLE = (nats.errors.Error, asyncio.TimeoutError, OSError)
"""What sending can fail with while the broker is away."""

_PAUSES = (0.1, 2.0)
_PATIENCE = 1.0
# How long the broker may take to answer a ping; the client takes the connection for lost before that.
_STALLED = 120
# What waits to be sent while there is no connection; what is over it fails like anything that is lost.
_BUFFER = 8 << 20


class Refused(Exception):
    """The broker does not let us in, and waiting does not help."""


class Link:
    """A connection, and the number of times it was made."""

    def __init__(self, url: str) -> None:
        self.client = Client()
        self.epoch = 0
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when the broker does not let us in, or the connection is closed for good."""
        self._shown = ", ".join(shown(one) for one in url.split(","))
        self._up = asyncio.Event()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers: list[Callable[[], None]] = []
        self._pause = _PAUSES[0]
        self._leaving = False

    @classmethod
    async def open(cls, options: Options, name: str, stop: asyncio.Event) -> Link | None:
        """Connects; while nobody is there it tries again until `stop`, then returns None.

        Raises:
            Refused: the broker does not accept the credentials.
            InvalidOptions: credentials or certificates cannot be used.
        """
        if not all(_is_address(url) for url in options.url.split(",")):
            raise InvalidOptions("NATS_URL", "it is not the address of a broker")
        link = cls(options.url)
        connecting = asyncio.ensure_future(link.client.connect(**link._settings(options, name)))
        stopping = asyncio.ensure_future(stop.wait())
        first: set[asyncio.Future[Any]] = {connecting, stopping, link.refused}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done() and connecting.exception() is None:
                link._is_up()
                log.info("connected to the broker at %s", link._shown)
                return link
            if link.refused.done():
                link.refused.result()
            if connecting.done():
                connecting.result()
            return None
        finally:
            stopping.cancel()
            connecting.cancel()
            if not link._up.is_set():
                link._leaving = True
                with contextlib.suppress(*TROUBLE):
                    await asyncio.wait_for(link.client.close(), _PATIENCE)

    def _settings(self, options: Options, name: str) -> dict[str, Any]:
        return {
            "servers": [url.strip() for url in options.url.split(",")],
            "name": name,
            "connect_timeout": 5,
            "ping_interval": 10,
            "reconnect_time_wait": self._pause,
            "max_reconnect_attempts": -1,
            "pending_size": _BUFFER,
            # Subjects are made by `names`, which checks what they are made of.
            "skip_subject_validation": True,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_disconnected,
            "reconnected_cb": self._on_reconnected,
            "closed_cb": self._on_closed,
            **_login(options),
            **_tls(options),
        }

    @property
    def is_up(self) -> bool:
        """Whether there is a connection at the moment."""
        return self._up.is_set() and self.client.is_connected

    async def connected(self) -> None:
        """Waits until the connection is up; at once if it is."""
        await self._up.wait()

    def on_reconnect(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Calls `watcher` after each reconnect; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    async def tell(
        self, subject: str, body: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> bool:
        """Sends something that may be lost; whether it was sent."""
        try:
            await self.client.publish(subject, body, reply, headers)
        except TROUBLE as error:
            log.debug("could not send on %s: %s", subject, error)
            return False
        return True

    async def heard(self) -> None:
        """Waits until the broker has answered all that it was told so far, or the connection is lost."""
        if self.is_up:
            await self._until_lost(self.client.flush(_STALLED))

    async def drop(self, subscription: Subscription) -> None:
        """Ends a subscription when the broker has confirmed that, or is gone; what is on its way is still delivered."""
        if self.is_up and await self._until_lost(subscription.drain()):  # type: ignore[no-untyped-call]
            return
        # The client would subscribe again with the next connection.
        with contextlib.suppress(*TROUBLE):
            await subscription.unsubscribe()

    async def _until_lost(self, work: Coroutine[Any, Any, None]) -> bool:
        """Waits for something that pings the broker; whether it came to an end before the connection was lost.

        It is not cancelled as long as there is a connection: the client stops to read where a ping that was given up is
        answered.
        """
        working = asyncio.ensure_future(work)
        # Nobody may wait any more when it fails.
        working.add_done_callback(lambda done: done.cancelled() or done.exception())
        lost: asyncio.Future[Any] = self._lost
        await asyncio.wait({working, lost}, return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            working.cancel()
        return working.done() and not working.cancelled() and working.exception() is None

    async def close(self) -> None:
        """Sends what is left to send, and ends the connection."""
        self._leaving = True
        with contextlib.suppress(*TROUBLE):
            if self.client.is_connected:
                await self.client.flush(timeout=3)
        with contextlib.suppress(*TROUBLE):
            await asyncio.wait_for(self.client.close(), _PATIENCE)

    def _is_up(self) -> None:
        self.epoch += 1
        self._pause = _PAUSES[0]
        if self._lost.done():
            self._lost = asyncio.get_running_loop().create_future()
        self._up.set()

    async def _on_error(self, error: Exception) -> None:
        if "authorization" in str(error).lower() or isinstance(error, nats.errors.AuthorizationError):
            self._end(Refused(f"the broker at {self._shown} does not accept the credentials: {error}"))
        elif not self.client.is_connected:
            log.debug("the broker at %s is not there: %s", self._shown, error)
            # The client pauses as its options say; they are read before each try.
            self._pause = min(self._pause * 1.5, _PAUSES[1])
            self.client.options["reconnect_time_wait"] = self._pause
        else:
            log.warning("the broker says: %s", error)

    async def _on_disconnected(self) -> None:
        self._up.clear()
        self._end_waiting()
        if not self._leaving:
            log.warning("the connection to the broker is lost")

    async def _on_reconnected(self) -> None:
        self._is_up()
        log.info("connected to the broker again")
        for watcher in list(self._watchers):
            watcher()

    def _end_waiting(self) -> None:
        if not self._lost.done():
            self._lost.set_result(None)

    async def _on_closed(self) -> None:
        self._end_waiting()
        self._end(ConnectionError(f"the connection to the broker at {self._shown} is closed: {self.client.last_error}"))

    def _end(self, error: Exception) -> None:
        if not self.refused.done() and not self._leaving:
            self.refused.set_exception(error)
            # Whoever does not ask must not be told when it is collected.
            self.refused.exception()


def shown(url: str) -> str:
    """A server for people: without the user and the password that may stand in its URL."""
    rest = url.strip().rpartition("@")[2]
    return urlsplit(rest if "//" in rest else f"//{rest}").netloc


def _is_address(url: str) -> bool:
    """Whether the client can read it; what it says where it cannot has parts of the password."""
    parts = urlsplit(url.strip() if "//" in url else f"//{url.strip()}")
    try:
        return bool(parts.hostname) and parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        return False


def _login(options: Options) -> dict[str, Any]:
    who = options.credentials
    if who.file:
        _check(who.file, "NATS_CREDS")
        return {"user_credentials": who.file}
    if who.nkey:
        is_seed = who.nkey.startswith("S") and "/" not in who.nkey
        _check(None if is_seed else who.nkey, "NATS_NKEY")
        return {"nkeys_seed_str": who.nkey} if is_seed else {"nkeys_seed": who.nkey}
    if who.token:
        return {"token": who.token}
    return {"user": who.user, "password": who.password} if who.user else {}


def _check(path: str | None, name: str) -> None:
    """The client would only find out when it connects."""
    if importlib.util.find_spec("nkeys") is None:
        raise InvalidOptions(name, "this needs the package nkeys: pip install 'metafleet[nkeys]'")
    if path is not None and not os.access(path, os.R_OK):
        raise InvalidOptions(name, f"could not read {path}")


def _tls(options: Options) -> dict[str, Any]:
    if not options.ca and not options.certificate:
        return {}
    try:
        context = ssl.create_default_context(cafile=options.ca)
        if options.certificate:
            context.load_cert_chain(*options.certificate)
    except (OSError, ssl.SSLError) as error:
        raise InvalidOptions("NATS_CERT" if options.certificate else "NATS_CA", str(error)) from error
    return {"tls": context}
