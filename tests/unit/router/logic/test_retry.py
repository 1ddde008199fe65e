from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.logic.retry import Patience, patience_of, wait_before_retry
from shoal.core.errors import BY_STATUS, ShoalError, Unavailable

LONG = Patience(deadline=1_000.0, give_up_at=1_000.0)


def test_waits_double_up_to_half_a_second() -> None:
    waits = [wait_before_retry(Unavailable("x"), attempt, 0.0, LONG) for attempt in range(8)]
    assert waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("kind", [kind for kind in BY_STATUS.values() if kind is not Unavailable])
def test_only_unavailable_is_tried_again(kind: type[ShoalError]) -> None:
    assert wait_before_retry(kind("x"), 0, 0.0, LONG) is None


@settings(deadline=None)
@given(timeout_s=st.floats(0.0, 100.0), patience_s=st.one_of(st.none(), st.floats(0.0, 10.0)))
def test_attempts_are_bounded_and_none_begins_too_late(timeout_s: float, patience_s: float | None) -> None:
    now, patience = 5.0, patience_of(now=5.0, timeout_s=timeout_s, patience_s=patience_s)
    assert patience.give_up_at <= patience.deadline
    for attempt in itertools.count():
        wait_s = wait_before_retry(Unavailable("x"), attempt, now, patience)
        if wait_s is None:
            break
        assert 0 < wait_s <= 0.5
        now += wait_s
        assert now < patience.give_up_at
    assert patience.give_up_at - now <= 0.02 or timeout_s == 0
    assert attempt <= 2 * timeout_s + 15
