"""A time limit. The clock is an argument, so this module performs no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shoal.core.errors import DeadlineExceeded

Clock = Callable[[], float]
"""Returns seconds on a monotonic clock."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time limit. ends_at: in seconds of the clock."""

    clock: Clock
    ends_at: float

    @staticmethod
    def after(timeout_s: float, clock: Clock) -> Deadline:
        """Return the deadline timeout_s seconds from now."""
        return Deadline(clock, clock() + timeout_s)

    @property
    def left_s(self) -> float:
        """Return the seconds that are left; 0.0 once the deadline has passed."""
        return max(0.0, self.ends_at - self.clock())

    @property
    def passed(self) -> bool:
        """Return whether no time is left."""
        return self.clock() >= self.ends_at

    def sooner(self, timeout_s: float) -> Deadline:
        """Return the earlier of this deadline and the time timeout_s seconds from now."""
        return Deadline(self.clock, min(self.ends_at, self.clock() + timeout_s))

    def share(self, parts: int) -> Deadline:
        """Return the end of the first of `parts` equal parts of the time that is left."""
        return Deadline(self.clock, self.clock() + self.left_s / parts)

    def left_or_raise(self, message: str) -> float:
        """Return the seconds that are left. Raises DeadlineExceeded with this message when there are none."""
        left_s = self.ends_at - self.clock()
        if left_s <= 0:
            raise DeadlineExceeded(message)
        return left_s
