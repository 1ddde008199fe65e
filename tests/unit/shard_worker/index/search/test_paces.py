from __future__ import annotations

import itertools

import pytest

from shoal.shard_worker.index.search.paces import Layout, Paces


def _paces(step_s: float = 1e-4) -> Paces:
    """Return paces whose clock says that each first measurement took `step_s`."""
    times = itertools.count()
    return Paces(clock=lambda: next(times) * step_s)


def _us(paces: Paces, *, queries: int = 1, rows: int = 10_000, layout: Layout = Layout.CONTIGUOUS) -> float:
    return paces.exact_us(queries=queries, rows=rows, dim=128, layout=layout)


def test_costs_grow_with_the_work() -> None:
    paces = _paces()
    assert _us(paces) < _us(paces, rows=20_000) < _us(paces, rows=20_000, queries=2)
    assert _us(paces, layout=Layout.SCATTERED) > 0


def test_gathering_counts_once_for_a_batch_however_large() -> None:
    paces = _paces()
    few, many = (_us(paces, queries=each, layout=Layout.SCATTERED) - _us(paces, queries=each) for each in (8, 80))
    assert few > 0
    assert many == pytest.approx(few)


@pytest.mark.parametrize("queries", [1, 32])
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("truth", [0.2, 5.0])
def test_estimates_come_to_what_searches_take(queries: int, layout: Layout, truth: float) -> None:
    paces = _paces()
    fixed = 30.0 + queries * 10_000 * 4e-3
    us = fixed + (_us(paces, queries=queries, layout=layout) - fixed) * truth
    for _ in range(200):
        paces.learn_exact(queries=queries, rows=10_000, dim=128, layout=layout, us=us)
    assert _us(paces, queries=queries, layout=layout) == pytest.approx(us, rel=0.25)


def test_one_search_that_waited_for_the_processor_changes_little() -> None:
    paces = _paces()
    before = _us(paces)
    paces.learn_exact(queries=1, rows=10_000, dim=128, layout=Layout.CONTIGUOUS, us=1e9)
    assert before < _us(paces) < 1.3 * before


def test_no_observation_drives_a_pace_out_of_all_bounds() -> None:
    paces = _paces()
    for _ in range(2_000):
        paces.learn_exact(queries=1, rows=10_000, dim=128, layout=Layout.CONTIGUOUS, us=1e12)
        paces.learn_index(1, queries=1, expected_us=10.0, us=1e12)
    assert _us(paces) < 1e6
    assert paces.index_us(1, queries=1, us=10.0) <= 320


def test_nothing_is_learnt_from_nothing() -> None:
    paces = _paces()
    before = _us(paces)
    paces.learn_exact(queries=1, rows=10_000, dim=128, layout=Layout.CONTIGUOUS, us=0.0)
    paces.learn_exact(queries=1, rows=1, dim=1, layout=Layout.CONTIGUOUS, us=50.0)
    paces.learn_index(1, queries=1, expected_us=10.0, us=0.0)
    assert _us(paces) == before
    assert paces.index_us(1, queries=3, us=10.0) == 30.0


def test_each_segment_has_its_own_pace_and_their_number_is_bounded() -> None:
    paces = _paces()
    for _ in range(200):
        paces.learn_index(1, queries=2, expected_us=10.0, us=60.0)
    assert paces.index_us(1, queries=1, us=10.0) == pytest.approx(30.0, rel=0.05)
    assert paces.index_us(2, queries=1, us=10.0) == 10.0
    for key in range(5_000):
        paces.learn_index(key, queries=1, expected_us=10.0, us=20.0)
    assert len(paces._index_scale) <= 512


@pytest.mark.parametrize("step_s", [0.0, 1e-9, 1e3])
def test_a_first_measurement_that_cannot_be_true_is_not_believed(step_s: float) -> None:
    usual, odd = _us(_paces(1e-4)), _us(_paces(step_s))
    assert usual / 20 < odd < usual * 20
