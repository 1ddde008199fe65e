"""Exact search that leaves out rows by bounds finds what brute force finds, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import prepared
from shoal.core.topk import hit_order
from shoal.shard_worker.index.search import pruning
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.exact import Stock, exact_hits
from shoal.shard_worker.index.sketch import Axes, Sketch
from shoal.shard_worker.index.view import SegmentView
from tests.support.examples.hostile_vectors import DATA, QUERIES, queries_of, rows_of
from tests.unit.shard_worker.index.filter_world import SEQ, Piece, world
from tests.unit.shard_worker.index.twin import brute_force

DIM = 192
ROWS = 700


def _part(vectors: Matrix, metric: Metric, dead: tuple[int, ...] = ()) -> SegmentView:
    piece = Piece(ids=range(len(vectors)), vectors=vectors, payloads=[None] * len(vectors), dead=dead)
    with np.errstate(over="ignore"):
        return world(metric, [piece], vectors[:1]).view.parts[0]


def _stock(part: SegmentView, positions: np.ndarray | None, known: int) -> Stock:
    """The rows at `positions`, None for all, with a sketch of the first `known` of them."""
    axes = Axes.of(part.vectors)
    assert axes is not None
    vectors = part.vectors if positions is None else part.vectors[positions]
    sketch = Sketch.of(axes, vectors[:known])
    counted = part.deaths > SEQ if positions is None else part.deaths[positions] > SEQ
    return Stock(
        vectors=vectors,
        squares=part.squares if positions is None else part.squares[positions],
        positions=positions,
        counted=counted if part.dead else None,
        count=int(counted.sum()),
        sketch=sketch,
    )


def _found(part: SegmentView, stock: Stock, queries: Matrix, k: int, metric: Metric) -> list[list[tuple[int, str]]]:
    ask = Ask(queries=np.ascontiguousarray(prepared(queries, metric)), seq=SEQ, k=k, metric=metric)
    hits = exact_hits(part, ask, stock)
    order = hit_order(hits.query, hits.scores, hits.ids, metric)
    pairs = list(zip(hits.query[order].tolist(), hits.ids[order].tolist(), hits.scores[order].tolist(), strict=True))
    return [[(point, str(score)) for number, point, score in pairs if number == query][:k] for query in range(len(queries))]


def _expected(part: SegmentView, stock: Stock, vectors: Matrix, queries: Matrix, k: int, metric: Metric) -> list[list[tuple[int, str]]]:
    at = range(len(part)) if stock.positions is None else stock.positions.tolist()
    points = {row: vectors[row] for number, row in enumerate(at) if stock.counted is None or stock.counted[number]}
    return [[(point, str(score)) for point, score in brute_force(points, query, k, metric)] for query in queries]


@settings(max_examples=120, deadline=None)
@given(
    data=st.sampled_from(DATA),
    asked=st.sampled_from(QUERIES),
    metric=st.sampled_from(list(Metric)),
    k=st.sampled_from([1, 10, 60, 150]),
    filtered=st.booleans(),
    dead=st.sampled_from([0, 1, 300, 660]),
    known=st.sampled_from([ROWS, 500, 80]),
    scale=st.sampled_from([1.0, 1e-3, 1e6]),
    offset=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0, 20),
)
def test_the_answer_is_that_of_brute_force(
    data: str, asked: str, metric: Metric, k: int, filtered: bool, dead: int, known: int, scale: float, offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plain = rows_of(data, ROWS, DIM, seed)
    vectors = (plain + np.float32(offset)) * np.float32(scale)
    queries = (queries_of(asked, plain, 3, seed) + np.float32(offset)) * np.float32(scale)
    queries[-1] = vectors[0]
    part = _part(vectors, metric, tuple(rng.permutation(ROWS)[:dead].tolist()))
    positions = np.sort(rng.permutation(ROWS)[:600]).astype(np.int64) if filtered else None
    stock = _stock(part, positions, known)
    assert _found(part, stock, queries, k, metric) == _expected(part, stock, vectors, queries, k, metric)


@pytest.mark.parametrize("scale", [1e-38, 1e-22, 1e-19, 1e17, 1e18, 1e19, 3e38])
@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.filterwarnings("error")
def test_scales_at_which_float32_gives_out(metric: Metric, scale: float) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.uniform(-1, 1, size=(ROWS, DIM)).astype(np.float32)
    vectors[::3] *= np.float32(scale)
    queries = rng.uniform(-1, 1, size=(4, DIM)).astype(np.float32)
    queries[::2] *= np.float32(scale)
    part = _part(vectors, metric)
    axes = Axes.of(part.vectors)
    stock = Stock(vectors=part.vectors, squares=part.squares, count=ROWS, sketch=None if axes is None else Sketch.of(axes, part.vectors))
    assert _found(part, stock, queries, 20, metric) == _expected(part, stock, vectors, queries, 20, metric)


def test_rows_that_differ_in_the_last_bit_are_not_lost() -> None:
    """Copies of one vector with single bits changed: their distances differ by less than the bounds can tell."""
    rng = np.random.default_rng(2)
    base = rng.standard_normal(DIM).astype(np.float32)
    vectors = np.repeat(base[None, :], ROWS, axis=0)
    for row in range(0, ROWS, 2):
        vectors[row, row % DIM] = np.nextafter(base[row % DIM], np.float32(np.inf))
    vectors[:100] += rng.standard_normal((100, DIM)).astype(np.float32)
    for metric in Metric:
        part = _part(vectors, metric)
        stock = _stock(part, None, ROWS)
        queries = np.stack([base, base + np.float32(1e-4)])
        assert _found(part, stock, queries, 10, metric) == _expected(part, stock, vectors, queries, 10, metric)


@pytest.mark.parametrize("metric", list(Metric))
def test_most_rows_are_left_out_where_vectors_have_a_shape(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    plain = rng.standard_normal((ROWS, 8)) @ rng.standard_normal((8, DIM))
    vectors = (plain + 0.05 * rng.standard_normal((ROWS, DIM))).astype(np.float32)
    part = _part(vectors, metric)
    stock = _stock(part, None, ROWS)
    compared: list[int] = []
    whole = pruning.Pruner.left

    def left(self: pruning.Pruner, *asked: object) -> np.ndarray | None:
        found = whole(self, *asked)
        compared.append(ROWS if found is None else len(found))
        return found

    monkeypatch.setattr(pruning.Pruner, "left", left)
    queries = (vectors[:5] + 0.05 * rng.standard_normal((5, DIM))).astype(np.float32)
    assert _found(part, stock, queries, 10, metric) == _expected(part, stock, vectors, queries, 10, metric)
    assert len(compared) == 5
    assert max(compared) < ROWS // 5
    assert stock.sketch is not None
    assert stock.sketch.gain.searches == 5


def test_a_bound_that_leaves_too_much_gives_way_to_a_pass_over_all_rows() -> None:
    vectors = rows_of("gaussian", ROWS, DIM, 1)
    part = _part(vectors, Metric.L2)
    stock = _stock(part, None, ROWS)
    queries = queries_of("random", vectors, 9, 1)
    for query in queries:
        one = query[None, :]
        assert _found(part, stock, one, 10, Metric.L2) == _expected(part, stock, vectors, one, 10, Metric.L2)
    assert stock.sketch is not None
    assert not stock.sketch.gain.pays
