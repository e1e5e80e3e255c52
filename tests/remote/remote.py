#!/usr/bin/env python3
"""What it costs to work on another host: bytes and seconds for the demo library (or `--library DIR`).

Three times the same files: by workers on this machine, by workers in a network namespace of their own that have the
library mounted elsewhere (METAFLEET_PATHS), and by workers there that do not have it (bytes by HTTP). Needs root, `ip`
and a staged build (`make build`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGE = ROOT / "target/stage"
PATIENCE = 300


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: ip {' '.join(arguments)}: {done.stderr.strip()} (this needs root)")


class Far:
    """A host of its own: a network namespace and one cable."""

    def __enter__(self) -> Far:
        number = secrets.randbelow(1 << 14)
        base = f"198.19.{number >> 6}"
        self.here, there = (f"{base}.{(number & 63) * 4 + n}" for n in (1, 2))
        self.name, near, distant = f"mfremote{os.getpid()}", f"mfr{number:04x}", f"mfs{number:04x}"
        ip("netns", "add", self.name)
        try:
            ip("link", "add", near, "type", "veth", "peer", "name", distant, "netns", self.name)
            ip("addr", "add", f"{self.here}/30", "dev", near)
            ip("link", "set", near, "up")
            ip("-n", self.name, "addr", "add", f"{there}/30", "dev", distant)
            ip("-n", self.name, "link", "set", distant, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        pids = subprocess.run(["ip", "netns", "pids", self.name], stdout=subprocess.PIPE, text=True)
        for pid in pids.stdout.split():
            subprocess.run(["kill", "-9", pid], stderr=subprocess.DEVNULL)
        ip("netns", "del", self.name)


def relay(here: str, port: int) -> int:
    """A door to the broker of this machine, at the address that the other host reaches."""
    door = socket.create_server((here, 0))

    def pump(source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve() -> None:
        while True:
            near, _ = door.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return door.getsockname()[1]


def until(what: str, look) -> object:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    sys.exit(f"error: {what} takes longer than {PATIENCE} s")


def run(home: Path, library: Path, way: str, far: Far) -> tuple[int, int, float]:
    """Processes the library in one way; returns records, bytes by HTTP and seconds."""
    data, none = home / way, home / "none"
    none.mkdir(exist_ok=True)
    env = dict(os.environ, METAFLEET_DATA_DIR=str(data))
    env["METAFLEET_PLUGIN_PATH"] = str(STAGE / "plugins" if way == "local" else none)
    program = str(STAGE / "bin/metafleet")

    def ask(*arguments: str) -> dict:
        done = subprocess.run([program, *arguments, "--output", "json"], env=env, capture_output=True, text=True)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    up = [program, "up", "--library", f"demo={library}"]
    if way != "local":
        up += ["--files-listen", f"{far.here}:0"]
    log = open(home / f"{way}.log", "w", encoding="utf-8")
    fleet = subprocess.Popen(up, env=env, stdout=log, stderr=log)
    workers: list[subprocess.Popen] = []
    try:
        until("the fleet", lambda: ask("status").get("coordinator"))
        begun = time.monotonic()
        plugins = in_order()
        ready = lambda: sum(p["ready"] > 0 for p in ask("status").get("plugins", []))  # noqa: E731
        if way != "local":
            url = json.loads((data / "fleet.json").read_text())["connection"]["url"]
            port = relay(far.here, int(re.search(r":(\d+)$", url).group(1)))
            for plugin in plugins:
                ask("plugin", "login", plugin)
                workers.append(start(home, library, plugin, way, far, port, data))
                until(plugin, lambda: ready() >= len(workers))
        until("the plugins", lambda: ready() >= len(plugins))
        subprocess.run([program, "scan", str(library), "--wait"], env=env, stdout=log, stderr=log)
        # The fleet scans its library as well.
        until("all files", lambda: is_quiet(ask("status")))
        seconds = time.monotonic() - begun
        time.sleep(6)  # the next signs of life say how many bytes have come
        shown = [ask("plugin", "show", plugin) for plugin in plugins]
        return ask("status")["records"], sum(member("fetchedBytes", one) for one in shown), seconds
    finally:
        for process in [*workers, fleet]:
            process.terminate()
        for process in [*workers, fleet]:
            process.wait()
        log.close()


def is_quiet(status: dict) -> bool:
    """Whether no file and no task is in hand."""
    files, tasks = status.get("files"), status.get("tasks")
    return bool(files and tasks) and not any([*files.values(), *tasks.values()])


def in_order() -> list[str]:
    """The staged plugins, each after those that it depends on: one that comes too early is not accepted."""
    needs = {}
    for path in (STAGE / "plugins").glob("*/*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        needs[manifest["id"]] = set(manifest.get("dependencies", []))
    ordered: list[str] = []
    while rest := sorted(set(needs) - set(ordered)):
        ordered += [plugin for plugin in rest if needs[plugin] <= set(ordered)] or rest
    return ordered


def member(name: str, value: object) -> int:
    """The sum of all members of this name in the totals of instances, wherever they are."""
    if isinstance(value, dict):
        totals = value.get("totals")
        own = totals.get(name, 0) if isinstance(totals, dict) else 0
        return own + sum(member(name, inner) for key, inner in value.items() if key != "totals")
    if isinstance(value, list):
        return sum(member(name, inner) for inner in value)
    return 0


def start(home: Path, library: Path, plugin: str, way: str, far: Far, port: int, data: Path) -> subprocess.Popen:
    folder = next((STAGE / "plugins" / plugin).iterdir())
    main = folder / json.loads((folder / "manifest.json").read_text())["entryPoint"]["main"]
    elsewhere = home / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    bind = 'mount --bind "$1" "$2" && ' if way == "mapped" else ""
    script = bind + 'mount -t tmpfs -o size=64k none "$1" && exec "$3"'
    env = {
        "PATH": os.environ["PATH"],
        "NATS_URL": f"nats://{far.here}:{port}",
        "NATS_USER": plugin,
        "NATS_PASSWORD": json.loads((data / "nats/users.json").read_text())["plugins"][plugin],
    }
    if way == "mapped":
        env["METAFLEET_PATHS"] = f"{library}={elsewhere}"
    command = ["ip", "netns", "exec", far.name, "sh", "-c", script, "sh", str(library), str(elsewhere), str(main)]
    with open(home / f"{way}-{plugin}.log", "w", encoding="utf-8") as log:
        return subprocess.Popen(command, env=env, stdout=log, stderr=log)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path, help="a folder of media [default: a small one is made]")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="metafleet-remote-"))
    try:
        library = arguments.library
        if library is None:
            library = home / "library"
            subprocess.run([sys.executable, ROOT / "tests/media/make_library.py", library], check=True)
        library = library.resolve()
        size = sum(path.stat().st_size for path in library.rglob("*") if path.is_file())
        print(f"{size} bytes in {library}")
        print(f"{'way':<8} {'records':>9} {'bytes by HTTP':>14} {'seconds':>8}")
        with Far() as far:
            for way in ("local", "mapped", "bytes"):
                records, fetched, seconds = run(home, library, way, far)
                print(f"{way:<8} {records:>9} {fetched:>14} {seconds:>8.1f}", flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
