"""Ask, fail over, back off, give up: written once, as a generator that performs no I/O.

A flow yields `Call` (ask this router) or `Sleep` (wait) and receives a `Reply`. A driver carries out the steps: the
sync driver with threads, the async one with tasks, a test by hand.

All requests of a client are safe to repeat: writes and creations carry a request id that stays the same, a drop carries
the id of the collection, and the others change nothing or end in the same state. Therefore each Unavailable answer is
retried until the deadline. So is the answer of a busy server that gives a retry_after_s, which is then the least pause.

There is one exception. A client that has never been answered, and whose caller gave no timeout, is told after a second
that no router can be reached: the address is wrong, or nothing runs there. A client that was answered before waits for
its routers, which may be starting again.

What is wrong about TLS is told to such a client as soon as each router was asked, whatever its timeout: certificates
do not become right while it waits. A client that was answered before goes on, because they are being replaced then.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from shoal.client.routers import Routers
from shoal.core.errors import (
    Applied,
    DeadlineExceeded,
    NotReached,
    ResourceExhausted,
    ShoalError,
    TlsMismatch,
    Unavailable,
    is_passing,
    leaves_open,
)
from shoal.core.requests import Request

T = TypeVar("T")

FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 2.0
LEAST_ATTEMPT_S = 0.02
"""No further attempt is made with less time than this left."""
UNREACHED_S = 1.0
"""After so many seconds a client says that it has never reached a router."""


class UsualTimeout(float):
    """Seconds of a call whose caller gave no timeout."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Send `request` to the router at `address` and wait at most `timeout_s` seconds."""

    request: Request
    address: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """Outcome of a step.

    elapsed_s: since the flow began; chance: random number in [0, 1); value: the answer, unless error is set.
    """

    elapsed_s: float
    chance: float
    value: Any = None
    error: ShoalError | None = None


class Tried(NamedTuple):
    """The outcome of a flow's first call, which failed, and was made before the flow began.

    started: begin of the call, on the clock of the driver.
    """

    started: float
    reply: Reply


Flow = Generator[Call | Sleep, Reply, T]


def answered(request: Request, *, timeout_s: float, routers: Routers, elapsed_s: float = 0.0) -> Flow[Any]:
    """Ask until there is an answer, and return it. elapsed_s: the part of timeout_s that is already used.

    Raises the router's error when a retry cannot help; Unavailable when no server could answer within timeout_s
    seconds; DeadlineExceeded when an answer did not arrive in that time.
    """
    return (yield from reply_to(request, timeout_s=timeout_s, routers=routers, elapsed_s=elapsed_s)).value


def reply_to(request: Request, *, timeout_s: float, routers: Routers, elapsed_s: float = 0.0) -> Flow[Reply]:
    """Ask as `answered` does, and return the reply; its elapsed_s is the time that is used now."""
    first, count = routers.preferred, len(routers.addresses)
    earlier: ShoalError | None = None
    doubt = Doubt()
    for attempt in itertools.count(1):
        position = (first + attempt - 1) % count
        left_s = max(LEAST_ATTEMPT_S, timeout_s - elapsed_s)
        granted_s = left_s if request.patient else share_of(left_s, attempt, count)
        cut_short = granted_s < left_s
        reply = yield Call(request=request, address=routers.addresses[position], timeout_s=granted_s)
        error, elapsed_s = reply.error, reply.elapsed_s
        if error is None:
            routers.prefer(position)
            return reply
        if not isinstance(error, NotReached):
            routers.answered = True
        elif attempt >= count and isinstance(timeout_s, UsualTimeout) and not routers.answered:
            timeout_s = UsualTimeout(min(timeout_s, UNREACHED_S))
        if isinstance(error, TlsMismatch) and attempt >= count and not routers.answered:
            raise error
        doubt, left_s = doubt.after(error), timeout_s - elapsed_s
        again = is_passing(error) or (isinstance(error, DeadlineExceeded) and cut_short)
        pause_s = pause_before(attempt, count, reply.chance, left_s, error.details.retry_after_s)
        if not again or left_s - pause_s < LEAST_ATTEMPT_S:
            tries = f"{attempt} attempts in {elapsed_s:.1f} s"
            final = _final(request, error, earlier, doubt, tries=tries, timeout_s=timeout_s)
            raise _with_doubt(request, final, doubt)
        earlier = error
        if pause_s:
            elapsed_s = (yield Sleep(pause_s)).elapsed_s
    raise AssertionError("unreachable: attempts end by return or raise")


def share_of(left_s: float, attempt: int, addresses: int) -> float:
    """Return the part of the time left for attempt number `attempt`: the routers of the first round share it."""
    return left_s / max(1, addresses + 1 - attempt)


def pause_before(attempt: int, addresses: int, chance: float, left_s: float, said_s: float | None = None) -> float:
    """Return the seconds to wait after failed attempt number `attempt`; never more than half of the time left.

    The pause is 0 while another router is untried in this round. Else it is 0.05, 0.1 ... 2 s, reduced by up to half of
    it at random.

    said_s: the pause that the server asked for. It is then the least pause, lengthened at random up to twice, so that
    clients that were refused together do not return together. It also holds before another router, which would ask the
    same workers.
    """
    tried, inside = divmod(attempt, addresses)
    if inside and said_s is None:
        return 0.0
    whole_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(0, tried - 1), 16)) * (1.0 - chance / 2.0)
    if said_s is not None:
        whole_s = max(whole_s, said_s * (1.0 + chance))
    return min(whole_s, left_s / 2.0)


def _with_doubt(request: Request, error: ShoalError, doubt: Doubt) -> ShoalError:
    """Return the error with the `applied` of all attempts; the same object if the error already says that."""
    applied = doubt.applied
    if not request.writes or applied == error.details.applied:
        return error
    refused = not leaves_open(error) and set(applied.values()) != {"no"}
    message = f"{error.message}; an earlier attempt may have been applied" if refused else error.message
    return type(error)(message, dataclasses.replace(error.details, applied=applied))


def _final(request: Request, error: ShoalError, earlier: ShoalError | None, doubted: Doubt, *, tries: str, timeout_s: float) -> ShoalError:
    doubt = _doubt_in_words(doubted) if request.writes else ""
    match error:
        case Unavailable():
            return type(error)(f"{error.message} (gave up after {tries}{doubt})", error.details)
        case ResourceExhausted() if is_passing(error):
            return ResourceExhausted(f"{error.message} (gave up after {tries}{doubt})", error.details)
        case DeadlineExceeded():
            before = f"; before that: {earlier.message}" if earlier is not None else ""
            return DeadlineExceeded(f"{error.message} (the deadline was {timeout_s:g} s){before}{doubt}", error.details)
        case _:
            return error


def _doubt_in_words(doubt: Doubt) -> str:
    if set(doubt.applied.values()) == {"no"}:
        return "; nothing was applied"
    return "; it may have been applied, calling again with the same input is safe"


_CERTAINTY: Mapping[Applied, int] = {"no": 0, "maybe": 1, "yes": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """Whether the failed attempts of one write may have applied it. Pure.

    told: the strongest answer about each shard ("name/number"), no < maybe < yes; open: whether an attempt ended
    without an answer about shards, so that any shard may have applied the write.
    """

    told: Mapping[str, Applied] = field(default_factory=dict)
    open: bool = False

    def after(self, error: ShoalError) -> Doubt:
        """Return the doubt after a further failed attempt.

        A shard's answer only grows stronger, and `open` stays true.
        """
        if not error.details.applied:
            return Doubt(told=self.told, open=self.open or leaves_open(error))
        told = dict(self.told)
        for shard, word in error.details.applied.items():
            told[shard] = max(told.get(shard, word), word, key=_CERTAINTY.__getitem__)
        return Doubt(told=told, open=self.open)

    @property
    def applied(self) -> dict[str, Applied]:
        """Return whether the write was applied, for each shard that an answer named."""
        return {shard: "maybe" if self.open and word == "no" else word for shard, word in self.told.items()}
