"""What is heard of a hosted process."""

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
    """The role ended, or the process under it. final: starting it again cannot help."""

    name: str
    reason: str
    final: bool


Report = Alive | Ended


class Creation(enum.Enum):
    """What became of the wish that a process run: it was started, it ran already, or there is no node for it now."""

    STARTED = "started"
    FOUND = "found"
    NO_NODE = "no node"
