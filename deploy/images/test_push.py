"""Images are pushed to a real registry; without an engine or a registry that is noted, and shows nothing."""

import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import build

NOTES = build.ROOT / "target/tmp/docker-tests"


def note(how: str) -> None:
    """The suite reads how many tests ran against an engine, and which have shown nothing."""
    NOTES.parent.mkdir(parents=True, exist_ok=True)
    with NOTES.open("a", encoding="utf-8") as notes:
        notes.write(f"{how}\n")


def lacking() -> str | None:
    """Why nothing can be shown on this machine."""
    if os.environ.get("METAFLEET_TEST_DOCKER") == "0":
        return "METAFLEET_TEST_DOCKER=0"
    try:
        build.needs_engine()
    except build.Missing as missing:
        return str(missing).splitlines()[0]
    return None if shutil.which("docker-registry") else "docker-registry is not installed"


class Push(unittest.TestCase):
    def registry(self, folder: Path) -> str:
        """Starts a registry; returns its address."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        settings = {"version": 0.1, "log": {"level": "error"}, "http": {"addr": address},
                    "storage": {"filesystem": {"rootdirectory": str(folder / "images")}}}
        (folder / "config.yml").write_text(json.dumps(settings))
        server = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait, 60)
        self.addCleanup(server.terminate)
        end = time.monotonic() + 60
        while self.asked(f"http://{address}/v2/") is None:
            self.assertLess(time.monotonic(), end, "the registry does not answer")
            time.sleep(0.1)
        return address

    def asked(self, url: str) -> dict | None:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return None

    def test_what_was_built_is_in_the_registry(self):
        if why := lacking():
            return note(f"skipped push ({why})")
        note("ran push")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        address = self.registry(Path(folder.name))
        with tarfile.open(Path(folder.name, "empty.tar"), "w"):
            pass
        tags = [f"{address}/metafleet-test-push/{name}" for name in ("coordinator:0.1.0", "plugin-ffmpeg:1.2.3")]
        for tag in tags:
            build.must(build.docker("import", str(Path(folder.name, "empty.tar")), tag), f"import {tag}")
            self.addCleanup(build.docker, "image", "rm", "--force", tag)

        build.push([build.Image(tag, "none", "none") for tag in tags])

        for tag in tags:
            name, _, version = tag.removeprefix(f"{address}/").rpartition(":")
            self.assertEqual(self.asked(f"http://{address}/v2/{name}/tags/list"), {"name": name, "tags": [version]})
        nowhere = build.Image(f"{address}/metafleet-test-push/not-built:1.0.0", "none", "none")
        with self.assertRaisesRegex(build.Problem, "could not push .*not-built"):
            build.push([nowhere])


class Names(unittest.TestCase):
    def test_a_push_wants_the_name_of_a_registry(self):
        for name, expected in (("metafleet", False), ("me/metafleet", False), ("registry.example/me", True), ("localhost/me", True),
                               ("127.0.0.1:5000/me", True), ("registry.example", False)):
            self.assertEqual(build.names_a_registry(name), expected, name)


if __name__ == "__main__":
    unittest.main()
