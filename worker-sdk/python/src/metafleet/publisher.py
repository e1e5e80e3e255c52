"""Publishes what must not be lost: until the stream has acknowledged it. Many at a time, over one inbox."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import time

from nats.aio.msg import Msg

from .link import TROUBLE, Link

log = logging.getLogger(__name__)

_ANSWER_WITHIN = 5.0
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
# Times a publish is tried while the broker is connected; it is waited for meanwhile.
_TRIES = 8
_WRONG_LAST_SEQUENCE = 10071
# A line of the header of a message: `: ` and the end of the line.
_PER_HEADER = 4
_HEADER_HEAD = len("NATS/1.0\r\n\r\n")


class TooLarge(Exception):
    """The message would never be stored."""


class Superseded(Exception):
    """The fence held: somebody else has written this record since."""


class NotStored(Exception):
    """The stream does not take it, or does not answer."""


class Publisher:
    """Belongs to the loop that talks to the broker."""

    def __init__(self, link: Link) -> None:
        self.most_bytes = 1 << 20
        """The largest message that the coordinator allows."""
        self._link = link
        self._inbox = ""
        self._tokens = itertools.count(1)
        # In the order in which they were sent, with the time of it.
        self._waiting: dict[str, tuple[float, asyncio.Future[bytes | None]]] = {}

    async def open(self) -> None:
        """Subscribes to the answers."""
        self._inbox = self._link.client.new_inbox()
        await self._link.client.subscribe(f"{self._inbox}.*", cb=self._on_answer)
        self._link.on_reconnect(self._forget_all)

    async def store(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Publishes until it is stored; waits while the broker is away. Only for what may be repeated without harm.

        Raises:
            TooLarge, Superseded, NotStored
        """
        size = len(body) + _HEADER_HEAD + sum(len(name) + len(text) + _PER_HEADER for name, text in headers.items())
        most = min(self.most_bytes, self._link.client.max_payload)
        if size > most:
            raise TooLarge(f"the message has {size} bytes, over {most}")
        pause = _FIRST_PAUSE
        for tries in range(1, _TRIES + 1):
            try:
                return await self._try(subject, body, headers)
            except Superseded:
                if tries == 1 or "Nats-Expected-Last-Subject-Sequence" not in headers:
                    raise
                # It may have been this very message, whose acknowledgement was lost.
                return None
            except NotStored as error:
                if tries == _TRIES:
                    raise
                log.debug("%s was not stored, trying again: %s", subject, error)
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise AssertionError("the last try returns or raises")

    async def _try(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        if not self._link.is_up:
            await self._link.connected()
        token = str(next(self._tokens))
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting[token] = time.monotonic(), answer
        try:
            try:
                await self._link.client.publish(subject, body, f"{self._inbox}.{token}", headers)
            except TROUBLE as error:
                raise NotStored(str(error)) from error
            data = await answer
        finally:
            self._waiting.pop(token, None)
        if data is None:
            raise NotStored(f"nobody answers within {_ANSWER_WITHIN} s")
        if b'"error"' in data or b'"seq"' not in data:
            _raise_error(data)

    async def _on_answer(self, msg: Msg) -> None:
        waiting = self._waiting.pop(msg.subject.rpartition(".")[2], None)
        if waiting is None or waiting[1].done():
            return
        status = (msg.headers or {}).get("Status")
        waiting[1].set_result(b'{"error":{"description":"nobody listens"}}' if status == "503" else msg.data)

    def look_for_overdue(self) -> None:
        """Gives up waiting for what should have been answered; called about every second."""
        long_ago = time.monotonic() - _ANSWER_WITHIN
        while self._waiting:
            token, (sent, answer) = next(iter(self._waiting.items()))
            if sent > long_ago:
                return
            del self._waiting[token]
            if not answer.done():
                answer.set_result(None)

    def _forget_all(self) -> None:
        """The connection is another one: answers to what was sent on the old one may never come."""
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_result(None)
        self._waiting.clear()


def _raise_error(data: bytes) -> None:
    try:
        error = json.loads(data)["error"]
        code, words = error.get("err_code"), error.get("description")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotStored(f"an answer that cannot be read: {data[:200]!r}") from None
    if code == _WRONG_LAST_SEQUENCE:
        raise Superseded(str(words))
    raise NotStored(f"{words} ({code})")
