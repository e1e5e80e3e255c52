"""A way to the broker that can be cut."""

from __future__ import annotations

import asyncio
import contextlib


class Proxy:
    """Stands between one client and the broker."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._cut = False
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.url = ""
        self.lost = ""
        """What the client publishes on subjects that hold this does not arrive."""
        self.swallowed = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Closes what goes over it, and lets nobody in."""
        self._cut = True
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def heal(self) -> None:
        """Lets them in again."""
        self._cut = False

    def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._cut:
            return to_client.close()
        broker, to_broker = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [to_client, to_broker]
        await asyncio.gather(self._pass_lines(client, to_broker), _pass(broker, to_client))
        return None

    async def _pass_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries what the client says, but for what gets lost."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                words = line.split()
                if words and words[0].upper() in (b"PUB", b"HPUB"):
                    line += await reader.readexactly(int(words[-1]) + 2)
                    if self.lost and self.lost in words[1].decode():
                        self.swallowed += 1
                        continue
                writer.write(line)
                await writer.drain()
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carries what one side says until either ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
