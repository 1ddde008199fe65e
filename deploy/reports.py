"""The state of a hosted process, as last reported."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Alive:
    """The process gave a sign of life. pid: its id."""

    name: str
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The role or its process ended. final: a new start cannot help."""

    name: str
    reason: str
    final: bool


Report = Alive | Ended


class Creation(enum.Enum):
    """The outcome of Launcher.create: the process was started, it ran already, or there is no node for it now."""

    STARTED = "started"
    FOUND = "found"
    NO_NODE = "no node"
