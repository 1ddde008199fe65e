"""Test that the recall that a live replica reports is the recall that one counts by hand."""

import numpy as np
import pytest

from shoal.core.ids import CollectionId, ShardId
from shoal.core.metric import Metric
from shoal.core.scoring import scores
from shoal.core.shard_calls import Exact, RecallTarget, ShardFound, ShardSearch
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import ShardMeasureRecall
from shoal.shard_worker.index.view import IndexView, SegmentView
from shoal.shard_worker.tuning.recall_probe import ProbeQueries, probe, stand_ins
from tests.support.worker.made_segments import frozen

SHARD = ShardId(CollectionId("collection"), 0)


class HalfBlind:
    """Answers like a replica, but searches that are not exact miss each row whose id is odd."""

    def __init__(self, parts: list[SegmentView], *, outdated: int = 0) -> None:
        self._view = IndexView(seq=5, parts=tuple(parts))
        self.outdated = outdated
        self.targets: list[object] = []

    def view(self) -> IndexView:
        return self._view

    def search(self, view: IndexView, call: ShardSearch) -> ShardFound | None:
        self.targets.append(call.accuracy)
        if self.outdated:
            self.outdated -= 1
            return None
        ids = np.concatenate([part.ids for part in view.parts])
        found = np.concatenate([scores(call.queries[0], part.vectors, Metric.L2) for part in view.parts])
        seen = np.ones(len(ids), dtype=bool) if isinstance(call.accuracy, Exact) else ids % 2 == 0
        order = np.argsort(found[seen], kind="stable")[: call.groups[0].k]
        hits = HitColumns(counts=np.array([len(order)]), ids=ids[seen][order], scores=found[seen][order])
        return ShardFound(hits=hits)


def line(count: int, first_row: int = 0) -> SegmentView:
    """Return points on a line. The id of each is 1,000,000 + row."""
    vectors = np.arange(first_row, first_row + count, dtype=np.float32)[:, None] * np.ones((1, 2), dtype=np.float32)
    return frozen(vectors, Metric.L2, first_row=first_row).part


def measured(reading: HalfBlind, queries: ProbeQueries, k: int):
    ticks = iter(range(10_000))
    call = ShardMeasureRecall(shard=SHARD, k=k, sample=len(queries), recall=0.9)
    return probe(reading, SHARD, queries, call, Metric.L2, lambda: next(ticks) * 1e-6)


def test_recall_is_the_share_of_the_exact_answer():
    reading = HalfBlind([line(20), line(20, first_row=20)])
    queries = ProbeQueries(queries=np.array([[0.0, 0.0], [39.0, 39.0]], dtype=np.float32), own=None)
    found = measured(reading, queries, 4)
    assert [each.recall for each in found] == [0.5, 0.5]
    assert [(each.search_us, each.exact_us) for each in found] == [(pytest.approx(1.0), pytest.approx(1.0))] * 2
    assert reading.targets == [RecallTarget(0.9), Exact()] * 2


def test_whatever_is_as_near_as_the_last_hit_counts():
    part = frozen(np.ones((10, 2), dtype=np.float32), Metric.L2).part
    found = measured(HalfBlind([part]), ProbeQueries(queries=np.ones((1, 2), dtype=np.float32), own=None), 5)
    assert found[0].recall == 1.0


def test_a_point_that_stands_in_is_no_hit_of_its_own():
    part = line(9)
    queries = ProbeQueries(queries=part.vectors[[0]], own=np.array([1_000_000], dtype=object))
    # Without the point itself, the true hits are rows 1, 2, 3 and 4. The search finds 2 and 4 of them.
    assert measured(HalfBlind([part]), queries, 4)[0].recall == 0.5


def test_queries_whose_view_was_outdated_are_left_out():
    queries = ProbeQueries(queries=np.zeros((3, 2), dtype=np.float32), own=None)
    assert len(measured(HalfBlind([line(9)], outdated=1), queries, 2)) == 2


def test_a_replica_without_points_has_nothing_to_miss():
    queries = ProbeQueries(queries=np.zeros((1, 2), dtype=np.float32), own=None)
    assert measured(HalfBlind([line(0)]), queries, 2) == []
    assert stand_ins(IndexView(seq=5, parts=()), 3, np.random.default_rng(0)) is None
    assert stand_ins(IndexView(seq=5, parts=(line(0),)), 3, np.random.default_rng(0)) is None


def test_points_that_live_stand_in_each_once():
    parts = (line(5), line(3, first_row=5), line(4, first_row=8))
    parts[0].deaths[:3] = 4
    parts[2].deaths[:] = 6
    view = IndexView(seq=5, parts=parts)
    alive = {1_000_003, 1_000_004, *range(1_000_005, 1_000_012)}
    everybody = stand_ins(view, 100, np.random.default_rng(0))
    assert everybody is not None
    assert sorted(everybody.own.tolist()) == sorted(alive)
    np.testing.assert_array_equal(everybody.queries[:, 0] + 1_000_000, everybody.own.astype(np.float32))
    few = stand_ins(view, 4, np.random.default_rng(1))
    assert few is not None
    assert len(few) == 4
    assert set(few.own.tolist()) <= alive
    slices = list(everybody.slices())
    assert [len(each) for each in slices] == [4, 4, 1]
    np.testing.assert_array_equal(np.concatenate([each.own for each in slices]), everybody.own)
