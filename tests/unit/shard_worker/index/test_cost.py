from __future__ import annotations

import pytest

from shard_worker.index.cost import estimated_search_us
from shoal.core.collection import Metric
from tests.unit.shard_worker.index.twin import Writer, new_index, random_points


def _cost(writer: Writer, *, nq: int = 1, k: int = 10, exact: bool = False, ef: int = 64) -> float:
    return estimated_search_us(writer.index.view(), nq=nq, k=k, exact=exact, ef=ef, dim=16)


@pytest.fixture(scope="module")
def sealed() -> Writer:
    writer = Writer(new_index(Metric.L2, 16, growing_rows=3_000))
    writer.upsert(random_points(1, 6_000, 16))
    writer.optimize()
    return writer


def test_an_estimate_grows_with_the_work(sealed: Writer) -> None:
    base = _cost(sealed)
    assert base < _cost(sealed, nq=2) < _cost(sealed, nq=100)
    assert base < _cost(sealed, ef=128)
    assert base < _cost(sealed, exact=True)
    assert _cost(sealed, nq=100, exact=True) < 100 * _cost(sealed, exact=True)


def test_a_search_so_broad_that_it_becomes_exact_costs_as_much(sealed: Writer) -> None:
    assert _cost(sealed, k=300) == _cost(sealed, k=300, exact=True)


def test_an_empty_index_costs_little_and_growing_rows_more() -> None:
    writer = Writer(new_index(Metric.L2, 16, growing_rows=3_000))
    empty = _cost(writer)
    writer.upsert(random_points(1, 2_000, 16))
    assert empty < 100 < _cost(writer) + 50
    assert _cost(writer) > empty
