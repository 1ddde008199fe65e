"""When sketches are made, used, extended and given up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoal.core.filter import In, filter_key
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.shard_calls import Exact, QueryGroup
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilter, HotFilters
from shoal.shard_worker.index.search.paces import Layout
from shoal.shard_worker.index.search.search import search_view
from shoal.shard_worker.index.search.sketches import Chore, Counting, SketchSlot, at_once
from shoal.shard_worker.index.sketch import Sketch
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.bound_gain import RESTED_SEARCHES, WIDTH, BoundGain
from tests.unit.shard_worker.index.filter_world import SEQ, Piece, Ticks, world

DIM, ROWS = 256, 5_200
QUERY = np.zeros((1, DIM), dtype=np.float32)


class Later:
    """Keeps chores until they are done."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes, self.chores = takes, list[Chore]()

    def __call__(self, chore: Chore) -> bool:
        if self.takes:
            self.chores.append(chore)
        return self.takes

    def do(self) -> None:
        chores, self.chores = self.chores, []
        for chore in chores:
            chore(bool)


def _vectors(rows: int = ROWS) -> Matrix:
    rng = np.random.default_rng(4)
    made: Matrix = (rng.standard_normal((rows, 10)) @ rng.standard_normal((10, DIM))).astype(np.float32)
    return made


def _part(rows: int = ROWS, *, key: int = 1) -> SegmentView:
    piece = Piece(ids=range(rows), vectors=_vectors(ROWS)[:rows], payloads=[None] * rows)
    return replace(world(Metric.L2, [piece], QUERY).view.parts[0], key=key)


def _after(filters: HotFilters, part: SegmentView, searches: int) -> Sketch | None:
    found = None
    for _ in range(searches):
        found = filters.sketches.of(part)
    return found


def test_a_part_gets_its_sketch_beside_searches_once_it_was_searched_a_few_times() -> None:
    later, part = Later(), _part()
    filters = HotFilters(aside=later)
    assert _after(filters, part, 7) is None
    assert later.chores == []
    assert _after(filters, part, 20) is None
    assert len(later.chores) == 1
    held = filters.memory_bytes
    later.do()
    found = filters.sketches.of(part)
    assert found is not None
    assert len(found) == ROWS
    assert filters.sketches.peek(part) is found
    assert filters.memory_bytes >= held + ROWS * WIDTH * 4
    filters.forget([part.key])
    assert filters.memory_bytes == 0


def test_small_parts_and_parts_without_room_get_none() -> None:
    later = Later()
    assert _after(HotFilters(aside=later), _part(500), 100) is None
    assert _after(HotFilters(ROWS * WIDTH * 8 - 1, aside=later), _part(), 100) is None
    assert later.chores == []
    _after(HotFilters(ROWS * WIDTH * 8, aside=later), _part(), 100)
    assert len(later.chores) == 1


def test_a_chore_that_is_refused_is_asked_for_again() -> None:
    later, part = Later(takes=False), _part()
    filters = HotFilters(aside=later)
    _after(filters, part, 8)
    later.takes = True
    assert _after(filters, part, 7) is None
    assert later.chores == []
    _after(filters, part, 1)
    later.do()
    assert filters.sketches.of(part) is not None


def test_a_chore_that_fails_leaves_the_part_without_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    later, part = Later(), _part()
    filters = HotFilters(aside=later)
    _after(filters, part, 8)
    monkeypatch.setattr(Sketch, "of", None)
    with pytest.raises(TypeError):
        later.do()
    monkeypatch.undo()
    _after(filters, part, 8)
    later.do()
    assert filters.sketches.of(part) is not None


def test_a_sketch_that_does_not_pay_is_given_up_for_a_long_time() -> None:
    filters, part = HotFilters(), _part()
    found = _after(filters, part, 9)
    assert found is not None
    for _ in range(8):
        found.gain = found.gain.after(left=ROWS, rows=ROWS, dim=DIM)
    assert filters.sketches.of(part) is None
    assert filters.sketches.peek(part) is None
    assert _after(filters, part, RESTED_SEARCHES - 1) is None
    again = _after(filters, part, 1)
    assert again is not None
    assert again.gain == BoundGain()


def test_the_sketch_of_a_growing_part_grows_with_it() -> None:
    later, first = Later(), _part(4_100)
    filters = HotFilters(aside=later)
    _after(filters, first, 8)
    later.do()
    sketch = filters.sketches.of(first)
    assert sketch is not None
    more = _part(4_200)
    assert filters.sketches.of(more) is sketch
    assert later.chores == []


def test_a_sketch_that_lags_far_behind_is_extended_and_one_that_lags_too_far_is_not_used() -> None:
    later, vectors = Later(), _vectors(9_000)
    filters = HotFilters(aside=later)
    base = _part(4_200)
    short, longer, longest = (
        replace(base, vectors=vectors[:rows], rows=np.arange(rows), deaths=np.full(rows, SEQ + 1)) for rows in (4_200, 5_000, 9_000)
    )
    _after(filters, short, 8)
    later.do()
    sketch = filters.sketches.of(longer)
    assert sketch is not None
    assert len(sketch) == 4_200
    assert filters.sketches.of(longest) is None
    assert len(later.chores) == 1
    later.do()
    extended = filters.sketches.of(longer)
    assert extended is not None
    assert len(extended) == 5_000
    filters.sketches.of(longest)
    later.do()
    found = filters.sketches.of(longest)
    assert found is not None
    assert len(found) == 9_000
    assert filters.sketches.of(short) is found


def test_a_part_that_is_gone_gets_no_sketch() -> None:
    later, part = Later(), _part()
    filters = HotFilters(aside=later)
    _after(filters, part, 8)
    filters.forget([part.key])
    later.do()
    assert filters.memory_bytes == 0


def test_hot_filters_get_a_sketch_of_their_gathered_rows() -> None:
    later, part = Later(), _part()
    filters = HotFilters(aside=later)
    hot = HotFilter(positions=np.arange(0, ROWS, dtype=np.int64)[5:], rows=ROWS, estimate=1.0, verified_seq=0)
    filters.keep(part, "a", hot)
    assert hot.layout is Layout.SCATTERED
    filters.gather(part, "a", hot)
    assert hot.layout is Layout.CONTIGUOUS
    for _ in range(8):
        assert filters.sketch(part, "a", hot) is None
    before = filters.memory_bytes
    later.do()
    sketch = filters.sketch(part, "a", hot)
    assert sketch is not None
    assert len(sketch) == ROWS - 5
    assert hot.layout is Layout.PRUNED
    assert filters.memory_bytes >= before + sketch.images.nbytes
    filters.forget([part.key])
    assert filters.memory_bytes == 0


def test_slots_count_only_searches_without_sketch() -> None:
    slot = SketchSlot(3)
    assert [slot.searched() for _ in range(5)] == [False, False, True, False, False]
    slot.not_made()
    assert slot.state == Counting(0, 3)
    slot.made(None)
    assert slot.state == Counting(0, RESTED_SEARCHES)
    assert slot.ready is None
    assert slot.memory_bytes == 0


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("filtered", [False, True])
def test_searches_with_sketches_give_the_same_answers_as_without(metric: Metric, filtered: bool) -> None:
    rng = np.random.default_rng(6)
    payloads = [{"n": int(row % 7)} for row in range(ROWS)]
    piece = Piece(ids=range(ROWS), vectors=_vectors() + 1, payloads=payloads, dead=range(0, ROWS, 13))
    made = world(metric, [piece], QUERY + 1)
    group = QueryGroup(k=10, filter=In(("n",), (0, 1, 2, 3, 4, 5)) if filtered else None)
    queries = (_vectors()[:40] + rng.standard_normal((40, DIM))).astype(np.float32)

    def answers(context: SearchContext) -> list[object]:
        found = [search_view(made.view, query[None, :], (group,), Exact(), None, metric, context)[0] for query in queries]
        return [(each.ids.tolist(), each.scores.tolist()) for each in found]

    used, unused = (
        SearchContext(hot=HotFilters(aside=aside), read_payloads=made.read_payloads, clock=Ticks())
        for aside in (at_once, Later(takes=False))
    )
    assert answers(used) == answers(unused)
    part, key = made.view.parts[0], "" if group.filter is None else filter_key(group.filter)
    for context, ready in ((used, True), (unused, False)):
        hot = context.hot.peek(part, key, SEQ)
        sketch = context.hot.sketches.peek(part) if hot is None else hot.sketch.ready
        assert (sketch is not None) == ready
        assert sketch is None or sketch.gain.searches > 20
