"""Decides which shards of a search are asked for again after an attempt, and when. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shoal.core.errors import ResourceExhausted, ShoalError, is_passing
from shoal.core.shard_calls import OlderWorker
from shoal.core.shard_config import ShardConfig
from shoal.router.logic.retry import may_pass, wait_before_retry


@dataclass(frozen=True, kw_only=True, slots=True)
class NextAttempt:
    """again: numbers of the shards that are asked for again, after wait_s seconds; given_up: those that are not."""

    again: tuple[int, ...]
    given_up: tuple[int, ...]
    wait_s: float


def may_be_answered_alone(error: ShoalError) -> bool:
    """Return whether a call on several shards that failed may succeed as a call on each: the answer was too large for a
    message, or the worker does not know calls on several shards.
    """
    if isinstance(error, ResourceExhausted):
        return error.details.limit == "message_bytes" and not is_passing(error)
    return isinstance(error, OlderWorker)


def next_attempt(
    failed: Mapping[int, ShoalError],
    *,
    configs: Mapping[int, ShardConfig],
    changed: Collection[int],
    now_alone: Collection[int],
    at_primary: bool,
    attempt: int,
    left_s: float,
) -> NextAttempt:
    """Return the next attempt after number `attempt` (the first is 0). failed: at least one.

    configs: of the shards that were asked for; changed: shards that have another configuration by now; now_alone:
    shards that were asked for in a group and will be asked for alone; left_s: seconds in which an attempt may still
    begin.
    """
    at_once = {number for number, error in failed.items() if number in now_alone and may_be_answered_alone(error)}
    passing = {number for number, error in failed.items() if may_pass(error, configs.get(number), at_primary=at_primary)}
    wait_s = wait_before_retry(attempt, left_s)
    if wait_s is None:
        # After the patience has ended, there is one more attempt at shards with a new configuration: they may have a
        # new primary.
        passing &= set(changed)
    again = at_once | passing
    return NextAttempt(
        again=tuple(number for number in failed if number in again),
        given_up=tuple(number for number in failed if number not in again),
        wait_s=0.0 if at_once or wait_s is None else wait_s,
    )
