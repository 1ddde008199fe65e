from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.router.logic.latency import HALF_LIFE_S, KEPT, NEEDED, RecentTimes, Smoothed

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
