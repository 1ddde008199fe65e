"""Decide which open stores of a worker are closed now: those unused for long, and the least recently used when others
need their files. Pure: uses in, some of them out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

PRESSED_IDLE_S = 1.0
"""The time without use after which a store is closed while the worker's memory is short."""

REFUSED_REST_S = 0.5
"""The pause after a store could not be closed, because its write-ahead log was still read."""


class OpenStoreUse(Protocol):
    """The use of one open store. Times are in seconds, on the clock of `now_s`."""

    @property
    def users(self) -> int:
        """Return how many reads and writes use it now."""
        ...

    @property
    def resting(self) -> bool:
        """Return whether it is being closed."""
        ...

    @property
    def used_s(self) -> float:
        """Return when its last use ended."""
        ...

    @property
    def refused_s(self) -> float:
        """Return when it was last found that it cannot be closed."""
        ...


Use = TypeVar("Use", bound=OpenStoreUse)


def stores_to_rest(opened: Iterable[Use], *, now_s: float, idle_s: float, wanted: int, most: int) -> list[Use]:
    """Return at most `most` stores to close now, the least recently used first.

    opened: in the order of their last use; idle_s: time without use after which a store is closed; wanted: close at
    least so many, however short ago they were used. Never returns a store that is in use.
    """
    found: list[Use] = []
    for each in opened:
        idle = now_s - each.used_s >= idle_s
        if len(found) >= most or (len(found) >= wanted and not idle):
            break
        if not each.users and not each.resting and now_s - each.refused_s >= REFUSED_REST_S:
            found.append(each)
    return found
