"""Space on the file system of the data folder, and whether it is enough for more points.

The decision is pure and has hysteresis, so that a worker at the bound does not switch back and forth. Deletes are never
refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shoal.shard_worker.storage.failure import read_failure


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceLimits:
    """Used parts of the file system, 0-1.

    Upserts are refused from `refuse_at` on, and accepted again at `resume_at` or less.
    """

    refuse_at: float = 0.90
    resume_at: float = 0.85

    def __post_init__(self) -> None:
        if not 0 < self.resume_at <= self.refuse_at <= 1:
            raise ValueError(f"resume_at {self.resume_at} and refuse_at {self.refuse_at} must hold 0 < resume_at <= refuse_at <= 1")


DEFAULT_SPACE_LIMITS = SpaceLimits()


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskSpace:
    """used_bytes and free_bytes as an ordinary user sees them: bytes reserved for root count as neither."""

    used_bytes: int
    free_bytes: int

    @property
    def size_bytes(self) -> int:
        """Return the size of the disk."""
        return self.used_bytes + self.free_bytes

    @property
    def used(self) -> float:
        """Return the used part, 0-1; a file system without any space counts as full."""
        return self.used_bytes / self.size_bytes if self.size_bytes else 1.0


@dataclass(frozen=True, slots=True)
class Roomy:
    """Upserts are accepted."""


@dataclass(frozen=True, slots=True)
class Full:
    """Upserts are refused. reason: text for the error."""

    reason: str


SpaceState = Roomy | Full


def judge_space(space: DiskSpace, before: SpaceState, limits: SpaceLimits = DEFAULT_SPACE_LIMITS) -> SpaceState:
    """Decide whether upserts are accepted, from the current space and the previous state."""
    refusing = isinstance(before, Full)
    if space.used < limits.refuse_at and not (refusing and space.used > limits.resume_at):
        return Roomy()
    return Full(
        f"disk full: {space.used:.1%} of it is in use; upserts are refused from {limits.refuse_at:.0%} on until it is "
        f"{limits.resume_at:.0%} or less, deletes are taken"
    )


def disk_words(space: DiskSpace, state: SpaceState, limits: SpaceLimits = DEFAULT_SPACE_LIMITS) -> str:
    """Return a text that says that upserts are refused or soon will be; "" while there is enough space."""
    if isinstance(state, Full):
        return state.reason
    if space.used <= limits.resume_at:
        return ""
    return f"disk nearly full: {space.used:.1%} of it is in use; upserts are refused from {limits.refuse_at:.0%} on"


def disk_space(path: Path) -> DiskSpace:
    """Return the space on the file system that holds `path`. Raises DataLoss if the path is missing, StorageFailed."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        raise read_failure(error, str(path)) from error
    return DiskSpace(used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize, free_bytes=found.f_bavail * found.f_frsize)


def leaves_room(space: DiskSpace, more_bytes: int, limits: SpaceLimits = DEFAULT_SPACE_LIMITS) -> bool:
    """Return whether the disk would still be below the bound for upserts with `more_bytes` more in use."""
    return space.used_bytes + more_bytes < limits.refuse_at * space.size_bytes
