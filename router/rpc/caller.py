"""Reads the caller and the deadline of a public call, and converts a request with a long filter in a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shoal.core.turns import Asker, Turn
from shoal.runtime.calls import CallContext
from shoal.runtime.fair_pool import FairPool

T = TypeVar("T")

_MARGIN_S = 0.05
_MARGIN_SHARE = 0.1


def timeout_of(context: CallContext, default_s: float) -> float:
    """Return the seconds that a call may take: the time until its deadline, less a margin for the answer.

    Returns default_s for a call without a deadline, and 0 for a past deadline: the call then fails for lack of time.
    """
    remaining = context.time_remaining()
    if remaining is None:
        return default_s
    return max(0.0, remaining - min(_MARGIN_S, _MARGIN_SHARE * remaining))


async def read_aside(conversions: FairPool, read: Callable[[Turn], T], context: CallContext, default_s: float, *, long: bool) -> T:
    """Return the result of `read` for a request. long: its filters are long, so it is read in a thread."""
    deadline, asker = conversions.deadline(timeout_of(context, default_s)), Asker(caller=caller_of(context))
    return await conversions.aside(read, asker, deadline, long=long)


def caller_of(context: CallContext) -> str:
    """Return the client for which work takes turns: the address of the other end of the connection."""
    return context.peer()
