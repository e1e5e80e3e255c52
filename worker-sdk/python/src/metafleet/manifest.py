"""The manifest of a plugin: where it is found, and what follows from it."""

from __future__ import annotations

import inspect
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from .names import is_plugin_id
from .wire import ConfigField, Manifest


class InvalidManifest(Exception):
    """The manifest cannot be read, or lacks what a worker needs to speak for it."""


def load(source: object, owner: type) -> Manifest:
    """Takes a manifest, or reads it at the path; without either from `manifest.json` beside the module of `owner`.

    The coordinator checks it when it is announced, and names everything that is wrong; here only what a worker
    cannot do without.

    Raises:
        InvalidManifest: it is not there or cannot be used.
    """
    if source is None:
        source = _beside(owner)
    if isinstance(source, (str, os.PathLike)):
        source = _read(Path(source))
    if not isinstance(source, Mapping):
        raise InvalidManifest("the manifest must be a mapping, or the path of a JSON file")
    for name in ("id", "version"):
        if not isinstance(source.get(name), str):
            raise InvalidManifest(f"the manifest lacks `{name}`")
    if not is_plugin_id(source["id"]):
        raise InvalidManifest(f"`{source['id']}` is not the id of a plugin: 1 to 64 of a-z, 0-9 and -, and neither `user` nor `coordinator`")
    return cast(Manifest, {name: value for name, value in source.items() if name != "$schema"})


def _beside(owner: type) -> Path:
    module = sys.modules.get(owner.__module__)
    file = getattr(module, "__file__", None) or inspect.getsourcefile(owner)
    if file is None:
        raise InvalidManifest(f"{owner.__qualname__} has no manifest, and there is no file to look for it beside")
    return Path(file).resolve().parent / "manifest.json"


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidManifest(f"could not read the manifest {path}: {error}") from error


def settings_of(manifest: Manifest, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a coordinator would send: those given, in the declared kinds, and the defaults.

    Raises:
        ValueError: with all that does not fit, by name and never by value.
    """
    schema = manifest.get("configSchema") or {}
    settings: dict[str, Any] = {}
    problems = [f"{name}: is not a setting" for name in given if name not in schema]
    for name, declared in schema.items():
        value = given.get(name, declared.get("default"))
        if value is None:
            if declared.get("required"):
                problems.append(f"{name}: is required")
            continue
        fits, settings[name] = _converted(value, declared)
        if not fits:
            problems.append(f"{name}: must be a {declared.get('type', 'string')}")
    if problems:
        raise ValueError("; ".join(problems))
    return settings


def _converted(value: object, declared: ConfigField) -> tuple[bool, Any]:
    kind = declared.get("type", "string")
    if kind == "boolean":
        known = {"true": True, "false": False}
        return (True, value) if isinstance(value, bool) else (value in known, known.get(str(value)))
    if kind == "number":
        return _number(value)
    if kind == "select":
        choices = [option["value"] for option in declared.get("options", [])]
        return value in choices or value == "", value
    return isinstance(value, str), value


def _number(value: object) -> tuple[bool, Any]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return math.isfinite(value), value
    try:
        number = float(str(value))
    except ValueError:
        return value == "", value
    return math.isfinite(number), int(number) if number.is_integer() else number
