"""Durations and shares as people read them. Pure."""

from __future__ import annotations

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """Return seconds in the largest unit that is full, as in "4 min" or "0.6 s"."""
    unit_s, unit = next(((size, name) for size, name in _UNITS if seconds >= size), (1.0, "s"))
    if unit == "s" and 0 < seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{max(0.0, seconds) / unit_s:.0f} {unit}"


def percent(share: float) -> str:
    """Return a share as whole percent, and below one with what is needed to see it, as in "5 %" or "0.5 %"."""
    return f"{100 * share:.0f} %" if share >= 0.01 or not share else f"{100 * share:.2g} %"
