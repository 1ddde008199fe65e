"""Decides when a hosted process is created, left alone, or killed. It starts and ends nothing itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

STEADY_S = 60.0
"""After running for this time, a process's earlier failures are forgotten."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
HOMELESS_PAUSE_S = 1.0
"""Pause between two looks for the node that a process needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A process that was created. answered_s: time of its last sign of life; None before the first. failures: number of
    ends before it.
    """

    created_s: float
    answered_s: float | None = None
    failures: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Resting:
    """There is no process. It is to be created at due_s."""

    due_s: float
    failures: int = 0


MemberState = Running | Resting


@dataclass(frozen=True, kw_only=True, slots=True)
class StartPatience:
    """Limits in seconds. start_s: until the first sign of life of a new process. silence_s: between two later signs."""

    start_s: float = 120.0
    silence_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Leave:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Create:
    """Start the process."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End a process that gives no sign of life."""

    reason: str


Step = Leave | Create | Kill


def next_step(state: MemberState, now_s: float, patience: StartPatience) -> Step:
    """Return the next step for one process at now_s."""
    match state:
        case Resting(due_s=due_s):
            return Create() if now_s >= due_s else Leave()
        case Running(answered_s=None):
            return _unless_silent(now_s - state.created_s, patience.start_s)
        case Running():
            return _unless_silent(now_s - (state.answered_s or state.created_s), patience.silence_s)


def after_creation(state: MemberState, now_s: float) -> Running:
    """Return the state after the process was started."""
    return Running(created_s=now_s, failures=state.failures)


def after_answer(state: MemberState, now_s: float) -> MemberState:
    """Return the state after a sign of life. A sign that comes after the end changes nothing."""
    return dataclasses.replace(state, answered_s=now_s) if isinstance(state, Running) else state


def after_end(state: MemberState, now_s: float) -> Resting:
    """Return the state after the process ended, by itself or not. After the first end it is due at once, after later
    ends with longer pauses.
    """
    if isinstance(state, Resting):
        return state
    failures = 0 if now_s - state.created_s >= STEADY_S else state.failures
    return Resting(due_s=now_s + pause_s(failures), failures=failures + 1)


def after_detachment(state: MemberState, now_s: float) -> Resting:
    """Return the state after the contact to the process was lost. It may run or not. It has to be found or started as
    soon as possible.
    """
    return state if isinstance(state, Resting) else Resting(due_s=now_s, failures=state.failures)


def while_homeless(state: MemberState, now_s: float) -> Resting:
    """Return the state while no node may host the process. This does not count as a failure."""
    return Resting(due_s=now_s + HOMELESS_PAUSE_S, failures=state.failures)


def pause_s(failures: int) -> float:
    """Return the pause in seconds before the next start, after this number of failures in a row."""
    if failures == 0:
        return 0.0
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 16)))


def _unless_silent(silent_s: float, allowed_s: float) -> Step:
    return Kill(f"no sign of life for {silent_s:.0f} s") if silent_s > allowed_s else Leave()
