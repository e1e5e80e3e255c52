"""PURE. Whether an instance may serve, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from .names import MAIN
from .wire import InstanceState


@dataclass(frozen=True)
class Standing:
    """Everything that decides whether tasks are pulled."""

    configured: bool = False
    """Whether the plugin has taken or refused its settings."""
    refused: str | None = None
    """Why it refused them."""
    paused: bool = False
    draining: bool = False
    unhealthy: str | None = None
    """Why the plugin's own health check is not content."""
    places: int = 0
    """Tasks at once."""
    lane: str = MAIN
    """Whose tasks."""

    @property
    def state(self) -> InstanceState:
        """What the instance is doing."""
        if self.draining:
            return "draining"
        if not self.configured:
            return "starting"
        if self.refused is not None:
            return "failed"
        return "paused" if self.paused else "ready"

    @property
    def error(self) -> str | None:
        """What people should see."""
        return self.refused if self.state == "failed" else self.unhealthy

    @property
    def pulling(self) -> bool:
        """Whether to pull."""
        return self.state == "ready"
