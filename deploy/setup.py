#!/usr/bin/env python3
"""Prepares what compose.yaml needs beside its images: keys, the logins of the broker, folders for data, and .env.

Run it as often as you like: keys and data that are there stay as they are, and a plugin that is new gets a key.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
COORDINATOR = "coordinator"
# The official image, else the one that images/build.py makes; both have wget for the health check.
NATS_OFFICIAL, NATS_LOCAL = "nats:2.15.1-alpine", "metafleet/nats:2.15.1"
# Whoever is root runs the containers as this user, as which the images run by themselves.
NOBODY_ELSE = 65532
USER_PREFIX, SEED_PREFIX = 20 << 3, 18 << 3


class Problem(Exception):
    """What is wrong, and what to do about it."""


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM, the checksum of nkeys."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def text_of(raw: bytes) -> str:
    """An nkey as text."""
    return base64.b32encode(raw + crc16(raw).to_bytes(2, "little")).decode().rstrip("=")


def seed_text(seed: bytes) -> str:
    return text_of(bytes([SEED_PREFIX | USER_PREFIX >> 5, (USER_PREFIX & 31) << 3]) + seed)


def public_text(public: bytes) -> str:
    return text_of(bytes([USER_PREFIX]) + public)


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    if not shutil.which("openssl"):
        raise Problem("openssl is not installed; on Debian or Ubuntu: apt-get install openssl (as root)")
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise Problem(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def new_key() -> tuple[str, str]:
    """An Ed25519 key as an nkey: the seed, which is the secret, and the public part."""
    private = openssl("genpkey", "-algorithm", "ed25519", "-outform", "DER")
    public = openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", given=private)
    # Both formats end with the 32 bytes that count.
    return seed_text(private[-32:]), public_text(public[-32:])


def permissions(plugin: str, prefix: str = "mf") -> tuple[list[str], list[str]]:
    """What a plugin may publish and subscribe to: what PROTOCOL.md says, and of that its own only."""
    tasks = prefix.upper().replace("-", "_") + "_TASKS"
    # The second is the lane of a version that is tried.
    lanes = (plugin, f"{plugin}_next")
    consumers = [f"{lane}_{queue}" for lane in lanes for queue in ("fast", "background")]
    publish = [f"$JS.API.CONSUMER.{call}.{tasks}.{consumer}" for call in ("MSG.NEXT", "INFO") for consumer in consumers]
    # Exactly so many tokens: more of them could be the longer form of an answer to another plugin's tasks.
    publish += [f"$JS.ACK.{tasks}.{consumer}.*.*.*.*.*" for consumer in consumers]
    # The longer form begins with the domain, of which there is none; a wildcard there would match answers to other plugins' tasks.
    publish += [f"$JS.ACK._.*.{tasks}.{consumer}.>" for consumer in consumers]
    publish += [f"$KV.{prefix}-records.*.{lane}" for lane in lanes]
    publish += [f"$KV.{prefix}-artifacts.*.{lane}.*" for lane in lanes]
    publish += [f"$KV.{prefix}-instances.{plugin}.*",
                f"{prefix}.signal.{plugin}.>", f"{prefix}.submit.>", "_INBOX.>"]
    return publish, ["_INBOX.>", f"{prefix}.control.{plugin}", f"{prefix}.control.{plugin}.*"]


def users_conf(public: dict[str, str]) -> str:
    """The logins of the broker. There is no secret in it: it holds public keys."""
    lines = ["# Written by deploy/setup.py; changes are lost.", "authorization {", "  users: ["]
    for name, key in sorted(public.items()):
        if name == COORDINATOR:
            lines.append(f"    {{ nkey: {key} }} # {name}: everything")
            continue
        publish, subscribe = (", ".join(map(json.dumps, subjects)) for subjects in permissions(name))
        lines += [f"    {{ nkey: {key}, permissions: {{ # {name}", f"      publish: {{ allow: [{publish}] }}",
                  f"      subscribe: {{ allow: [{subscribe}] }}", "    } }"]
    return "\n".join([*lines, "  ]", "}", ""])


def owner() -> tuple[int, int]:
    """As whom the containers run: the person, also under sudo."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    return int(os.environ.get("SUDO_UID", NOBODY_ELSE)), int(os.environ.get("SUDO_GID", NOBODY_ELSE))


def folder(path: Path, mode: int, who: tuple[int, int]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    give(path, who)


def give(path: Path, who: tuple[int, int]) -> None:
    if os.geteuid() == 0:
        os.chown(path, *who)


def write(path: Path, text: str, mode: int, who: tuple[int, int]) -> None:
    """Writes a file in one step; nobody else can read it at any moment."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.chmod(mode)
    give(new, who)
    os.replace(new, path)


def keys(state: Path, names: list[str], who: tuple[int, int]) -> dict[str, str]:
    """The public keys by name; makes the keys that are missing."""
    known = {}
    for name in names:
        secret, shown = state / "keys" / f"{name}.nk", state / "keys" / f"{name}.pub"
        if not (secret.is_file() and shown.is_file()):
            seed, public = new_key()
            write(shown, public + "\n", 0o644, who)
            write(secret, seed + "\n", 0o400, who)
        known[name] = shown.read_text(encoding="utf-8").strip()
    return known


def merged_env(old: str, new: dict[str, str]) -> str:
    """The lines of .env with these values; all other lines stay."""
    kept = [line for line in old.splitlines() if line.split("=", 1)[0] not in new]
    return "\n".join([*kept, *(f"{name}={value}" for name, value in new.items())]) + "\n"


def nats_image() -> str:
    """The local image when only that is there."""
    def has(image: str) -> bool:
        try:
            return subprocess.run(["docker", "image", "inspect", image], capture_output=True, timeout=30, check=False).returncode == 0
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return False
    return NATS_LOCAL if not has(NATS_OFFICIAL) and has(NATS_LOCAL) else NATS_OFFICIAL


def plugin_ids() -> list[str]:
    crates = (path.parent for path in sorted(HERE.parent.glob("plugins/*/Cargo.toml")))
    return [json.loads((crate / "manifest.json").read_text(encoding="utf-8"))["id"] for crate in crates]


def prepare(args: argparse.Namespace) -> dict[str, str]:
    who, state = owner(), args.state.resolve()
    folder(state, 0o755, who)
    folder(state / "keys", 0o700, who)
    folder(state / "nats", 0o700, who)
    folder(state / "coordinator", 0o700, who)
    write(state / "users.conf", users_conf(keys(state, [COORDINATOR, *plugin_ids()], who)), 0o644, who)
    env = {"METAFLEET_UID": str(who[0]), "METAFLEET_GID": str(who[1]), "METAFLEET_STATE": str(state),
           "NATS_IMAGE": args.nats_image or nats_image()}
    if args.library:
        if not args.library.is_dir():
            raise Problem(f"{args.library} is not a folder")
        env["LIBRARY"] = str(args.library.resolve())
    return env


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=Path, help="the folder with your files; otherwise set LIBRARY yourself")
    parser.add_argument("--state", type=Path, default=HERE / "state", help="where keys and data are kept")
    parser.add_argument("--env", type=Path, default=HERE / ".env", help="where compose reads its variables from")
    parser.add_argument("--nats-image", help="the broker's image")
    args = parser.parse_args()
    try:
        env = prepare(args)
        old = args.env.read_text(encoding="utf-8") if args.env.exists() else ""
        write(args.env, merged_env(old, env), 0o644, owner())
    except (Problem, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(f"prepared {args.state} and {args.env}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
