"""Decides whether the next call on a worker goes over HTTP or over gRPC. Pure values.

Calls go over HTTP until that fails before the worker has seen a call: its port cannot be reached, or another process
answers there. Then they go over gRPC, and after a pause one of them tries HTTP again.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0
"""After a failure, HTTP is tried again after this time. It doubles with each further failure in a row."""

TRIAL_S = 2.0
"""If nothing is known of a trial after this time, another call may try."""

_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class OpenLane:
    """Calls go over HTTP."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PausedLane:
    """Calls go over gRPC until `until_s` on the clock. failures: in a row, at least 1."""

    failures: int
    until_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneOnTrial:
    """One call tries HTTP, the others go over gRPC until `until_s` on the clock. failures: in a row, at least 1."""

    failures: int
    until_s: float


Lane = OpenLane | PausedLane | LaneOnTrial
"""How calls on one worker travel."""

OPEN = OpenLane()


def next_call(lane: Lane, now: float) -> tuple[bool, Lane]:
    """Return whether the next call goes over HTTP, and the lane once it is under way."""
    match lane:
        case OpenLane():
            return True, lane
        case PausedLane(failures=failures, until_s=until_s) | LaneOnTrial(failures=failures, until_s=until_s):
            if now < until_s:
                return False, lane
            return True, LaneOnTrial(failures=failures, until_s=now + TRIAL_S)


def after_failure(lane: Lane, now: float) -> Lane:
    """Return the lane after HTTP could not be used. Of many calls that fail at once, only the first one counts."""
    match lane:
        case OpenLane():
            return _paused(1, now)
        case LaneOnTrial(failures=failures):
            return _paused(failures + 1, now)
        case PausedLane():
            return lane


def _paused(failures: int, now: float) -> PausedLane:
    pause_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, _DOUBLINGS))
    return PausedLane(failures=failures, until_s=now + pause_s)
