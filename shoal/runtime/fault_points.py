"""Named places in the product where a test may kill the process, or make a call of the operating system fail.

A point that is not armed costs one comparison. `arm_from_environment` arms points in a real process, `armed` arms them
in a test. This module owns the list of all names and refuses unknown ones. It does not handle the fault: the tests
observe what the product does.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from shoal.core.errors import ErrorDetails, InvalidArgument

VARIABLE = "SHOAL_FAULT"
"""Environment variable: NAME[:NTH[:ACTION]], NTH from 1, ACTION one of kill (default), enospc, eio."""

CALL_POINTS = (
    "disk.flush",
    "disk.flush_data",
    "file.write",
    "file.rename",
    "log.write",
    "log.roll",
    "log.unlink",
    "log.drop",
    "log.shorten",
    "log.cut",
    "segment.write",
    "segment.rename",
    "sweep.unlink",
)
"""Points just before a call of the operating system whose failure the code handles. They may also raise OSError."""

STEP_POINTS = (
    "file.written",
    "file.renamed",
    "log.written",
    "log.durable",
    "log.rolled",
    "log.trim",
    "log.marked",
    "log.rested",
    "log.unlinked",
    "log.trimmed",
    "log.truncate",
    "log.truncated",
    "segment.written",
    "segment.renamed",
    "sweep.done",
    "term.save",
    "term.saved",
    "store.apply",
    "store.applied",
    "store.rested",
    "store.woken",
    "store.name",
    "store.named",
    "store.checkpoint",
    "store.copied",
    "store.checkpointed",
    "writer.durable",
    "writer.applied",
    "apply.indexed",
    "build.begin",
    "build.built",
    "swap.named",
    "swap.done",
    "texts.begin",
    "texts.named",
    "texts.done",
    "pin.copied",
    "install.received",
    "install.adopted",
    "install.filled",
    "install.between",
    "install.done",
    "replica.filled",
    "replica.made",
)
"""Points between two steps. Here a process can only be killed."""

FAULT_POINTS = CALL_POINTS + STEP_POINTS


class Action(StrEnum):
    """kill: the process ends at once, by SIGKILL. enospc, eio: this call and all later ones fail with the error."""

    KILL = "kill"
    ENOSPC = "enospc"
    EIO = "eio"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """An action at a point. nth: at the nth time that the point is reached, from 1."""

    name: str
    nth: int = 1
    action: Action = Action.KILL


class SimulatedCrash(BaseException):
    """Raised by a test at a point, to stop there without any cleanup. The product never swallows it."""


class _Switch:
    """Holds the function that the points of this process call; None while nothing is armed."""

    reached: Callable[[str], None] | None = None


_switch = _Switch()


def fault_point(name: str) -> None:
    """Carry out the fault that is armed for this point, if there is one."""
    if _switch.reached is not None:
        _switch.reached(name)


def arm_from_environment(environment: Mapping[str, str]) -> Fault | None:
    """Arm the fault that VARIABLE names, for the rest of the process.

    Returns the fault, None if VARIABLE is not set. Raises InvalidArgument for an unusable value.
    """
    text = environment.get(VARIABLE, "")
    if not text:
        return None
    fault = fault_from_text(text)
    _arm(_counting(fault.name, fault.nth, lambda: _perform(fault.action)))
    return fault


def fault_from_text(text: str) -> Fault:
    """Return the fault that NAME[:NTH[:ACTION]] names. Raises InvalidArgument."""
    name, _, rest = text.partition(":")
    nth, _, action = rest.partition(":")
    nth, action = nth or "1", action or Action.KILL
    if name not in FAULT_POINTS:
        raise _refusal(f"{VARIABLE} names the point {name!r}, there are {', '.join(FAULT_POINTS)}")
    if not nth.isdecimal() or int(nth) < 1 or action not in tuple(Action):
        raise _refusal(f"{VARIABLE} is {text!r}, it must be NAME[:NTH[:ACTION]] with NTH from 1 and ACTION one of {', '.join(Action)}")
    if action != Action.KILL and name not in CALL_POINTS:
        raise _refusal(f"{VARIABLE} asks for {action} at {name!r}, where only kill can be; errors are for {', '.join(CALL_POINTS)}")
    return Fault(name=name, nth=int(nth), action=Action(action))


@contextmanager
def armed(name: str | None, act: Callable[[], None], *, nth: int = 1) -> Iterator[None]:
    """Call `act`, within the block, when the point is reached for the nth time and each time after that. It may raise.

    name: None for all points, counted together. A process can have one armed fault. Raises InvalidArgument for an
    unknown name.
    """
    if name is not None and name not in FAULT_POINTS:
        raise _refusal(f"there is no fault point {name!r}")
    with _armed_by(_counting(name, nth, act)):
        yield


@contextmanager
def counted() -> Iterator[Mapping[str, int]]:
    """Count, within the block, how often each point was reached. A point that was not reached is absent."""
    counts: dict[str, int] = {}
    lock = threading.Lock()

    def count(name: str) -> None:
        with lock:
            counts[name] = counts.get(name, 0) + 1

    with _armed_by(count):
        yield counts


def _counting(wanted: str | None, nth: int, act: Callable[[], None]) -> Callable[[str], None]:
    lock, left = threading.Lock(), nth

    def reached(name: str) -> None:
        nonlocal left
        if wanted not in (None, name):
            return
        with lock:
            left -= 1
            due = left <= 0
        if due:
            act()

    return reached


@contextmanager
def _armed_by(reached: Callable[[str], None]) -> Iterator[None]:
    _arm(reached)
    try:
        yield
    finally:
        _switch.reached = None


def _arm(reached: Callable[[str], None]) -> None:
    if _switch.reached is not None:
        raise _refusal("a fault is armed already")
    _switch.reached = reached


def _perform(action: Action) -> None:
    match action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.ENOSPC:
            _fail(errno.ENOSPC)
        case Action.EIO:
            _fail(errno.EIO)


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


def _refusal(message: str) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="fault"))
