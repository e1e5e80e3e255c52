"""Write a MetaFleet plugin in Python: a manifest, a `process` method, and one line of main."""

from .artifact import Artifact
from .context import AsyncContext, BaseContext, Context, File, Sidecar
from .main import ExitCode, run
from .manifest import InvalidManifest
from .options import InvalidOptions, Options
from .outcome import (
    Completed,
    Forward,
    Meta,
    Outcome,
    PermanentError,
    RetryableError,
    RetryLater,
    Skipped,
    TaskError,
)
from .plugin import Plugin, Settings
from .version import VERSION as __version__
from .wire import Manifest, Task
from .worker import Worker

__all__ = [
    "Artifact", "AsyncContext", "BaseContext", "Completed", "Context", "ExitCode", "File", "Forward", "InvalidManifest", "InvalidOptions",
    "Manifest", "Meta", "Options", "Outcome", "PermanentError", "Plugin", "RetryLater", "RetryableError", "Settings", "Sidecar",
    "Skipped", "Task", "TaskError", "Worker", "__version__", "run",
]
