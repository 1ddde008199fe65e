from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import BY_STATUS, DataLoss, InvalidArgument, ShoalError, Unavailable
from shoal.router.logic.retry import may_pass, patience_of, wait_before_retry
from tests.unit.router.configs import config_of


def test_waits_double_up_to_half_a_second() -> None:
    waits = [wait_before_retry(attempt, 1_000.0) for attempt in range(8)]
    assert waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("kind", [kind for kind in BY_STATUS.values() if kind is not Unavailable])
def test_only_unavailable_may_pass(kind: type[ShoalError]) -> None:
    assert may_pass(Unavailable("x"), None, at_primary=False)
    assert not may_pass(kind("x"), None, at_primary=True)
    assert not may_pass(kind("x"), config_of(isr=("p",)), at_primary=True)
    assert not may_pass(kind("x"), config_of(isr=("p", "q")), at_primary=False)


@pytest.mark.parametrize("parts", [{"isr": ("p", "q")}, {"isr": ("p",), "elr": ("q",)}])
def test_damage_of_a_primary_passes_where_another_replica_may_lead(parts: dict[str, tuple[str, ...]]) -> None:
    assert may_pass(DataLoss("x"), config_of(**parts), at_primary=True)
    assert not may_pass(DataLoss("x"), config_of(isr=("p",), learners=("q",)), at_primary=True)
    assert not may_pass(InvalidArgument("x"), config_of(**parts), at_primary=True)


@settings(deadline=None)
@given(timeout_s=st.floats(0.0, 100.0), patience_s=st.one_of(st.none(), st.floats(0.0, 10.0)))
def test_attempts_are_bounded_and_none_begins_too_late(timeout_s: float, patience_s: float | None) -> None:
    now = 5.0
    patience = patience_of(clock=lambda: now, timeout_s=timeout_s, patience_s=patience_s)
    assert patience.attempts.ends_at <= patience.deadline.ends_at
    for attempt in itertools.count():
        wait_s = wait_before_retry(attempt, patience.attempts.left_s)
        if wait_s is None:
            break
        assert 0 < wait_s <= 0.5
        now += wait_s
        assert not patience.attempts.passed
    assert patience.attempts.left_s <= 0.02 or timeout_s == 0
    assert attempt <= 2 * timeout_s + 15
