"""Clocks of a server. Deadlines use CLOCK_BOOTTIME, which also counts while the machine is suspended."""

from __future__ import annotations

import time


def boot_s() -> float:
    """Return seconds on a clock that never jumps and counts suspended time."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_ms() -> int:
    """Return the wall clock time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
