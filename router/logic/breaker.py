"""When to ask somebody last who keeps failing, and when to try again. Pure values, one for each worker and one for each
replica.

Closed: asked as usual. After FAILURES failures in a row it opens: asked last, for a time that doubles whenever it opens
again. Then one call is let through as a probe: its success closes the breaker, its failure opens it for longer.

Who is to blame (`blamed`) decides which breaker hears of it. An answer about one shard (not ready, damaged, lagging)
names that shard and says nothing of the others, so it counts for the replica only. A connection that broke, and
silence, count for the worker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from shoal.core.errors import DataLoss, DeadlineExceeded, Internal, ShoalError, Unavailable

FAILURES = 3
FIRST_OPEN_S = 0.25
LONGEST_OPEN_S = 8.0
PROBE_S = 1.0
"""So long one probe is waited for before the next is let through."""

_DOUBLINGS = 10


class Gate(IntEnum):
    """How a breaker lets calls through: as usual, one as a probe, or only when there is nobody else.

    A larger one is worse.
    """

    PASSES = 0
    PROBES = 1
    SHUT = 2


class Blame(StrEnum):
    """Whom a failed call speaks against: nobody when the request was refused, unknown when nothing came back in
    time.
    """

    NOBODY = "nobody"
    UNKNOWN = "unknown"
    REPLICA = "replica"
    WORKER = "worker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """failures: in a row, while closed; openings: in a row, 0 while closed; shut_until: on the caller's clock; probing:
    whether a probe is under way."""

    failures: int = 0
    openings: int = 0
    shut_until: float = 0.0
    probing: bool = False


CLOSED = Breaker()


def gate(breaker: Breaker, now: float) -> Gate:
    """How calls are let through now."""
    if not breaker.openings:
        return Gate.PASSES
    return Gate.SHUT if now < breaker.shut_until else Gate.PROBES


def with_probe(breaker: Breaker, now: float) -> Breaker:
    """After a probe was sent: others are let through only once it has ended, or PROBE_S later."""
    return replace(breaker, probing=True, shut_until=now + PROBE_S)


def after_failure(breaker: Breaker, now: float) -> Breaker:
    """After a failure. Failures of calls that were under way when it opened change nothing."""
    if not breaker.openings and breaker.failures + 1 < FAILURES:
        return replace(breaker, failures=breaker.failures + 1)
    if breaker.openings and not breaker.probing:
        return breaker
    open_s = min(LONGEST_OPEN_S, FIRST_OPEN_S * (1 << min(breaker.openings, _DOUBLINGS)))
    return Breaker(openings=breaker.openings + 1, shut_until=now + open_s)


def blamed(error: ShoalError) -> Blame:
    """Whom the error of a call on a worker speaks against."""
    match error:
        case Unavailable():
            return Blame.WORKER if error.details.shard is None else Blame.REPLICA
        case DeadlineExceeded():
            # Without a word of the replica only the caller's time ran out, which may have been short; silence is
            # noticed otherwise.
            return Blame.UNKNOWN if error.details.shard is None else Blame.REPLICA
        case DataLoss() | Internal():
            return Blame.REPLICA
        case _:
            return Blame.NOBODY
