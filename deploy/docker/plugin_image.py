#!/usr/bin/env python3
"""Makes the image of a plugin from its program alone: no registry, no Dockerfile, no base image.

    plugin_image.py NAME PROGRAM [--manifest FILE] [--permissions LIST] [--workdir DIR] [--add FILE ..]

The image holds the program, the shared libraries that `ldd` names, and in its root the files of `--add`, nothing else: no
shell, no package manager.
The manifest becomes a label, so that what the plugin wants is known before it is started.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import urllib.parse
from pathlib import Path

TIMEOUT = 120
USER = "65534:65534"


class Engine(http.client.HTTPConnection):
    """The engine's API, over its unix socket or TCP, as DOCKER_HOST says."""

    def __init__(self) -> None:
        self.address = urllib.parse.urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
        super().__init__(self.address.hostname or "docker", self.address.port or 80, timeout=TIMEOUT)

    def connect(self) -> None:
        if self.address.scheme != "unix":
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self.address.path)
        return None


def libraries(program: Path) -> list[Path]:
    """The shared libraries and the loader of a program; none for a static one."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return []
    words = [word for line in done.stdout.splitlines() for word in line.split()]
    if "not found" in done.stdout:
        sys.exit(f"error: {program} lacks a library:\n{done.stdout}")
    return sorted({Path(word) for word in words if word.startswith("/")})


def layer(program: Path, more: list[Path]) -> bytes:
    """All files of the image, as a tar archive; the same program gives the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:

        def add(name: str, source: Path | None, mode: int) -> None:
            entry = tarfile.TarInfo(name)
            entry.mode = mode
            if source is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
                return
            data = source.read_bytes()
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))

        add("tmp", None, 0o1777)
        add("program", program.resolve(), 0o755)
        for library in libraries(program.resolve()):
            add(str(library).lstrip("/"), library.resolve(), 0o755)
        for file in more:
            add(file.name, file, 0o644)
    return out.getvalue()


def changes(arguments: argparse.Namespace) -> list[str]:
    """Instructions of a Dockerfile that an import understands."""
    lines = ['ENTRYPOINT ["/program"]', f"USER {USER}"]
    if arguments.workdir:
        lines.append(f"WORKDIR {arguments.workdir}")
    labels = {}
    if arguments.manifest:
        manifest = json.loads(Path(arguments.manifest).read_text(encoding="utf-8"))
        labels["metafleet.plugin.manifest"] = json.dumps(manifest, separators=(",", ":"), ensure_ascii=False)
        labels["org.opencontainers.image.version"] = manifest["version"]
    if arguments.permissions is not None:
        labels["metafleet.plugin.permissions"] = arguments.permissions
    # A `$` would ask for a variable.
    quoted = {name: json.dumps(value, ensure_ascii=False).replace("$", "\\$") for name, value in labels.items()}
    return lines + [f"LABEL {name}={value}" for name, value in quoted.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("program", type=Path)
    parser.add_argument("--manifest")
    parser.add_argument("--permissions")
    parser.add_argument("--workdir")
    parser.add_argument("--add", type=Path, nargs="+", default=[])
    arguments = parser.parse_args()
    repo, _, tag = arguments.name.partition(":")
    query = [("fromSrc", "-"), ("repo", repo), ("tag", tag or "latest")]
    query += [("changes", line) for line in changes(arguments)]
    engine = Engine()
    engine.request("POST", f"/images/create?{urllib.parse.urlencode(query)}", layer(arguments.program, arguments.add),
                   {"Content-Type": "application/x-tar"})
    answer = engine.getresponse()
    said = answer.read().decode("utf-8", "replace")
    if answer.status != 200 or '"error"' in said:
        sys.exit(f"error: the engine does not make {arguments.name}: {said}")
    print(f"{repo}:{tag or 'latest'}")


if __name__ == "__main__":
    main()
