"""PURE, but for the files that hold secrets. What a worker is told by its environment."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .names import is_instance_id, is_plugin_id, is_prefix, is_route
from .paths import InvalidPathMap, PathMap
from .share import Policy

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|)")


class InvalidOptions(Exception):
    """A variable of the environment has a value that cannot be used; never says the value of a secret."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


@dataclass(frozen=True)
class Credentials:
    """How a worker proves to the broker who it is; the first of these that is there counts."""

    file: str | None = field(default=None, repr=False)
    nkey: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class FilesOffer:
    """Where the bytes of files can be read that are not on this machine."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Options:
    """What a worker is told from outside; see the README for the variables."""

    url: str = "nats://127.0.0.1:4222"
    credentials: Credentials = Credentials()
    ca: str | None = None
    certificate: tuple[str, str] | None = None
    prefix: str = "mf"
    plugin: str | None = None
    instance: str | None = None
    route: str | None = None
    concurrency: int | None = None
    policy: Policy = Policy.SHARE
    grace: float = 30.0
    paths: PathMap = PathMap()
    files_url: str | None = None
    files_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Options:
        """Reads the environment; an empty variable counts as absent.

        Raises:
            InvalidOptions: for the first variable whose value cannot be used.
        """
        get = _reader(environment)
        return cls(
            url=get("NATS_URL") or cls.url,
            credentials=_credentials(get),
            ca=get("NATS_CA"),
            certificate=_certificate(get),
            prefix=_named(get, "METAFLEET_PREFIX", is_prefix) or cls.prefix,
            plugin=_named(get, "METAFLEET_PLUGIN", is_plugin_id),
            instance=_named(get, "METAFLEET_INSTANCE", is_instance_id),
            route=_named(get, "METAFLEET_ROUTE", is_route),
            concurrency=_count(get, "METAFLEET_CONCURRENCY"),
            policy=_policy(get("METAFLEET_QUEUES")),
            grace=_grace(get("METAFLEET_GRACE")),
            paths=_paths(environment.get("METAFLEET_PATHS", "")),
            files_url=_files_url(get("METAFLEET_FILES_URL")),
            files_token=_secret(get, "METAFLEET_FILES_TOKEN"),
        )


_Get = Callable[[str], "str | None"]


def _reader(environment: Mapping[str, str]) -> _Get:
    return lambda name: environment.get(name, "").strip() or None


def _credentials(get: _Get) -> Credentials:
    return Credentials(
        file=get("NATS_CREDS"),
        nkey=get("NATS_NKEY"),
        token=_secret(get, "NATS_TOKEN"),
        user=get("NATS_USER"),
        password=_secret(get, "NATS_PASSWORD") or "",
    )


def _secret(get: _Get, name: str) -> str | None:
    """A secret, or the content of the file that is named: who sees the environment does not see that."""
    if (value := get(name)) is not None:
        return value
    if (path := get(f"{name}_FILE")) is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOptions(f"{name}_FILE", f"could not read {path}: {error}") from error


def _certificate(get: _Get) -> tuple[str, str] | None:
    certificate, key = get("NATS_CERT"), get("NATS_KEY")
    if certificate and key:
        return certificate, key
    if certificate or key:
        there, missing = ("NATS_CERT", "NATS_KEY") if certificate else ("NATS_KEY", "NATS_CERT")
        raise InvalidOptions(there, f"{missing} must be set, too")
    return None


def _named(get: _Get, name: str, is_valid: Callable[[str], bool]) -> str | None:
    text = get(name)
    if text is not None and not is_valid(text):
        raise InvalidOptions(name, f"`{text}` is not a name that this can have")
    return text


def _count(get: _Get, name: str) -> int | None:
    text = get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000):
        raise InvalidOptions(name, f"`{text}` must be a whole number, at least 1")
    return int(text)


def _policy(text: str | None) -> Policy:
    try:
        return Policy(text or "share")
    except ValueError:
        raise InvalidOptions("METAFLEET_QUEUES", f"`{text}` must be `share` or `strict`") from None


def _grace(text: str | None) -> float:
    if text is None:
        return Options.grace
    found = _DURATION.fullmatch(text)
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else math.inf
    if not math.isfinite(seconds):
        raise InvalidOptions("METAFLEET_GRACE", f"`{text}` must be seconds, e.g. `30`, `30s` or `500ms`")
    return seconds


def _paths(text: str) -> PathMap:
    try:
        return PathMap.parse(os.fsencode(text))
    except InvalidPathMap as error:
        raise InvalidOptions("METAFLEET_PATHS", str(error)) from error


def _files_url(text: str | None) -> str | None:
    if text is not None and not re.match(r"https?://[^/?#@]+", text):
        raise InvalidOptions("METAFLEET_FILES_URL", "it must be like `http://host:port/files`")
    return text
