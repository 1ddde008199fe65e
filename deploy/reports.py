"""What is heard of a hosted process."""

from __future__ import annotations

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
