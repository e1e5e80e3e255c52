"""Messages of the protocol, made by generate_types.py from broker-config/schema; do not edit."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

DataType = Literal["string", "json", "set"]
ConfigType = Literal["string", "select", "boolean", "number"]
Backoff = Literal["exponential", "fixed"]
OnDependencyFailure = Literal["run", "skip"]
AnnounceType = Literal["metafleet.announce.v1"]
InstanceId = str
RouteName = str
Lane = str
AnnounceReply = Union["AnnounceReplyAccepted", "AnnounceReplyRejected"]
InstanceType = Literal["metafleet.instance.v1"]
PluginId = str
InstanceState = Literal["starting", "ready", "paused", "draining", "failed"]
TaskId = str
Cid = str
Control = Union["ControlPause", "ControlResume", "ControlDrain", "ControlConfigure", "ControlAnnounce", "ControlPing"]


class DataField(TypedDict, total=False):
    """One key, or one family of keys, that a plugin writes."""

    label: str
    type: DataType
    readonly: bool
    pattern: str
    hint: str


class Filter(TypedDict, total=False):
    """Criteria that must all hold; an absent one always holds."""

    mimeTypes: list[str]
    extensions: list[str]
    minSize: int
    maxSize: int


class ConfigField(TypedDict, total=False):
    """One setting that a plugin asks for."""

    type: ConfigType
    label: str
    description: str
    required: bool
    secret: bool
    default: Any
    options: list[ConfigOption]


class _ConfigOption(TypedDict):
    value: str


class ConfigOption(_ConfigOption, total=False):
    """One choice of a `select`."""

    label: str


class RetryOptions(TypedDict, total=False):
    """The policy as a manifest or `plugins.yml` writes it."""

    maxAttempts: int
    backoff: Backoff
    initialDelay: int
    maxDelay: int
    delaysMs: list[int]


class _EntryPoint(TypedDict):
    main: str


class EntryPoint(_EntryPoint, total=False):
    """How to start a plugin as a process."""

    args: list[str]


class Manifest(TypedDict, total=False):
    """A plugin's description of itself, as written; see `Manifest` for the checks."""

    id: str
    name: str
    version: str
    priority: float
    queue: str
    dataSchema: dict[str, DataField]
    description: str
    author: str
    repository: str
    website: str
    license: str
    tags: list[str]
    type: str
    timeout: int
    progressTimeout: int
    dependencies: list[str]
    reads: list[str]
    filter: Filter
    configSchema: dict[str, ConfigField]
    retry: RetryOptions
    onDependencyFailure: OnDependencyFailure
    concurrency: int
    maxInFlight: int
    entryPoint: EntryPoint
    protocol: int
    minEngineVersion: str
    maxEngineVersion: str
    capabilities: dict[str, bool]
    permissions: list[str]
    ui: Any


class _Announce(TypedDict):
    type: AnnounceType
    instance: InstanceId
    manifest: Manifest


class Announce(_Announce, total=False):
    """The request on `mf.signal.<plugin>.announce`, sent once connected and after every reconnect."""

    host: str
    pid: int
    sdk: str
    lanes: bool
    route: RouteName


class FilesOffer(TypedDict):
    """Where an instance gets the bytes of files that it cannot see; `Debug` does not print the token."""

    url: str
    token: str


class _AnnounceReplyAccepted(TypedDict):
    status: Literal["accepted"]
    settings: dict[str, Any]
    leaseMs: int
    heartbeatMs: int
    maxPayload: int


class AnnounceReplyAccepted(_AnnounceReplyAccepted, total=False):
    """The plugin may pull its tasks once it has taken its settings."""

    concurrency: int
    paused: bool
    lane: Lane
    files: FilesOffer


class AnnounceReplyRejected(TypedDict):
    """The plugin may not serve; each reason says what to mend."""

    status: Literal["rejected"]
    reasons: list[str]


class _Running(TypedDict):
    taskId: TaskId
    cid: Cid
    forMs: int


class Running(_Running, total=False):
    """A task that an instance holds."""

    fraction: float


class Totals(TypedDict, total=False):
    """What an instance has done since its start."""

    started: int
    completed: int
    skipped: int
    failed: int
    retried: int
    deferred: int
    superseded: int
    busyMs: int
    fetchedBytes: int


class _Instance(TypedDict):
    type: InstanceType
    pluginId: PluginId
    instance: InstanceId
    state: InstanceState
    version: str


class Instance(_Instance, total=False):
    """The value of key `<plugin>.<instance>` in the bucket of instances."""

    error: str
    healthy: bool
    route: RouteName
    host: str
    pid: int
    startedAt: str
    at: str
    concurrency: int
    running: list[Running]
    totals: Totals


class ControlPause(TypedDict):
    """Pull nothing new; what runs goes on."""

    action: Literal["pause"]


class ControlResume(TypedDict):
    """Pull again."""

    action: Literal["resume"]


class ControlDrain(TypedDict):
    """Finish what runs, give back the rest, stop."""

    action: Literal["drain"]


class ControlConfigure(TypedDict):
    """Take new settings."""

    action: Literal["configure"]
    settings: dict[str, Any]


class ControlAnnounce(TypedDict):
    """Announce again."""

    action: Literal["announce"]


class ControlPing(TypedDict):
    """Answer."""

    action: Literal["ping"]


class _ControlReply(TypedDict):
    success: bool
    instance: InstanceId


class ControlReply(_ControlReply, total=False):
    """The answer to a `Control`."""

    error: str
