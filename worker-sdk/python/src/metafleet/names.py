"""PURE. Names of streams, subjects and consumers, and the rules for the ids in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from .codec import InvalidToken, decode, encode
from .wire import Queue

QUEUES: tuple[Queue, Queue] = ("fast", "background")
MAIN = "main"
NEXT = "next"

_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?")
_PLUGIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,128}")


def other(queue: Queue) -> Queue:
    """The other one of the two queues."""
    return "background" if queue == "fast" else "fast"


def is_prefix(text: str) -> bool:
    """Whether a fleet may have this prefix."""
    return _PREFIX.fullmatch(text) is not None


def is_plugin_id(text: str) -> bool:
    """Whether a plugin may have this id."""
    return _PLUGIN.fullmatch(text) is not None and text not in ("user", "coordinator")


def is_instance_id(text: str) -> bool:
    """Whether a process may have this name."""
    return _INSTANCE.fullmatch(text) is not None


def is_route(text: str) -> bool:
    """Whether a route may have this name."""
    return _PREFIX.fullmatch(text) is not None and text not in (MAIN, NEXT)


class Address(NamedTuple):
    """Which task a message is, as its subject says."""

    queue: Queue
    plugin: str
    lane: str
    cid: str
    token: str
    """The content id as it stands in the subject."""


@dataclass(frozen=True)
class Names:
    """The names of one fleet."""

    prefix: str = "mf"

    @property
    def _upper(self) -> str:
        return self.prefix.upper().replace("-", "_")

    def task_stream(self) -> str:
        """The stream of tasks."""
        return f"{self._upper}_TASKS"

    def pull(self, plugin: str, lane: str, queue: Queue) -> str:
        """Where tasks are asked for."""
        return f"$JS.API.CONSUMER.MSG.NEXT.{self.task_stream()}.{consumer(plugin, lane, queue)}"

    def submit(self, queue: Queue) -> str:
        """Where a file is handed in."""
        return f"{self.prefix}.submit.{queue}"

    def task(self, queue: Queue, plugin: str, cid: str, lane: str = MAIN) -> str:
        """The subject of a task."""
        return f"{self.prefix}.task.{queue}.{in_lane(plugin, lane)}.{encode(cid)}"

    def record(self, plugin: str, cid: str, *, trial: bool = False) -> str:
        """Where the outcome of a plugin on a file goes; that of a trial is no record."""
        return self.record_of_token(plugin, encode(cid), trial=trial)

    def record_of_token(self, plugin: str, token: str, *, trial: bool = False) -> str:
        """The same, for a content id that is encoded already."""
        return f"$KV.{self.prefix}-records.{token}.{in_lane(plugin, NEXT if trial else MAIN)}"

    def artifact(self, plugin: str, cid: str, name: str, *, trial: bool = False) -> str:
        """Where a plugin keeps something that it made of a file; also what a trial makes has a place of its own."""
        return self.artifact_of_token(plugin, encode(cid), name, trial=trial)

    def artifact_of_token(self, plugin: str, token: str, name: str, *, trial: bool = False) -> str:
        """The same, for a content id that is encoded already."""
        return f"$KV.{self.prefix}-artifacts.{token}.{in_lane(plugin, NEXT if trial else MAIN)}.{encode(name)}"

    def signal(self, plugin: str, kind: str) -> str:
        """Where a worker reports something."""
        return f"{self.prefix}.signal.{plugin}.{kind}"

    def instance(self, plugin: str, instance: str) -> str:
        """Where an instance shows its sign of life."""
        return f"$KV.{self.prefix}-instances.{plugin}.{instance}"

    def control(self, plugin: str, instance: str | None = None) -> str:
        """Where a plugin, or one instance of it, is told what to do."""
        return ".".join(filter(None, (f"{self.prefix}.control", plugin, instance)))

    def parse_task(self, subject: str) -> Address | None:
        """Reads the subject of a task; None if it is none of this fleet."""
        tokens = subject.split(".")
        if len(tokens) != 5 or tokens[0] != self.prefix or tokens[1] != "task":
            return None
        queue = QUEUES[0] if tokens[2] == "fast" else QUEUES[1] if tokens[2] == "background" else None
        plugin, _, lane = tokens[3].partition("_")
        if queue is None or not is_plugin_id(plugin):
            return None
        try:
            return Address(queue, plugin, lane or MAIN, decode(tokens[4]), tokens[4])
        except InvalidToken:
            return None


def in_lane(plugin: str, lane: str) -> str:
    """The token of a plugin in a lane; no plugin id holds `_`."""
    return plugin if lane == MAIN else f"{plugin}_{lane}"


def consumer(plugin: str, lane: str, queue: Queue) -> str:
    """The consumer of a plugin's tasks in a queue."""
    return f"{in_lane(plugin, lane)}_{queue}"
