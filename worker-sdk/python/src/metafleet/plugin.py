"""What a plugin author implements."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, Literal, Union

from .wire import Manifest

Settings = Mapping[str, Any]
"""Values for the manifest's configSchema, defaults filled in."""


class Plugin:
    """A plugin: a manifest and `process`; everything else may be left as it is.

    Write `def process(self, ctx: Context)` for code that blocks: it runs in a thread, or with `executor = "process"`
    in a process. Or write `async def process(self, ctx: AsyncContext)`: it runs on the loop of the main thread. Either
    returns metadata, `Completed`, `Skipped`, `RetryLater` or `Forward`; what it raises fails the attempt.

    One value serves all tasks, several at the same time. With `executor = "process"` each process makes its own, by
    calling the class, or the factory that was given to `run`, without arguments.
    """

    manifest: ClassVar[Any] = None
    """A mapping, or the path of a JSON file. None: `manifest.json` beside the module of the class."""
    executor: ClassVar[Literal["thread", "process"]] = "thread"
    """Where a blocking `process` runs. A process that does not heed its deadline is killed; a thread cannot be."""
    process: Any
    """Looks at one file."""

    def configure(self, settings: Settings) -> Union[None, Awaitable[None]]:
        """Takes the settings, before the first task and whenever they change; what it raises refuses them."""
        return None

    def health(self) -> Union[str, None, Awaitable[Union[str, None]]]:
        """Says what is wrong with the plugin, every few seconds; None: nothing."""
        return None

    def on_pause(self) -> Union[None, Awaitable[None]]:
        """It gets no new tasks from now on."""
        return None

    def on_resume(self) -> Union[None, Awaitable[None]]:
        """It gets tasks again."""
        return None

    def on_stop(self) -> Union[None, Awaitable[None]]:
        """The worker has finished its tasks and ends."""
        return None


AnyManifest = Union[Manifest, Mapping[str, Any], str, "os.PathLike[str]", None]
