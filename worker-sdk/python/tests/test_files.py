"""Files that are not on this machine: read over HTTP from a small real server, and mapped paths."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from metafleet.aio import AsyncFile, in_thread
from metafleet.context import Context
from metafleet.files import Files
from metafleet.job import Cancel, Work
from metafleet.options import FilesOffer
from metafleet.outcome import RetryableError
from metafleet.paths import PathMap, path_fields

from .fleet import until

TOKEN = "hush"


class Server(ThreadingHTTPServer):
    """Gives out bytes as the coordinator does: token, ranges, ETag, If-Match."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[bytes, bytes] = {}
        self.etag: str | None = '"1"'
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.short_by = 0
        self.hold: threading.Event | None = None
        self.hold_at = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that gave up is part of a test."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/files"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server, wanted, match = self.server, self.headers["Range"], self.headers["If-Match"]
        server.requests.append((self.command, wanted, match))
        path = os.fsencode(parse_qs(urlsplit(self.path).query, errors="surrogateescape")["path"][0])
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401)
        if not path.startswith(b"/library/"):
            return self.answer(403)
        if path not in server.content:
            return self.answer(404)
        if match is not None and match != server.etag:
            return self.answer(412)
        body = server.content[path]
        if wanted is None:
            return self.answer(200, body)
        begin, end = map(int, wanted.removeprefix("bytes=").split("-"))
        if server.hold is not None and begin >= server.hold_at:
            server.hold.wait(20)
        if begin >= len(body):
            return self.answer(416)
        part = body[begin : end + 1]
        self.answer(206, part, {"Content-Range": f"bytes {begin}-{begin + len(part) - 1}/{len(body)}"})

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        version = {"ETag": self.server.etag} if self.server.etag is not None else {}
        for name, value in {**version, "Accept-Ranges": "bytes", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) - self.server.short_by] if self.server.short_by else body)
            self.close_connection = self.server.short_by > 0

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


class Remote(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.cancel, self.fetched, self.left = Cancel(), 0, 20.0

    @contextmanager
    def files(
        self, path: bytes, size: int = 0, paths: PathMap = PathMap(), token: str = TOKEN, offered: bool = True,
        copies: str | None = None,
    ) -> Iterator[Files]:
        task: Any = {**path_fields(path), "file": {"size": size}, "taskId": "t"}
        offer = FilesOffer(self.server.url, token) if offered else None
        files = Files(Work(task, "c", "p", "i", 1, 20, {}, paths, offer, copies), self.cancel, lambda: self.left, self.count)
        try:
            yield files
        finally:
            files.close()

    def count(self, octets: int) -> None:
        self.fetched += octets

    def test_bytes_come_in_pieces_of_one_version_and_can_be_sought(self) -> None:
        body = os.urandom(3_500_000)
        path = "/library/é \udcff?&%.bin".encode("utf-8", "surrogateescape")
        self.server.content[path] = body
        with self.files(path, len(body)) as files, files.open() as file:
            self.assertTrue(file.seekable())
            digest = hashlib.sha256()
            while piece := file.read(300_000):
                digest.update(piece)
            self.assertEqual(digest.digest(), hashlib.sha256(body).digest())
            self.assertEqual(file.seek(-10, os.SEEK_END), len(body) - 10)
            self.assertEqual(file.read(), body[-10:])
            file.seek(5)
            self.assertEqual(file.read(3), body[5:8])
        kinds = {(method, match) for method, _, match in self.server.requests}
        self.assertEqual(kinds, {("HEAD", None), ("GET", '"1"')})
        longest = max(int(r.split("-")[1]) - int(r.split("=")[1].split("-")[0]) + 1 for _, r, _ in self.server.requests if r)
        self.assertLessEqual(longest, 1 << 20)
        self.assertGreaterEqual(self.fetched, len(body))

    def test_empty_files_and_sidecars_are_read(self) -> None:
        self.server.content = {b"/library/s/e.mkv": b"", b"/library/s/e.srt": b"1\n", b"/library/tvshow.nfo": b"<tvshow/>"}
        with self.files(b"/library/s/e.mkv") as files:
            with files.open() as file, files.open_sidecar("e.srt") as sidecar:
                self.assertEqual((file.read(), sidecar.read()), (b"", b"1\n"))
            self.assertEqual(files.local_sidecar("../tvshow.nfo").read_bytes(), b"<tvshow/>")

    def test_a_copy_is_made_where_a_path_is_wanted_and_removed_at_the_end(self) -> None:
        body = os.urandom(2_000_000)
        self.server.content[b"/library/a.mkv"] = body
        with self.files(b"/library/a.mkv", len(body)) as files:
            copy = files.local_path()
            self.assertEqual((copy.read_bytes(), copy.suffix), (body, ".mkv"))
            self.assertEqual(files.local_path(), copy)
        self.assertFalse(copy.parent.exists())

    def test_what_is_here_is_not_fetched(self) -> None:
        (self.folder / "a.txt").write_bytes(b"here")
        here = PathMap.parse(b"/library=" + os.fsencode(self.folder))
        self.server.content[b"/library/a.txt"] = b"there!"
        with self.files(b"/library/a.txt", 4, here) as files:
            with files.open() as file:
                self.assertEqual(file.read(), b"here")
            self.assertEqual(files.local_path(), self.folder / "a.txt")
        self.assertEqual(self.server.requests, [])
        with self.files(b"/library/a.txt", 6, here) as files:
            with files.open() as file:
                self.assertEqual(file.read(), b"there!", "what is here has not the size that it should have")
        with self.files(b"/library/a.txt", 6, here, offered=False) as files, self.assertRaisesRegex(RetryableError, "has 4 bytes, but had 6 when it was found; a scan hands it in anew"):
            files.open()
        os.mkfifo(self.folder / "pipe")
        with self.files(b"/library/pipe", 0, here, offered=False) as files, self.assertRaisesRegex(RetryableError, "regular"):
            files.open()

    def test_refusals_are_told_with_advice(self) -> None:
        self.server.content = {b"/library/a": b"x"}
        for path, token, words in (
            (b"/library/a", "wrong", "METAFLEET_FILES_TOKEN"), (b"/etc/passwd-not", TOKEN, "METAFLEET_PATHS"), (b"/library/b", TOKEN, "no such file"),
        ):
            with self.files(path, 0, token=token) as files, self.assertRaisesRegex(RetryableError, words):
                files.open()

    def test_two_versions_never_mix(self) -> None:
        self.server.content[b"/library/a"] = b"1" * 3_000_000
        with self.files(b"/library/a") as files, files.open() as file:
            file.read(10)
            self.server.content[b"/library/a"], self.server.etag = b"2" * 3_000_000, '"2"'
            with self.assertRaisesRegex(RetryableError, "has changed"):
                file.read(2_500_000)

    def test_an_answer_without_a_version_is_refused(self) -> None:
        self.server.content[b"/library/a"] = b"1" * 1000
        for etag in (None, ""):
            self.server.etag = etag
            with self.files(b"/library/a") as files, self.assertRaisesRegex(RetryableError, "does not say which version it is"):
                files.open()

    def test_who_gives_up_a_copy_does_not_wait_for_it_and_nothing_is_left(self) -> None:
        self.server.content[b"/library/a.mkv"] = os.urandom(4 << 20)
        self.server.hold, self.server.hold_at = threading.Event(), 2 << 20
        self.addCleanup(self.server.hold.set)
        copies = self.folder / "copies"
        copies.mkdir()
        ended: list[BaseException] = []

        async def handle(files: Files) -> None:
            def copy() -> None:
                try:
                    files.local_path()
                except BaseException as error:
                    ended.append(error)
                    raise

            copying = in_thread(copy)
            await until("the copy", lambda: any(path.stat().st_size for path in copies.glob("*/*")))
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(copying, 0.01)
            began = time.monotonic()
            files.close()
            self.assertLess(time.monotonic() - began, 10, "it waits for the server, which is silent for longer than that")
            assert self.server.hold is not None
            self.server.hold.set()
            await until("the end of the copy", lambda: ended)

        with self.files(b"/library/a.mkv", copies=str(copies)) as files:
            asyncio.run(handle(files))
            self.assertRegex(str(ended[0]), "was ended")
            self.assertEqual(list(copies.iterdir()), [])
            asked = len(self.server.requests)
            with self.assertRaisesRegex(RetryableError, "was ended"):
                files.local_path()
            self.assertEqual(len(self.server.requests), asked)
        wanted = [wanted for _, wanted, _ in self.server.requests if wanted is not None]
        self.assertNotIn(f"bytes={3 << 20}-{(4 << 20) - 1}", wanted, "it went on")

    def test_what_is_first_copied_after_the_attempt_is_refused(self) -> None:
        task: Any = {**path_fields(b"/library/a"), "file": {"size": 0}, "taskId": "t"}
        self.server.content[b"/library/a"] = b"x"
        work = Work(task, "c", "p", "i", 1, 20, {}, PathMap(), FilesOffer(self.server.url, TOKEN), str(self.folder))
        ctx = Context(work, time.monotonic(), self.cancel, mock.Mock())
        ctx.close()
        with self.assertRaisesRegex(RetryableError, "was ended"):
            ctx.local_path()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_file_that_is_made_after_the_folder_was_removed_goes_as_well(self) -> None:
        self.server.content[b"/library/a.mkv"] = os.urandom(1000)
        copies = self.folder / "copies"
        copies.mkdir()
        with self.files(b"/library/a.mkv", copies=str(copies)) as files:
            made = files._made_folder

            def closed_meanwhile() -> str:
                folder = made()
                files.close()
                os.mkdir(folder)
                return folder

            with mock.patch.object(files, "_made_folder", closed_meanwhile), self.assertRaisesRegex(RetryableError, "was ended"):
                files.local_path()
            self.assertEqual(list(copies.iterdir()), [])

    def test_short_bodies_and_silence_are_failures(self) -> None:
        self.server.content[b"/library/a"] = b"1" * 1000
        self.server.short_by = 1
        with self.files(b"/library/a") as files, self.assertRaisesRegex(RetryableError, "999 of 1000 bytes|IncompleteRead"):
            files.open().read(1000)
        self.server.short_by, self.server.hold, self.left = 0, threading.Event(), 0.3
        began = time.monotonic()
        with self.files(b"/library/a") as files, self.assertRaisesRegex(RetryableError, "timed out"):
            files.open().read(1000)
        self.assertLess(time.monotonic() - began, 10)
        self.server.hold.set()
        self.cancel.set()
        with self.files(b"/library/a") as files, self.assertRaisesRegex(RetryableError, "was ended"):
            files.open()

    def test_async_files_do_not_block_the_loop(self) -> None:
        self.server.content[b"/library/a"] = b"0123456789"

        async def read() -> tuple[bytes, int]:
            with self.files(b"/library/a") as files:
                async with AsyncFile(files.open) as file:
                    await file.seek(4)
                    return await file.read(3), file.tell()

        self.assertEqual(asyncio.run(read()), (b"456", 7))


if __name__ == "__main__":
    unittest.main()
