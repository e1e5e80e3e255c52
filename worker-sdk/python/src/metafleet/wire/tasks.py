"""Messages of the protocol, made by generate_types.py from broker-config/schema; do not edit."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

TaskType = Literal["metafleet.task.v1"]
TaskId = str
RunId = int
PluginId = str
Cid = str
MetaValue = Any
Lane = str
RecordType = Literal["metafleet.record.v1"]
RecordStatus = Literal["completed", "skipped", "failed"]
InstanceId = str
MetaKey = str
SignalType = Literal["metafleet.signal.v1"]
Queue = Literal["fast", "background"]
Signal = Union["SignalFailed", "SignalRetrying", "SignalDeferred", "SignalProgress"]
SubmissionType = Literal["metafleet.submission.v1"]


class FileFacts(TypedDict, total=False):
    """What the finder of a file says about it; filters decide on these."""

    size: int
    mime: str
    name: str
    extension: str
    modified: str
    sidecars: list[Sidecar]


class Sidecar(TypedDict, total=False):
    """A file beside another one that describes or completes it: subtitles, `.nfo`."""

    name: str
    size: int
    modified: str


class RetryPolicy(TypedDict):
    """How often and after which delays a task is tried; part of every task."""

    maxAttempts: int
    delaysMs: list[int]


class _Task(TypedDict):
    type: TaskType
    taskId: TaskId
    runId: RunId
    pluginId: PluginId
    cid: Cid
    filePath: str
    fingerprint: str
    deadlineMs: int
    retry: RetryPolicy


class Task(_Task, total=False):
    """The body of a message on `mf.task.<queue>.<plugin>.<cid>`."""

    filePathBytes: str
    file: FileFacts
    existingMeta: dict[str, MetaValue]
    recordRevision: int
    progressTimeoutMs: int
    pluginVersion: str
    lane: Lane
    trial: bool
    depth: int
    scanId: str


class _Record(TypedDict):
    type: RecordType
    taskId: TaskId
    pluginId: PluginId
    cid: Cid
    status: RecordStatus


class Record(_Record, total=False):
    """The value of key `<cid>.<plugin>` in the bucket of records."""

    durationMs: int
    attempt: int
    pluginVersion: str
    fingerprint: str
    finishedAt: str
    instance: InstanceId
    error: str
    reason: str
    meta: dict[str, MetaValue]
    hidden: list[MetaKey]


class SignalFailed(TypedDict):
    """There is no further attempt. Sent, and acknowledged by the stream, before the task is."""

    type: SignalType
    taskId: TaskId
    cid: Cid
    queue: Queue
    attempt: int
    instance: InstanceId
    at: str
    kind: Literal["failed"]
    error: str
    permanent: bool
    durationMs: int
    task: Task


class SignalRetrying(TypedDict):
    """The attempt failed and the task comes again after a delay."""

    type: SignalType
    taskId: TaskId
    cid: Cid
    queue: Queue
    attempt: int
    instance: InstanceId
    at: str
    kind: Literal["retrying"]
    error: str
    delayMs: int
    durationMs: int


class SignalDeferred(TypedDict):
    """The task is to be published again after a delay. Sent, and acknowledged by the stream."""

    type: SignalType
    taskId: TaskId
    cid: Cid
    queue: Queue
    attempt: int
    instance: InstanceId
    at: str
    kind: Literal["deferred"]
    reason: str
    delayMs: int
    attemptsUsed: int
    task: Task


class SignalProgress(TypedDict):
    """The task has got on."""

    type: SignalType
    taskId: TaskId
    cid: Cid
    queue: Queue
    attempt: int
    instance: InstanceId
    at: str
    kind: Literal["progress"]
    fraction: float
    note: str


class _Submission(TypedDict):
    type: SubmissionType
    cid: Cid
    filePath: str


class Submission(_Submission, total=False):
    """The body of a message on `mf.submit.<queue>`."""

    filePathBytes: str
    file: FileFacts
    only: list[PluginId]
    force: bool
    rerun: list[PluginId]
    overrideQueue: bool
    scanId: str
    origin: PluginId
    depth: int
