"""When background measurements make way for searches. Pure: sees times, in seconds.

A measurement begins in a lull of the searches, or when it has waited long enough for one; while searches go on it rests
after each slice as long as the slice took. So it costs searches at most half of one core, at low priority, and is done
in the end however many there are.
"""

from __future__ import annotations

QUIET_S = 2.0
"""Without a search: a lull."""

PATIENCE_S = 20.0
"""Wait for a lull, at most."""

MOST_REST_S = 0.1
"""After one slice."""


def may_begin(*, now_s: float, searched_s: float, due_s: float) -> bool:
    """Whether a measurement that has been due since due_s begins; searched_s: the last search."""
    return now_s - searched_s >= QUIET_S or now_s - due_s >= PATIENCE_S


def rest_s(*, now_s: float, searched_s: float, slice_s: float) -> float:
    """How long to rest after a slice of work that took slice_s."""
    return min(slice_s, MOST_REST_S) if now_s - searched_s < QUIET_S else 0.0
