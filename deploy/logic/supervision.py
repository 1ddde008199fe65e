"""When a hosted process is created, left alone, or killed. Owns the rule only; it starts and ends nothing itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

STEADY_S = 60.0
"""A process that ran this long has no failures behind it any more."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
HOMELESS_PAUSE_S = 1.0
"""Between two looks for the node that a process needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A process that was created. answered_s: when it last gave a sign of life, None before the first; failures: ends
    before it.
    """

    created_s: float
    answered_s: float | None = None
    failures: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Resting:
    """There is no process; one is due at due_s."""

    due_s: float
    failures: int = 0


MemberState = Running | Resting


@dataclass(frozen=True, kw_only=True, slots=True)
class StartPatience:
    """start_s: for the first sign of life of a new process; silence_s: between two signs of a running one. Seconds."""

    start_s: float = 120.0
    silence_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is due."""


@dataclass(frozen=True, slots=True)
class Create:
    """Start the process."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End a process that gives no sign of life."""

    reason: str


Step = Leave | Create | Kill


def next_step(state: MemberState, now_s: float, patience: StartPatience) -> Step:
    """What is due for one process at now_s."""
    match state:
        case Resting(due_s=due_s):
            return Create() if now_s >= due_s else Leave()
        case Running(answered_s=None):
            return _unless_silent(now_s - state.created_s, patience.start_s)
        case Running():
            return _unless_silent(now_s - (state.answered_s or state.created_s), patience.silence_s)


def after_creation(state: MemberState, now_s: float) -> Running:
    """The state once the process was started."""
    return Running(created_s=now_s, failures=state.failures)


def after_answer(state: MemberState, now_s: float) -> MemberState:
    """The state after a sign of life. One that comes after the end changes nothing."""
    return dataclasses.replace(state, answered_s=now_s) if isinstance(state, Running) else state


def after_end(state: MemberState, now_s: float) -> Resting:
    """The state after the process ended, by itself or not: the first is replaced at once, later ones after longer
    pauses.
    """
    if isinstance(state, Resting):
        return state
    failures = 0 if now_s - state.created_s >= STEADY_S else state.failures
    return Resting(due_s=now_s + pause_s(failures), failures=failures + 1)


def after_detachment(state: MemberState, now_s: float) -> Resting:
    """The state once we cannot hear of the process any more: it may run or not, and is to be found or started as soon
    as we can.
    """
    return state if isinstance(state, Resting) else Resting(due_s=now_s, failures=state.failures)


def while_homeless(state: MemberState, now_s: float) -> Resting:
    """The state while no node may host the process. That is no failure of its own."""
    return Resting(due_s=now_s + HOMELESS_PAUSE_S, failures=state.failures)


def pause_s(failures: int) -> float:
    """Pause before the next start after so many failures in a row, seconds."""
    if failures == 0:
        return 0.0
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 16)))


def _unless_silent(silent_s: float, allowed_s: float) -> Step:
    return Kill(f"no sign of life for {silent_s:.0f} s") if silent_s > allowed_s else Leave()
