"""A broker, a coordinator and plugins for tests: real programs on free ports, in a folder that is thrown away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from metafleet.names import Names

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
LIMIT = 30.0
"""Seconds that anything may take; far more than it does."""
NOT_YET = (nats.js.errors.NotFoundError, nats.errors.TimeoutError, nats.errors.NoRespondersError)
"""What the broker says, or does not, before something is there, or while it is away itself."""


def program(variable: str) -> str:
    """A program that the environment names."""
    path = os.environ.get(variable, "")
    if not os.access(path, os.X_OK):
        raise AssertionError(f"set {variable} to the program (see worker-sdk/python/README.md); it is `{path}`")
    return path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def until(what: str, check: Callable[[], Any], limit: float = LIMIT) -> Any:
    """Waits until `check` (awaited where it can be) says something true; fails after the limit."""
    end = time.monotonic() + limit
    while True:
        said = check()
        if asyncio.iscoroutine(said):
            said = await said
        if said:
            return said
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        await asyncio.sleep(0.02)


class Process:
    """A program whose output goes to a file."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment},
            )

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    async def ends(self) -> int:
        """The exit code; minus the signal that killed it."""
        await until(f"the end of {self.child.args}\n{self.said()[-2000:]}", lambda: self.child.poll() is not None)
        return self.child.returncode

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    def stop(self) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.kill()
        self.child.wait(LIMIT)


class Fleet:
    """A nats-server, a coordinator, and what is started beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.names = Names()
        self.client: Client = Client()
        self._processes: list[Process] = []
        self._submitted = 0
        self.broker = self.start_broker()

    def start_broker(self) -> Process:
        configuration = self.folder / "nats.conf"
        store = json.dumps(str(self.folder / "js"))
        configuration.write_text(f'listen: "127.0.0.1:{self.port}"\nmax_payload: 4194304\njetstream {{ store_dir: {store} }}\n')
        self.broker = self.start("nats", [program("NATS_SERVER_BIN"), "-c", str(configuration)], {})
        return self.broker

    @contextlib.asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        """The broker does nothing meanwhile, and its connections stay."""
        self.broker.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.broker.signal(signal.SIGCONT)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> Process:
        """Starts a program that ends with the fleet."""
        process = Process(name, command, self.folder, environment)
        self._processes.append(process)
        return process

    def open(self) -> None:
        """Waits for the broker, and starts the coordinator."""
        self._wait("the broker", self.broker, self._can_connect)
        command = [program("METAFLEET_BIN"), "--data-dir", str(self.folder / "data"), "coordinator"]
        command += ["--api-listen", "127.0.0.1:0", "--kv-listen", "127.0.0.1:0"]
        self.coordinator = self.start("coordinator", command, {"NATS_URL": self.url})
        self._wait("the coordinator", self.coordinator, lambda: "the coordinator is up" in self.coordinator.said())

    def _wait(self, what: str, process: Process, check: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not check():
            if time.monotonic() > end or process.child.poll() is not None:
                raise AssertionError(f"{what} does not come up: {process.said()[-2000:]}")
            time.sleep(0.02)

    async def connect(self) -> None:
        """A connection on the loop that runs."""

        async def on_error(error: Exception) -> None:
            """The tests see for themselves what follows from it."""

        self.client = await nats.connect(self.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=on_error)

    def _can_connect(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as there:
            return there.recv(4) == b"INFO"
        return False

    def plugin(self, name: str, *arguments: str, folder: Path = HERE, **environment: str) -> Process:
        """Starts a program of a plugin, with the environment of its worker."""
        settings = {
            "NATS_URL": self.url, "METAFLEET_LOG": "debug", "PYTHONPATH": str(HERE.parent / "src"), "METAFLEET_GRACE": "20",
        }
        command = [sys.executable, str(folder / name), *arguments]
        return self.start(environment.get("METAFLEET_INSTANCE", name), command, {**settings, **environment})

    async def hand_in(self, path: Path | bytes, cid: str | None = None, headers: dict[str, str] | None = None, **more: Any) -> str:
        """Hands a file in as a text; returns its content id."""
        from metafleet.paths import path_fields

        octets = os.fsencode(path)
        self._submitted += 1
        cid = cid or f"file:{self._submitted}-{time.monotonic_ns()}"
        size = os.path.getsize(octets) if os.path.exists(octets) else 0
        facts = {"size": size, "mime": "text/plain", "name": os.path.basename(octets).decode(errors="replace")}
        body = {"type": "metafleet.submission.v1", "cid": cid, **path_fields(octets), "file": facts, **more}
        await self.client.jetstream().publish(self.names.submit("fast"), json.dumps(body).encode(), headers=headers)
        return cid

    async def record(self, plugin: str, cid: str) -> dict[str, Any]:
        """Waits for the record of a plugin on a file."""
        return (await self.record_message(plugin, cid))[0]

    async def record_message(self, plugin: str, cid: str) -> tuple[dict[str, Any], dict[str, str]]:
        async def look() -> Any:
            with contextlib.suppress(*NOT_YET):
                found = await self.client.jetstream().get_last_msg("KV_mf-records", self.names.record(plugin, cid))
                return json.loads(found.data or b"null"), found.headers or {}
            return None

        found: tuple[dict[str, Any], dict[str, str]] = await until(f"the record of {plugin} on {cid}", look)
        return found

    async def instance(self, plugin: str, instance: str, check: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Waits until the sign of life of an instance is so."""
        last: list[Any] = []

        async def look() -> Any:
            with contextlib.suppress(*NOT_YET):
                found = await self.client.jetstream().get_last_msg("KV_mf-instances", self.names.instance(plugin, instance))
                last[:] = [found.data]
                entry = json.loads(found.data or b"{}")
                return entry if entry and check(entry) else None
            return None

        try:
            entry: dict[str, Any] = await until(f"the sign of life of {instance}", look)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}") from error
        return entry

    async def ready(self, plugin: str, instance: str) -> dict[str, Any]:
        return await self.instance(plugin, instance, lambda entry: entry["state"] == "ready")

    async def tell(self, plugin: str, instance: str, **request: Any) -> dict[str, Any]:
        answer = await self.client.request(self.names.control(plugin, instance), json.dumps(request).encode(), timeout=LIMIT)
        reply: dict[str, Any] = json.loads(answer.data)
        return reply

    def close(self) -> None:
        for process in reversed(self._processes):
            process.stop()

    def end(self, plugins: list[Process]) -> None:
        """Ends the plugins of one test."""
        for process in plugins:
            process.stop()
            self._processes.remove(process)


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="metafleet-sdk-") as folder:
        it = Fleet(Path(folder))
        try:
            it.open()
            yield it
        finally:
            it.close()
