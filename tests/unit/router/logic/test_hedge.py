from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from shoal.router.logic.hedge import LEAST_HEDGE_S, MOST_SAVED, PROBE_HEDGE_S, READS_A_HEDGE, SILENT_S, HedgeBudget, hedge_at, silent_at


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
