"""Decides when a worker or replica that keeps failing is asked last, and when it is tried again. Pure values: one
breaker for each worker and one for each replica.

A closed breaker lets calls pass as usual. After FAILURES failures in a row it opens: reads ask this target last, for a
time that doubles whenever it opens again. Then one call is sent as a probe: its success closes the breaker, its failure
opens the breaker for longer.

`blamed` decides which breaker a failure counts for. An error about one shard (not ready, damaged, lagging) says nothing
about the worker's other shards, so it counts only for the replica. A broken connection and silence count for the
worker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from shoal.core.errors import DataLoss, DeadlineExceeded, Internal, ShoalError, Unavailable

FAILURES = 3
FIRST_OPEN_S = 0.25
LONGEST_OPEN_S = 8.0
PROBE_S = 1.0
"""Time in seconds to wait for one probe before the next one may be sent."""

_DOUBLINGS = 10


class Gate(IntEnum):
    """How a breaker lets calls through: as usual, one as a probe, or only if there is no other replica.

    A larger value is worse.
    """

    PASSES = 0
    PROBES = 1
    SHUT = 2


class Blame(StrEnum):
    """The cause of a failed call: NOBODY if the request was refused, UNKNOWN if no answer came in time."""

    NOBODY = "nobody"
    UNKNOWN = "unknown"
    REPLICA = "replica"
    WORKER = "worker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """The state of a breaker. failures: in a row, while closed. openings: in a row; 0 while closed.

    shut_until: on the caller's clock, in seconds. probing: whether a probe is under way."""

    failures: int = 0
    openings: int = 0
    shut_until: float = 0.0
    probing: bool = False


CLOSED = Breaker()


def gate(breaker: Breaker, now: float) -> Gate:
    """Return how calls are let through now."""
    if not breaker.openings:
        return Gate.PASSES
    return Gate.SHUT if now < breaker.shut_until else Gate.PROBES


def with_probe(breaker: Breaker, now: float) -> Breaker:
    """Return the breaker after a probe was sent. No other call passes until the probe ends, or for PROBE_S seconds."""
    return replace(breaker, probing=True, shut_until=now + PROBE_S)


def after_failure(breaker: Breaker, now: float) -> Breaker:
    """Return the breaker after a failure. Failures of calls that were under way when it opened change nothing."""
    if not breaker.openings and breaker.failures + 1 < FAILURES:
        return replace(breaker, failures=breaker.failures + 1)
    if breaker.openings and not breaker.probing:
        return breaker
    open_s = min(LONGEST_OPEN_S, FIRST_OPEN_S * (1 << min(breaker.openings, _DOUBLINGS)))
    return Breaker(openings=breaker.openings + 1, shut_until=now + open_s)


def blamed(error: ShoalError) -> Blame:
    """Return the cause of the error of a call on a worker."""
    match error:
        case Unavailable():
            return Blame.WORKER if error.details.shard is None else Blame.REPLICA
        case DeadlineExceeded():
            # Without an answer of the replica, only the caller's time ran out, which may have been short. A silent
            # worker is noticed elsewhere (hedge.silent_at).
            return Blame.UNKNOWN if error.details.shard is None else Blame.REPLICA
        case DataLoss() | Internal():
            return Blame.REPLICA
        case _:
            return Blame.NOBODY
