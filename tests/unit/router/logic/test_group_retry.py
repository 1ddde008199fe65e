from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import (
    DataLoss,
    DeadlineExceeded,
    ErrorDetails,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ShoalError,
    Unavailable,
)
from shoal.core.shard_calls import OlderWorker
from shoal.router.logic.group_retry import may_be_answered_alone, next_attempt
from tests.unit.router.configs import config_of

TOO_LARGE = ResourceExhausted("too large", ErrorDetails(limit="message_bytes"))
GONE = Unavailable("gone")
ERRORS = [GONE, TOO_LARGE, DataLoss("crc"), OlderWorker("old"), InvalidArgument("bad"), DeadlineExceeded("late"), NotFound("dropped")]


@given(
    failed=st.dictionaries(st.integers(0, 6), st.sampled_from(ERRORS), min_size=1),
    changed=st.frozensets(st.integers(0, 6)),
    now_alone=st.frozensets(st.integers(0, 6)),
    attempt=st.integers(0, 40),
    left_s=st.sampled_from([0.0, 0.01, 0.5, 10.0]),
    at_primary=st.booleans(),
)
def test_each_shard_is_asked_for_again_or_given_up(
    failed: dict[int, ShoalError],
    changed: frozenset[int],
    now_alone: frozenset[int],
    attempt: int,
    left_s: float,
    at_primary: bool,
) -> None:
    following = next_attempt(
        failed, configs={}, changed=changed, now_alone=now_alone, at_primary=at_primary, attempt=attempt, left_s=left_s
    )
    assert sorted((*following.again, *following.given_up)) == sorted(failed)
    for number in following.again:
        assert failed[number].retryable or (number in now_alone and may_be_answered_alone(failed[number]))
        if left_s < 0.02 and not (number in now_alone and may_be_answered_alone(failed[number])):
            assert number in changed
    assert 0.0 <= following.wait_s <= left_s / 2


@pytest.mark.parametrize(("error", "alone"), [(TOO_LARGE, True), (OlderWorker("x"), True), (GONE, False), (InvalidArgument("x"), False)])
def test_what_may_be_answered_one_by_one(error: ShoalError, alone: bool) -> None:
    assert may_be_answered_alone(error) == alone
    busy = dataclasses.replace(error.details, retry_after_s=1.0)
    assert may_be_answered_alone(type(error)(error.message, busy)) == isinstance(error, OlderWorker)


def test_shards_that_are_asked_for_alone_are_not_waited_with_and_only_once() -> None:
    def next_of(now_alone: frozenset[int]) -> tuple[tuple[int, ...], float]:
        following = next_attempt(
            {1: TOO_LARGE, 2: GONE}, configs={}, changed=(), now_alone=now_alone, at_primary=False, attempt=3, left_s=9.0
        )
        return following.again, following.wait_s

    assert next_of(frozenset({1})) == ((1, 2), 0.0)
    assert next_of(frozenset()) == ((2,), 0.16)


def test_a_damaged_primary_is_waited_for_if_another_replica_may_lead() -> None:
    configs = {0: config_of(isr=("p",)), 1: config_of(isr=("p", "q"))}
    failed = dict.fromkeys(configs, DataLoss("crc"))
    following = next_attempt(failed, configs=configs, changed=(), now_alone=(), at_primary=True, attempt=0, left_s=2.0)
    assert (following.again, following.given_up) == ((1,), (0,))
