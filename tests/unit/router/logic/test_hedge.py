from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.router.logic.hedge import (
    HALF_LIFE_S,
    KEPT,
    LEAST_HEDGE_S,
    MOST_SAVED,
    NEEDED,
    PROBE_HEDGE_S,
    READS_A_HEDGE,
    SILENT_S,
    HedgeBudget,
    RecentTimes,
    Smoothed,
    hedge_at,
    silent_at,
)


@given(st.lists(st.booleans(), max_size=3_000))
def test_at_most_5_of_100_reads_are_hedged_whatever_is_asked_for(asked: list[bool]) -> None:
    budget, hedged = HedgeBudget(), 0
    for reads, wants in enumerate(asked, 1):
        budget.earn()
        hedged += wants and budget.spend()
        assert hedged <= 0.05 * reads


def test_hedges_that_were_not_needed_are_saved_up_to_a_bound() -> None:
    budget = HedgeBudget()
    for _ in range(100 * READS_A_HEDGE * MOST_SAVED):
        budget.earn()
    assert [budget.spend() for _ in range(MOST_SAVED + 1)] == [True] * MOST_SAVED + [False]


def test_a_read_is_hedged_when_it_takes_longer_than_usual_and_never_before_that_is_known() -> None:
    assert hedge_at(sent_at=10.0, p95=None, probe=False) == math.inf
    assert hedge_at(sent_at=10.0, p95=None, probe=True) == 10.0 + PROBE_HEDGE_S
    assert hedge_at(sent_at=10.0, p95=0.3, probe=False) == 10.3
    assert hedge_at(sent_at=10.0, p95=0.000_1, probe=False) == 10.0 + LEAST_HEDGE_S


def test_a_worker_is_silent_when_it_answered_nothing_since_and_slow_reads_are_given_longer() -> None:
    assert silent_at(sent_at=10.0, heard_at=3.0, p95=None) == 10.0 + SILENT_S
    assert silent_at(sent_at=10.0, heard_at=10.2, p95=0.001) == 10.2 + SILENT_S
    assert silent_at(sent_at=10.0, heard_at=0.0, p95=3.0) == 16.0
    assert silent_at(sent_at=10.0, heard_at=0.0, p95=None, copies=2) == 10.0 + 4 * SILENT_S


times = st.floats(0.0, 100.0)


def test_a_time_fades_when_nothing_new_comes_and_a_late_one_replaces_it() -> None:
    slow = Smoothed(8.0, 0.0)
    assert slow.now(HALF_LIFE_S) == pytest.approx(4.0)
    assert slow.now(10 * HALF_LIFE_S) < 0.01
    assert slow.after(2.0, 20 * HALF_LIFE_S).seconds == pytest.approx(2.0, rel=0.01)


@given(st.lists(st.tuples(times, st.floats(0, 5)), min_size=1, max_size=30))
def test_the_mean_lies_within_what_was_seen(history: list[tuple[float, float]]) -> None:
    (first, at), *rest = history
    mean = Smoothed(first, at)
    for seconds, passed in rest:
        mean = mean.after(seconds, mean.at + passed)
    assert -1e-9 <= mean.seconds <= max(seconds for seconds, _ in history) + 1e-9


@given(st.lists(times, min_size=NEEDED, max_size=300))
def test_at_most_5_of_100_took_longer_when_the_measure_is_fresh(history: list[float]) -> None:
    recent = RecentTimes()
    for seconds in history[:NEEDED]:
        assert recent.p95 is None
        recent.add(seconds)
    assert recent.p95 is not None
    assert sum(seconds > recent.p95 for seconds in history[:NEEDED]) <= 0.05 * NEEDED
    for seconds in history[NEEDED:]:
        recent.add(seconds)
    assert recent.p95 in history


def test_the_window_slides() -> None:
    recent = RecentTimes()
    for _ in range(KEPT):
        recent.add(9.0)
    for _ in range(KEPT):
        recent.add(1.0)
    assert recent.p95 == 1.0
