"""The outcomes of the calls on shards, and the outcome of the whole call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shoal.core.errors import (
    Applied,
    DataLoss,
    DeadlineExceeded,
    ErrorDetails,
    Internal,
    PreconditionFailed,
    ShoalError,
    Unavailable,
    is_passing,
    leaves_open,
)
from shoal.core.shard_calls import WriteAck

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered(Generic[T]):
    """The shard answered. shard: as "name/number"."""

    shard: str
    number: int
    value: T


@dataclass(frozen=True, kw_only=True, slots=True)
class Missed:
    """The shard did not answer. error: names the shard. applied: whether a write may still have been applied."""

    shard: str
    number: int
    error: ShoalError
    applied: Applied


Outcome = Answered[T] | Missed


@dataclass(frozen=True, kw_only=True, slots=True)
class Covered(Generic[T]):
    """Answers, each of one shard or several, that cover each shard once, except those missed, in order of numbers."""

    parts: tuple[T, ...] = ()
    missed: tuple[Missed, ...] = ()

    def __add__(self, other: Covered[T]) -> Covered[T]:
        missed = sorted((*self.missed, *other.missed), key=lambda each: each.number)
        return Covered(parts=(*self.parts, *other.parts), missed=tuple(missed))


_MAY_BE_LEFT_OUT = (Unavailable, DeadlineExceeded, DataLoss)


def applied_after(before: Applied, reached: bool, error: ShoalError) -> Applied:
    """Return whether a write was applied, after one more failed attempt. reached: whether a worker was called.

    The error may say so itself. Else a refusal of the request means that this attempt did not apply it, and any other
    failure leaves it open. If an earlier attempt left it open, it stays open.
    """
    if not reached:
        return before
    told = set(error.details.applied.values())
    refused = told == {"no"} if told else not leaves_open(error)
    return before if refused else "maybe"


def named(error: ShoalError, shard: str, internal: str) -> ShoalError:
    """Return the same error with the shard's public name. internal: the name that workers use for the shard."""
    message = error.message.replace(internal, shard)
    if shard not in message:
        message = f"shard {shard}: {message}"
    return type(error)(message, dataclasses.replace(error.details, shard=shard, applied={}))


def worst(errors: Sequence[ShoalError]) -> ShoalError:
    """Return the most severe error: one that a retry does not cure comes before one that it may cure."""
    return min(errors, key=_severity)


def may_be_answered_elsewhere(error: ShoalError) -> bool:
    """Return whether another replica may answer a read that failed with this error.

    A failed precondition of a read is one of the replica: its text fields are still being indexed.
    """
    return is_passing(error) or isinstance(error, (DataLoss, Internal, DeadlineExceeded, PreconditionFailed))


def worst_of_copies(errors: Sequence[ShoalError]) -> ShoalError:
    """Return the error of a read that failed at every replica. An error that may pass is preferred, since then the read
    may succeed later.
    """
    return worst([error for error in errors if is_passing(error)] or errors)


def error_of_shard(errors: Sequence[ShoalError]) -> ShoalError:
    """Return the error of a shard that no replica has answered. An error that every replica would return is preferred;
    else as worst_of_copies.
    """
    return worst([error for error in errors if not may_be_answered_elsewhere(error)] or [worst_of_copies(errors)])


def values_of_all(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """Return the answer of every shard. Raises the worst error if a shard did not answer."""
    missed = _missed(outcomes)
    if missed:
        raise worst([each.error for each in missed])
    return [each.value for each in outcomes if isinstance(each, Answered)]


def values_of_some(outcomes: Sequence[Outcome[T]]) -> tuple[list[T], tuple[str, ...]]:
    """Return the answers of the shards that answered, and the names of the others.

    Raises the worst error if one is about the request and not about a shard, and if no shard answered.
    """
    missed = _missed(outcomes)
    values = [each.value for each in outcomes if isinstance(each, Answered)]
    return values, _left_out(missed, answered=bool(values))


def parts_of_all(covered: Covered[T]) -> tuple[T, ...]:
    """Return the answers that cover all shards. Raises the worst error if a shard did not answer."""
    if covered.missed:
        raise worst([each.error for each in covered.missed])
    return covered.parts


def parts_of_some(covered: Covered[T]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """Return the answers, and the names of the shards that did not answer. Raises as values_of_some."""
    return covered.parts, _left_out(covered.missed, answered=bool(covered.parts))


def may_be_left_out(error: ShoalError) -> bool:
    """Return whether an answer may do without a shard that has failed with this error: it is about the shard."""
    return isinstance(error, _MAY_BE_LEFT_OUT)


def _left_out(missed: Sequence[Missed], *, answered: bool) -> tuple[str, ...]:
    """Return the names of shards that may be left out. answered: whether a shard has answered."""
    if missed and (not answered or not all(may_be_left_out(each.error) for each in missed)):
        raise worst([each.error for each in missed])
    return tuple(each.shard for each in missed)


def values_of_write(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """Return the acknowledgement of every shard.

    Raises the worst error, with details.applied: for each shard whether the write was applied: no, maybe, yes.
    """
    missed = _missed(outcomes)
    if not missed:
        return [each.value for each in outcomes if isinstance(each, Answered)]
    applied: dict[str, Applied] = {each.shard: each.applied if isinstance(each, Missed) else "yes" for each in outcomes}
    error = worst([each.error for each in missed])
    raise type(error)(_write_message(error, applied), dataclasses.replace(error.details, applied=applied))


def after_earlier(earlier: WriteAck | None, outcome: Outcome[WriteAck]) -> Outcome[WriteAck]:
    """Return the outcome of a write of several calls on one shard, after its next call.

    earlier: the acknowledgement of all calls before; None if there were none."""
    if earlier is None:
        return outcome
    match outcome:
        case Missed():
            return dataclasses.replace(outcome, applied="maybe")
        case Answered(value=ack):
            return dataclasses.replace(outcome, value=dataclasses.replace(ack, affected=earlier.affected + ack.affected))


def _write_message(error: ShoalError, applied: dict[str, Applied]) -> str:
    if len(applied) == 1:
        return error.message
    counts = ", ".join(f"{list(applied.values()).count(word)} {word}" for word in ("yes", "maybe", "no"))
    return f"{error.message} (applied on {len(applied)} shards: {counts})"


def _missed(outcomes: Sequence[Outcome[T]]) -> list[Missed]:
    return [each for each in outcomes if isinstance(each, Missed)]


def _severity(error: ShoalError) -> int:
    match error:
        case DataLoss():
            return 0
        case Internal():
            return 1
        case DeadlineExceeded():
            return 3
        case Unavailable():
            return 4
        case _ if is_passing(error):
            return 5
        case _:
            return 2


def deadline_passed(shard: str) -> DeadlineExceeded:
    """Return the error of a call for which no time was left."""
    return DeadlineExceeded(f"shard {shard}: no time was left to ask it", ErrorDetails(shard=shard))
