"""What became of the call on each shard, and what that means for the whole."""

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
    """The shard did not answer. error: names the shard; applied: whether a write may have happened all the same."""

    shard: str
    number: int
    error: ShoalError
    applied: Applied


Outcome = Answered[T] | Missed

_MAY_BE_LEFT_OUT = (Unavailable, DeadlineExceeded, DataLoss)


def applied_after(before: Applied, reached: bool, error: ShoalError) -> Applied:
    """Whether a write was applied, after a further attempt failed. reached: whether a worker was called.

    A worker may say so itself. Else one that refuses the request has not applied it, and whatever else it answers, or
    fails to, leaves it open. What an earlier attempt left open stays open.
    """
    if not reached:
        return before
    told = set(error.details.applied.values())
    refused = told == {"no"} if told else not leaves_open(error)
    return before if refused else "maybe"


def named(error: ShoalError, shard: str, internal: str) -> ShoalError:
    """The same error, saying which shard it is about by the name that people know. internal: how workers call the
    shard.
    """
    message = error.message.replace(internal, shard)
    if shard not in message:
        message = f"shard {shard}: {message}"
    return type(error)(message, dataclasses.replace(error.details, shard=shard, applied={}))


def worst(errors: Sequence[ShoalError]) -> ShoalError:
    """The error that says most about what to do: one that trying again does not cure before one that it may."""
    return min(errors, key=_severity)


def may_be_answered_elsewhere(error: ShoalError) -> bool:
    """Whether another replica may answer a read that one has failed so."""
    return is_passing(error) or isinstance(error, (DataLoss, Internal, DeadlineExceeded))


def worst_of_copies(errors: Sequence[ShoalError]) -> ShoalError:
    """The error of a read that every replica failed: one that may pass where there is one, for then the read may
    succeed later.
    """
    return worst([error for error in errors if is_passing(error)] or errors)


def values_of_all(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """What every shard answered. Raises the worst error when one did not."""
    missed = _missed(outcomes)
    if missed:
        raise worst([each.error for each in missed])
    return [each.value for each in outcomes if isinstance(each, Answered)]


def values_of_some(outcomes: Sequence[Outcome[T]]) -> tuple[list[T], tuple[str, ...]]:
    """What the shards answered that could, and the others.

    Raises the worst error when it is about the request rather than the shard, and when no shard answered: then there is
    no answer to be partial.
    """
    missed = _missed(outcomes)
    values = [each.value for each in outcomes if isinstance(each, Answered)]
    if missed and (not values or not all(isinstance(each.error, _MAY_BE_LEFT_OUT) for each in missed)):
        raise worst([each.error for each in missed])
    return values, tuple(each.shard for each in missed)


def values_of_write(outcomes: Sequence[Outcome[T]]) -> list[T]:
    """What every shard acknowledged.

    Raises the worst error, saying for each shard whether it was applied: no, maybe, yes.
    """
    missed = _missed(outcomes)
    if not missed:
        return [each.value for each in outcomes if isinstance(each, Answered)]
    applied: dict[str, Applied] = {each.shard: each.applied if isinstance(each, Missed) else "yes" for each in outcomes}
    error = worst([each.error for each in missed])
    raise type(error)(_write_message(error, applied), dataclasses.replace(error.details, applied=applied))


def after_earlier(earlier: WriteAck | None, outcome: Outcome[WriteAck]) -> Outcome[WriteAck]:
    """What became of a write of several calls on one shard, after its next call. earlier: of the calls before, all
    acknowledged; None when there were none."""
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
    """The error of a call for which no time was left."""
    return DeadlineExceeded(f"shard {shard}: no time was left to ask it", ErrorDetails(shard=shard))
