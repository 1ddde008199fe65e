from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import (
    BY_STATUS,
    Applied,
    DataLoss,
    DeadlineExceeded,
    ErrorDetails,
    Internal,
    InvalidArgument,
    PreconditionFailed,
    ShoalError,
    Unavailable,
)
from shoal.core.ids import Seq
from shoal.core.shard_calls import WriteAck
from shoal.router.logic.outcomes import (
    Answered,
    Missed,
    after_earlier,
    applied_after,
    may_be_answered_elsewhere,
    named,
    values_of_all,
    values_of_some,
    values_of_write,
    worst,
    worst_of_copies,
)

SURE = [kind for kind in BY_STATUS.values() if kind not in (Unavailable, DeadlineExceeded, DataLoss, Internal)]


def answered(number: int) -> Answered[int]:
    return Answered(shard=f"a/{number}", number=number, value=number * 10)


def missed(number: int, error: ShoalError, applied: Applied = "no") -> Missed:
    return Missed(shard=f"a/{number}", number=number, error=error, applied=applied)


@pytest.mark.parametrize("kind", list(BY_STATUS.values()))
@pytest.mark.parametrize("reached", [True, False])
@pytest.mark.parametrize("before", ["no", "maybe"])
@pytest.mark.parametrize("told", [None, "no", "maybe", "yes"])
def test_only_a_sure_refusal_leaves_a_write_unapplied(kind: type[ShoalError], reached: bool, before: Applied, told: Applied | None) -> None:
    refused = told == "no" if told else kind in SURE
    details = ErrorDetails(applied={"id-a/0": told} if told else {})
    expected = "no" if before == "no" and (not reached or refused) else "maybe"
    assert applied_after(before, reached, kind("x", details)) == expected


def test_what_waiting_does_not_cure_comes_first_in_any_order() -> None:
    ranked = [DataLoss("1"), Internal("2"), InvalidArgument("3"), DeadlineExceeded("4"), Unavailable("5")]
    for size in range(1, 6):
        for errors in itertools.permutations(ranked, size):
            assert worst(errors) is min(errors, key=ranked.index)


def test_all_answers_or_the_worst_error() -> None:
    assert values_of_all([answered(0), answered(1)]) == [0, 10]
    with pytest.raises(InvalidArgument):
        values_of_all([answered(0), missed(1, Unavailable("x")), missed(2, InvalidArgument("y"))])


def test_some_answers_and_the_names_of_the_missing() -> None:
    assert values_of_some([answered(0), missed(1, Unavailable("x")), answered(2)]) == ([0, 20], ("a/1",))
    assert values_of_some([answered(0)]) == ([0], ())


def test_a_write_that_failed_in_part_tells_all() -> None:
    assert values_of_write([answered(0), answered(1)]) == [0, 10]
    details = ErrorDetails(shard="a/2", limit="disk")
    with pytest.raises(Unavailable, match=r"^gone \(applied on 3 shards: 1 yes, 1 maybe, 1 no\)$") as caught:
        values_of_write([answered(0), missed(1, Unavailable("gone", details), "maybe"), missed(2, Unavailable("later"), "no")])
    assert caught.value.details == ErrorDetails(shard="a/2", limit="disk", applied={"a/0": "yes", "a/1": "maybe", "a/2": "no"})


def test_calls_of_one_write_add_up() -> None:
    first = Answered(shard="a/0", number=0, value=WriteAck(seq=Seq(3), affected=5, more=True))
    assert after_earlier(None, first) == first
    last = dataclasses.replace(first, value=WriteAck(seq=Seq(9), affected=2))
    assert after_earlier(first.value, last) == dataclasses.replace(first, value=WriteAck(seq=Seq(9), affected=7, more=False))


@pytest.mark.parametrize("applied", ["no", "maybe"])
def test_a_write_of_which_a_call_was_acknowledged_may_be_applied(applied: Applied) -> None:
    failed = missed(1, Unavailable("gone"), applied)
    assert after_earlier(None, failed) == failed
    assert after_earlier(WriteAck(seq=Seq(3), affected=0, more=True), failed) == dataclasses.replace(failed, applied="maybe")


@given(st.lists(st.sampled_from([Unavailable, DeadlineExceeded, DataLoss, Internal]), min_size=1))
def test_a_read_that_all_replicas_failed_may_pass_when_one_of_the_errors_may(kinds: list[type[ShoalError]]) -> None:
    error = worst_of_copies([kind("x") for kind in kinds])
    assert error.retryable == (Unavailable in kinds)
    assert type(error) in kinds


def test_what_is_wrong_with_the_request_is_wrong_everywhere() -> None:
    elsewhere = {kind for kind in BY_STATUS.values() if may_be_answered_elsewhere(kind("x"))}
    assert elsewhere == {Unavailable, DeadlineExceeded, DataLoss, Internal, PreconditionFailed}


def test_an_error_is_named_once_and_keeps_its_details() -> None:
    error = named(DataLoss("crc of row 7", ErrorDetails(index=7, shard="id-a/1")), "a/1", "id-a/1")
    assert isinstance(error, DataLoss)
    assert error.message == "shard a/1: crc of row 7"
    assert error.details == ErrorDetails(index=7, shard="a/1")
    assert named(error, "a/1", "id-a/1").message == error.message
    assert named(Unavailable("shard id-a/1 is not open on this worker"), "a/1", "id-a/1").message == "shard a/1 is not open on this worker"
