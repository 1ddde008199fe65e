"""Test look-ups in recall tables: between measured points they assume the worse one; they choose the least cost, and
exact search where no breadth is known to reach the target.
"""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.index import tuning as tuning_module
from shoal.shard_worker.index.tuning import ANY_FETCH, EXACT, FETCHES, RANKS, BreadthChoice, IndexShape, Measures, Tuning
from shoal.shard_worker.logic.tuning.recall_bounds import monotone, tolerated

ROWS = 100_000


def true_recall(rank: int, breadth: float, fetch: float) -> float:
    """Return the recall of a smooth model. Like measured recall, it is concave in the logarithms in the range of
    interest.
    """
    return max(0.0, 1 - 0.2 * (rank**0.3) * breadth**-0.6) * max(0.0, 1 - 0.4 * rank / fetch)


def tuning(
    *, breadth_name: str = "nprobe", quantised: bool = False, ranks: tuple[int, ...] = RANKS, top: int = 10, exact_row_us: float = 1.0
) -> Tuning:
    breadths = tuple(2**step for step in range(3, top)) if breadth_name else (1,)
    fetches = FETCHES if quantised else ANY_FETCH
    expected = monotone(np.array([[[true_recall(rank, b, f if quantised else 1e9) for rank in ranks] for f in fetches] for b in breadths]))
    measures = Measures(
        breadths=breadths,
        fetches=fetches,
        ranks=ranks,
        expected=expected,
        surely=np.maximum(0, expected - 0.01),
        us=tuple(10.0 + b for b in breadths),
        score_us=0.1,
        exact_call_us=30.0,
        exact_row_us=exact_row_us,
        queries=100,
        real=True,
    )
    shape = IndexShape(breadth_name=breadth_name, max_breadth=1 << (top - 1), quantised=quantised, rows=ROWS, dim=8)
    return Tuning(shape, measures)


def test_an_index_is_unable_only_if_every_breadth_that_pays_was_tried_with_real_queries() -> None:
    known = tuning(exact_row_us=1e-3)
    assert known.unable(10, 0.99), "a breadth that reaches it takes longer than an exact search"
    assert not known.unable(10, 0.90), "some breadth reaches it for less"
    assert not known.unable(10, 1.0), "nothing but an exact search promises this"
    assert not tuning(exact_row_us=1.0).unable(10, 0.9999), "wider searches would pay, and were not tried"
    assert not Tuning(known.shape, dataclasses.replace(known.measures, real=False)).unable(10, 0.99)
    assert not Tuning.untuned(breadth_name="ef", max_breadth=100, quantised=True, rows=100, dim=300).unable(10, 0.99)


shapes = st.sampled_from([("ef", False), ("ef", True), ("nprobe", False), ("nprobe", True), ("", True)])


@settings(max_examples=150, deadline=None)
@given(shapes, st.integers(1, 4_000), st.integers(1, 2_000), st.integers(1, 8_000))
def test_recall_at_is_monotone(shape, rank, breadth, fetch):
    known = tuning(breadth_name=shape[0], quantised=shape[1])
    here = known.recall_at(rank, breadth, fetch)
    assert 0 <= here <= 1
    assert known.recall_at(rank + 1, breadth, fetch) <= here + 1e-12
    assert known.recall_at(rank, breadth + 1, fetch) >= here - 1e-12
    assert known.recall_at(rank, breadth, fetch + 1) >= here - 1e-12
    if rank > fetch:
        assert here == 0


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 1_000), st.integers(8, 512))
def test_between_measured_points_recall_is_never_above_the_truth(rank, breadth):
    assert tuning().recall_at(rank, breadth, ROWS) <= true_recall(rank, breadth, 1e9) + 1e-9


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(1, 1_000), st.integers(1, 4_000), st.floats(0.0, 1.0))
def test_rank_within_is_the_last_rank_of_a_linear_search(shape, breadth, fetch, recall):
    known = tuning(breadth_name=shape[0], quantised=shape[1])
    found = known.rank_within(recall, breadth, fetch)
    assert found == 0 or known.recall_at(found, breadth, fetch) >= recall
    assert found == fetch or known.recall_at(found + 1, breadth, fetch) < recall


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(1, 1_000), st.floats(0.05, 0.999), st.floats(1e-4, 1.0))
def test_breadth_expected_agrees_with_trying_every_breadth(shape, k, recall, exact_row_us):
    known = tuning(breadth_name=shape[0], quantised=shape[1], exact_row_us=exact_row_us)
    choice = known.breadth_expected(k, recall)
    tried = [
        BreadthChoice(max(breadth, fetch) if shape[0] == "ef" else breadth, fetch)
        for fetch in sorted({k, *(fetch for fetch in FETCHES if shape[1] and fetch > k)})
        for breadth in range(8 if shape[0] else 1, (512 if shape[0] else 1) + 1)
    ]
    # At the border, the rounding of a logarithm may decide.
    good = [each for each in tried if known.recall_at(k, each.breadth, each.fetch) >= recall]
    least = min([known.us_of(each.breadth, each.fetch) for each in good] + [known.exact_us(ROWS)])
    assert known.us_of(choice.breadth, choice.fetch) <= least + 1e-6
    if not choice.exact:
        assert known.recall_at(k, choice.breadth, choice.fetch) >= recall - 1e-9


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(1, 3_000), st.floats(0.05, 0.99), st.floats(0.0, 0.01))
def test_more_recall_never_costs_less(shape, k, recall, more):
    known = tuning(breadth_name=shape[0], quantised=shape[1])
    costs = [known.us_of(choice.breadth, choice.fetch) for choice in (known.breadth_for(k, recall), known.breadth_for(k, recall + more))]
    assert costs[0] <= costs[1] + 1e-9


def test_a_sure_choice_has_the_bound_at_the_target_and_is_no_wider_than_that_takes():
    known = tuning()
    choice = known.breadth_for(10, 0.9)
    margin = 0.01 - tolerated(0.9)
    assert known.recall_at(10, choice.breadth, 10) >= 0.9 + margin - 1e-9
    assert known.recall_at(10, choice.breadth - 1, 10) < 0.9 + margin


def test_exact_where_no_breadth_is_known_to_do_and_where_it_is_cheaper():
    assert tuning().breadth_for(10, 0.9999) == EXACT
    assert tuning().breadth_for(10, 1.0) == EXACT
    assert tuning().breadth_for(ROWS, 0.5) == EXACT
    assert not tuning().breadth_for(10, 0.9).exact
    assert tuning(exact_row_us=1e-5).breadth_for(10, 0.96) == EXACT
    assert tuning().recall_at(10, EXACT.breadth, 10) == 1.0
    assert tuning().us_of(EXACT.breadth, 0) == tuning().exact_us(ROWS) == 30.0 + ROWS


def test_beyond_the_largest_rank_breadth_grows_in_proportion():
    known = tuning(top=14)
    assert known.recall_at(2_000, 400, 2_000) == known.recall_at(1_000, 200, 1_000)
    narrow, wide = known.breadth_for(1_000, 0.5), known.breadth_for(3_000, 0.5)
    assert wide.breadth == pytest.approx(3 * narrow.breadth, abs=3)
    assert wide.fetch == 3_000


def test_beyond_the_largest_breadth_nothing_is_promised_and_below_the_least_little():
    known = tuning()
    assert known.recall_at(10, 5_000, 10) == known.recall_at(10, 512, 10)
    assert known.recall_at(10, 4, 10) == pytest.approx(known.recall_at(10, 8, 10) / 2)
    assert known.us_of(1_024, 0) == 2 * known.us_of(512, 0)
    assert known.us_of(12, 10) == pytest.approx(10.0 + 12 + 1.0)


def test_a_graph_is_as_broad_as_it_is_asked_for_rows():
    known = tuning(breadth_name="ef")
    assert known.recall_at(10, 8, 128) == known.recall_at(10, 128, 128)
    assert known.us_of(8, 128) == known.us_of(128, 128)
    choice = known.breadth_for(300, 0.1)
    assert choice.breadth >= choice.fetch == 300


def test_lossy_codes_are_met_by_fetching_more():
    known = tuning(breadth_name="", quantised=True)
    choices = [known.breadth_for(10, recall) for recall in (0.3, 0.5, 0.55, 0.58)]
    assert [choice.breadth for choice in choices] == [1] * 4
    assert [choice.fetch for choice in choices] == sorted(choice.fetch for choice in choices)
    assert choices[0].fetch < choices[-1].fetch


def test_the_curve_only_rises():
    points = tuning(breadth_name="ef", quantised=True).curve(10)
    assert len(points) > 5
    assert [point.us for point in points] == sorted({point.us for point in points})
    assert [point.recall for point in points] == sorted({point.recall for point in points})
    assert all(point.breadth >= point.fetch >= 10 for point in points)


def untuned(breadth_name: str, *, max_breadth: int = 1_000, quantised: bool = False) -> Tuning:
    return Tuning.untuned(breadth_name=breadth_name, max_breadth=max_breadth, quantised=quantised, rows=60_000, dim=784)


def test_the_rule_before_anything_is_measured():
    graph = untuned("ef", max_breadth=60_000)
    assert not graph.measured
    assert 60 <= graph.breadth_for(10, 0.95).breadth <= 70
    assert 380 <= graph.breadth_for(100, 0.95).breadth <= 430
    assert 200 <= graph.breadth_for(10, 0.99).breadth <= 300
    assert 15 <= graph.breadth_for(10, 0.8).breadth <= 25
    lists = untuned("nprobe")
    assert 30 <= lists.breadth_for(10, 0.95).breadth <= 40
    codes = untuned("", quantised=True)
    assert codes.breadth_for(10, 0.95).breadth == 1
    assert 100 <= codes.breadth_for(10, 0.95).fetch <= 200


def test_the_rule_is_no_reason_to_rely_on_an_index():
    assert untuned("ef", max_breadth=60_000).choice(10, 0.95) == EXACT


def known_of(*, real: bool) -> Tuning:
    before = tuning()
    return Tuning(before.shape, dataclasses.replace(before.measures, queries=64, real=real, remote=(1.0,) * 64 if real else ()))


def test_only_what_was_measured_on_queries_like_those_asked_chooses(monkeypatch):
    monkeypatch.setattr(tuning_module, "DEAR_US", math.inf)
    known = known_of(real=True)
    assert known.choice(10, 0.9) == known.breadth_for(10, 0.9) != EXACT
    assert known_of(real=False).choice(10, 0.9) == EXACT
    known.likeness.doubt()
    assert known.choice(10, 0.9) == EXACT


def test_a_measurement_on_rows_chooses_for_a_bounded_number_of_queries_until_it_is_confirmed(monkeypatch):
    monkeypatch.setattr(tuning_module, "DEAR_US", math.inf)
    measures = dataclasses.replace(known_of(real=True).measures, real=False)
    provisional = Tuning(known_of(real=True).shape, measures)
    most = tuning_module.PROVISIONAL_QUERIES
    assert (provisional.provisional, provisional.trusted, provisional.confirmed(0.9)) == (True, True, False)
    assert provisional.choice(10, 0.9, most) == provisional.breadth_for(10, 0.9) != EXACT
    assert provisional.choice(10, 0.9, most + 1) == EXACT
    provisional.likeness.unlike(np.full(most, 1.0))
    assert provisional.choice(10, 0.9) == EXACT
    provisional.likeness.confirm(0.9)
    assert provisional.choice(10, 0.9, most + 1) == provisional.breadth_for(10, 0.9)
    assert provisional.choice(10, 0.95) == EXACT


def test_where_exact_search_is_dear_it_is_as_broad_as_is_known_to_help(monkeypatch):
    monkeypatch.setattr(tuning_module, "DEAR_US", 0.0)
    monkeypatch.setattr(tuning_module, "_WIDE_SHARE", 1e9)
    known, stood_in = known_of(real=True), known_of(real=False)
    assert stood_in.choice(10, 0.9) == stood_in.breadth_for(10, 0.9)
    assert known.choice(10, 0.9) == known.breadth_for(10, 0.9)
    known.likeness.doubt()
    assert known.choice(10, 0.9).breadth == known.measures.breadths[-1]
    assert known.choice(ROWS, 0.9) == EXACT
    monkeypatch.setattr(tuning_module, "_WIDE_SHARE", 0.0)
    assert known.choice(10, 0.9) == EXACT, "no breadth is worth it"
    assert untuned("ef", max_breadth=60_000).choice(10, 0.95) == EXACT, "nothing is known"


def test_a_rule_without_an_index_says_exact():
    assert untuned("", max_breadth=0).breadth_for(10, 0.9) == EXACT


def test_a_small_segment_is_compared_row_by_row():
    assert Tuning.untuned(breadth_name="ef", max_breadth=900, quantised=False, rows=900, dim=64).breadth_for(10, 0.95) == EXACT


def test_choices_are_remembered_up_to_a_bound():
    known = tuning()
    first = known.breadth_for(10, 0.9)
    assert known.breadth_for(10, 0.9) is first
    for number in range(5_000):
        known.breadth_for(1 + number % 900, 0.5 + number / 20_000)
        known.rank_within(0.5 + number / 20_000, 64, 100)
        known.recall_at(1 + number % 90, number, 100)
    assert max(len(known._chosen), len(known._ranks), len(known._recalls)) <= 4_096
    assert math.isclose(known.us_of(first.breadth, first.fetch), known.us_of(*_pair(known.breadth_for(10, 0.9))))


def _pair(choice: BreadthChoice) -> tuple[int, int]:
    return choice.breadth, choice.fetch
