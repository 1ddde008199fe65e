"""Test that long work looks at its turn after each bounded piece, and that it ends at the look that says so. The work
between two looks is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded
from shoal.core.filter import And, Contains, Filter, In, Not, Or
from shoal.core.filter_predicate import predicate_of
from shoal.core.metric import Metric
from shoal.core.points import id_order
from shoal.core.shard_calls import Exact, QueryGroup, RecallTarget
from shoal.shard_worker.index.search import exact, filtered_reading
from shoal.shard_worker.index.search.ask import Ask
from shoal.shard_worker.index.search.exact import exact_hits
from shoal.shard_worker.index.search.filtered_reading import count_view, ids_page, rows_matching
from shoal.shard_worker.index.search.search import search_view
from shoal.shard_worker.payload.growing import GrowingPayloads
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from tests.support.worker.steady_paces import SteadyPaces
from tests.unit.shard_worker.index.filter_world import FakeNative, Piece, World, world
from tests.unit.shard_worker.index.twin import Writer, new_index

CONDITIONS = 200
MANY = Or(tuple(Contains(("text",), f"word {number:03}") for number in range(CONDITIONS)))


class Looks:
    """Turn that counts its looks and keeps the value of `seen()` at each one. The look number `ends_at` raises."""

    rested_s = 0.0

    def __init__(self, ends_at: int | None = None, seen: Callable[[], Any] = lambda: None) -> None:
        self.looks, self._ends_at, self._seen = 0, ends_at, seen
        self.told: list[Any] = []

    def check(self) -> None:
        self.looks += 1
        self.told.append(self._seen())
        if self.looks == self._ends_at:
            raise DeadlineExceeded("nobody waits")

    def pause(self) -> None:
        self.check()


def _world(*, rows: int = 300, unsure: bool = False, dim: int = 8) -> World:
    rng = np.random.default_rng(3)
    payloads = [{"text": f"a word {number:03} here", "n": number} for number in range(rows)]
    piece = Piece(ids=range(rows), vectors=rng.random((rows, dim)), payloads=payloads, unsure=lambda _: unsure)
    return world(Metric.L2, [piece, Piece(ids=[rows], vectors=rng.random((1, dim)), payloads=[None])], rng.random((4, dim)))


READS: dict[str, Callable[[World, Looks], Any]] = {
    "search": lambda made, turn: search_view(
        made.view,
        np.zeros((1, 8), dtype=np.float32),
        (QueryGroup(k=3, filter=MANY),),
        RecallTarget(0.9),
        None,
        made.metric,
        made.context(),
        turn,
    ),
    "exact": lambda made, turn: search_view(
        made.view, np.zeros((1, 8), dtype=np.float32), (QueryGroup(k=3, filter=MANY),), Exact(), None, made.metric, made.context(), turn
    ),
    "count": lambda made, turn: count_view(made.view, MANY, made.context(), turn),
    "page": lambda made, turn: ids_page(made.view, MANY, None, 10, made.context(), turn),
    "delete": lambda made, turn: rows_matching(made.view, MANY, 10, made.context(), turn),
}


@pytest.mark.parametrize("read", READS)
def test_rows_that_are_read_are_judged_one_by_one_and_by_a_few_conditions_at_a_time(read: str) -> None:
    made, turn = _world(unsure=True), Looks()
    READS[read](made, turn)
    # Row n needs n conditions until one matches, or all of them if none does.
    needed = sum(min(row, CONDITIONS) for row in range(300))
    assert turn.looks >= needed // 16


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("ends_at", [1, 2, 50, 500])
def test_a_read_ends_at_the_look_that_says_so(read: str, ends_at: int) -> None:
    turn = Looks(ends_at)
    with pytest.raises(DeadlineExceeded):
        READS[read](_world(unsure=True), turn)
    assert turn.looks == ends_at


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("filter", [MANY, And((Not(In(("n",), (-1,))),) * 40), Not(MANY)], ids=["any", "all", "not"])
def test_a_payload_index_is_asked_one_condition_and_one_block_at_a_time(filter: Filter, sealed: bool) -> None:
    growing = GrowingPayloads(PayloadBounds())
    growing.append([b'{"text": "word %03d", "n": %d}' % (row, row) for row in range(3_000)], 3_000)
    part = SealedPayloads.build([(growing.part(), np.arange(3_000))]) if sealed else growing.part()
    conditions, blocks = (40 if isinstance(filter, And) else CONDITIONS), (1 if sealed else 3)
    turn = Looks()
    answer = part.match(filter, np.arange(3_000), turn)
    assert turn.looks >= conditions * blocks
    assert part.match(filter, np.arange(3_000)).sure == answer.sure
    with pytest.raises(DeadlineExceeded):
        part.match(filter, np.arange(3_000), Looks(conditions))


def test_many_queries_of_an_index_are_searched_in_pieces() -> None:
    SteadyPaces.floats_per_us = 1e-3
    rng = np.random.default_rng(3)
    piece = Piece(ids=range(4_000), vectors=rng.random((4_000, 8)), payloads=[None] * 4_000, kind="HNSW16")
    queries = rng.random((100, 8)).astype(np.float32)
    made = world(Metric.L2, [piece], queries)
    native = made.view.parts[0].native
    assert isinstance(native, FakeNative)
    made.view.parts[0].tuning.now.us_per_breadth = 100.0
    turn = Looks(seen=lambda: sum(count for count, _, _ in native.searches))
    search_view(made.view, queries, (QueryGroup(k=10),), RecallTarget(0.95), None, made.metric, made.context(), turn)
    assert max(np.diff([*turn.told, 100])) < 100


@pytest.mark.parametrize("metric", [Metric.L2, Metric.IP])
@pytest.mark.parametrize("queries", [1, 30])
@pytest.mark.parametrize("deleted", [0, 1_300])
def test_exact_search_in_pieces_finds_the_same(monkeypatch: pytest.MonkeyPatch, metric: Metric, queries: int, deleted: int) -> None:
    rng = np.random.default_rng(5)
    writer = Writer(new_index(metric, 8, index="auto", growing_rows=2_000, flat_rows=10_000))
    writer.upsert(dict(enumerate(rng.random((1_500, 8)).astype(np.float32))))
    writer.delete(list(range(deleted)))
    view = writer.index.view()
    part, asked = view.parts[0], rng.random((queries, 8)).astype(np.float32)
    at_once = exact_hits(part, Ask(queries=asked, seq=view.seq, k=9, metric=metric))
    monkeypatch.setattr(exact, "_PIECE_FLOATS", 800)
    monkeypatch.setattr(exact, "_PIECE_PRODUCTS", 800)
    turn = Looks()
    in_pieces = exact_hits(part, Ask(queries=asked, seq=view.seq, k=9, metric=metric, turn=turn))
    assert _sorted(in_pieces) == _sorted(at_once)
    assert turn.looks >= 1_500 * 8 // 800


def _sorted(hits: Any) -> list[tuple[int, float, int]]:
    """Return (query, score, id) of the 9 best of each query, in order."""
    by_query: dict[int, list[tuple[float, int]]] = {}
    for query, score, point in zip(hits.query.tolist(), hits.scores.tolist(), hits.ids.tolist(), strict=True):
        by_query.setdefault(query, []).append((score, point))
    return [(query, *hit) for query, found in sorted(by_query.items()) for hit in sorted(found)[:9]]


@pytest.mark.parametrize("after", [None, 7, "s1", "zzz"])
@pytest.mark.parametrize("limit", [1, 5, 100])
def test_pages_of_text_ids_are_ordered_in_pieces(monkeypatch: pytest.MonkeyPatch, after: int | str | None, limit: int) -> None:
    rng = np.random.default_rng(1)
    ids = [f"s{at}" if at % 3 else at for at in rng.permutation(90).tolist()]
    made = world(Metric.L2, [Piece(ids=ids, vectors=rng.random((90, 2)), payloads=[None] * 90)], rng.random((1, 2)))
    expected = sorted((each for each in ids if after is None or id_order(each) > id_order(after)), key=id_order)[:limit]
    monkeypatch.setattr(filtered_reading, "_TEXTS_AT_ONCE", 7)
    turn = Looks()
    rows, found = ids_page(made.view, None, after, limit, made.context(), turn)
    assert found.tolist() == expected
    assert [ids[row - 1] for row in rows.tolist()] == expected
    assert turn.looks >= 90 // 7


def test_a_long_list_of_conditions_on_one_point_is_left_between_them() -> None:
    looks = Looks(3)
    judge = predicate_of(MANY, looks.pause)
    with pytest.raises(DeadlineExceeded):
        judge({"text": "nothing of this"}, 1)
    assert predicate_of(MANY, Looks().pause)({"text": "a word 150 here"}, 1)
