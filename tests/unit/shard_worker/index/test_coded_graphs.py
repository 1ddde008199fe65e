"""Test which automatic graphs are over bytes, and that a replica's index leaves bytes when they do not suffice
(ADR 21).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from shoal.core.index_spec import CODED_DIM
from shoal.core.metric import Metric
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.sealed import VECTORS_SUFFIX, SealedSegment
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.logic.segments.segment_plan import plan_build
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.resources.builders import BUILD_HERE
from tests.support.worker.made_segments import clustered, written
from tests.unit.shard_worker.index.twin import Writer, approximate, brute_force

CODED, PLAIN = "HNSW16,SQ8", "HNSW16,Flat"
ROWS, MORE = 500, 110


class Keeper(Writer):
    """A writer whose builds decide as those of a worker do, and map vectors from files."""

    def __init__(self, folder: Path, *, metric: Metric = Metric.L2, index: str = "auto", dim: int = CODED_DIM) -> None:
        super().__init__(ReplicaIndex(dim=dim, metric=metric, index=index, flat_rows=100))
        self.folder = folder
        self.newest: SealedSegment | None = None

    def build(self, *, everything: bool = False) -> bool:
        plan = plan_build(self.index.summary(), everything=everything)
        if plan is None:
            return False
        job = self.index.begin_build(plan)
        sealed = BUILD_HERE.build(job, bool)
        assert sealed is not None
        name = f"segment-{self.seq}-{len(list(self.folder.iterdir()))}"
        paths = written(sealed, self.folder, name)
        if VECTORS_SUFFIX in paths:
            sealed.map_vectors(paths[VECTORS_SUFFIX])
        self.index.swap(job, sealed, name)
        self.newest, self.paths = sealed, paths
        return True

    def add(self, vectors: np.ndarray) -> None:
        first = 1 + max([int(known) for known in self.row_of], default=0)
        self.upsert(dict(enumerate(vectors, first)))

    def seal(self) -> list[str]:
        """Build until nothing is due. Return the kinds of all segments."""
        self.index.freeze()
        while self.build():
            pass
        return [each.form for each in self.index.summary()]

    @property
    def native(self) -> NativeIndex:
        found = self.index.view().parts[0].native
        assert found is not None
        return found

    def answers_exactly(self, metric: Metric = Metric.L2) -> bool:
        """Return whether broad searches find exactly the best points, with their scores bit for bit."""
        queries = clustered(7, 6, self.index.dim)
        found = approximate(self.index, self.index.view(), queries, 10, ef=500)
        return found == [brute_force(self.points, query, 10, metric) for query in queries]


def far_rows(count: int, dim: int = CODED_DIM) -> np.ndarray:
    """Return rows that need much wider steps than usual ones."""
    return clustered(5, count, dim) * 500


@pytest.mark.parametrize("metric", list(Metric))
def test_an_automatic_graph_is_over_bytes_and_hits_have_the_scores_of_their_vectors(metric: Metric, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, metric=metric)
    keeper.add(clustered(1, ROWS, CODED_DIM))
    assert keeper.seal() == [CODED]
    assert keeper.answers_exactly(metric)


@pytest.mark.parametrize(("index", "dim"), [("auto", CODED_DIM - 1), ("hnsw", CODED_DIM)])
def test_graphs_of_few_dimensions_and_graphs_that_were_named_are_over_vectors(index: str, dim: int, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, index=index, dim=dim)
    keeper.add(clustered(1, ROWS, dim))
    assert keeper.seal() == [PLAIN]


def test_rows_that_bytes_do_not_tell_apart_get_a_graph_over_vectors_and_this_is_remembered(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.add(np.concatenate([far_rows(3), clustered(1, ROWS, CODED_DIM)]))
    assert keeper.seal() == [PLAIN]
    # Without the far rows bytes would do. But they were tried, and are tried again only when the index is chosen again.
    keeper.delete(list(range(1, MORE)))
    assert keeper.seal() == [PLAIN]
    keeper.index.choose("auto")
    assert keeper.seal() == [PLAIN], "a segment that serves is not built anew for this"
    keeper.delete(list(range(MORE, 2 * MORE)))
    assert keeper.seal() == [CODED]
    assert keeper.answers_exactly()


def test_new_rows_that_fit_the_codes_extend_the_graph(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.add(clustered(1, ROWS, CODED_DIM))
    assert keeper.seal() == [CODED]
    before = keeper.native.code_range()
    keeper.delete([4, 5])
    for seed in range(2, 6):
        keeper.add(clustered(seed, ROWS, CODED_DIM))
        assert keeper.seal() == [CODED]
    after = keeper.native.code_range()
    assert before is not None
    assert after is not None
    assert np.array_equal(before, after), "it was extended, not made anew, though it has five times the rows"
    assert len(keeper.native) == 5 * ROWS, "its dead rows are still there"


@pytest.mark.parametrize(("more", "kind"), [(MORE, PLAIN), (ROWS, CODED)])
def test_new_rows_beyond_the_codes_are_not_clipped(more: int, kind: str, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.add(clustered(1, ROWS, CODED_DIM))
    keeper.seal()
    keeper.delete([4, 5])
    keeper.add(clustered(2, more, CODED_DIM) * 3)
    assert keeper.seal() == [kind]
    assert len(keeper.native) == ROWS + more
    assert keeper.answers_exactly()
    keeper.add(clustered(3, more, CODED_DIM))
    assert keeper.seal() == [kind]


def short_of(target: float, keeper: Keeper) -> Tuning:
    """Return what a measurement with real queries says of an index that never reaches `target`."""
    known = keeper.index.view().parts[0].tuning.now
    measures = known.measures
    most = np.full_like(measures.expected, target - 0.05)
    costly = dataclasses.replace(measures, surely=most, expected=most, us=(1e6,) * len(measures.us), queries=100, real=True)
    return Tuning(known.shape, costly)


def test_a_graph_over_bytes_that_misses_the_target_is_replaced_once_by_one_over_vectors(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.add(clustered(1, ROWS, CODED_DIM))
    assert keeper.seal() == [CODED]
    keeper.index.view().parts[0].tuning.now = short_of(0.95, keeper)
    assert [each.outdated for each in keeper.index.summary()] == [True]
    assert keeper.seal() == [PLAIN]
    keeper.index.view().parts[0].tuning.now = short_of(0.95, keeper)
    assert keeper.seal() == [PLAIN]
    assert not keeper.build()
    keeper.delete(list(range(1, MORE)))
    assert keeper.seal() == [PLAIN], "bytes are not tried again"


def test_a_graph_is_judged_by_the_target_of_the_collection(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.add(clustered(1, ROWS, CODED_DIM))
    keeper.seal()
    part = keeper.index.view().parts[0]
    enough = short_of(0.95, keeper)
    part.tuning.now = Tuning(enough.shape, dataclasses.replace(enough.measures, us=(1.0,) * (len(enough.measures.us) - 1) + (1e6,)))
    keeper.index.aim(0.85)
    assert [each.outdated for each in keeper.index.summary()] == [False]
    keeper.index.aim(0.95)
    assert [each.outdated for each in keeper.index.summary()] == [True]


def test_memory_is_reserved_for_either_kind(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.add(clustered(1, ROWS, CODED_DIM))
    keeper.index.freeze()
    named = Keeper(tmp_path, index="hnsw")
    named.add(clustered(1, ROWS, CODED_DIM))
    named.index.freeze()
    plan = plan_build(keeper.index.summary())
    assert plan is not None
    job = keeper.index.begin_build(plan)
    assert (job.spec.text, job.dearest.text) == (CODED, PLAIN)
    assert keeper.index.cost().next_build == named.index.cost().next_build


def test_segments_of_earlier_versions_stay_over_vectors(tmp_path: Path) -> None:
    before = Keeper(tmp_path, index="hnsw")
    before.add(clustered(1, ROWS, CODED_DIM))
    assert before.seal() == [PLAIN]
    keeper = Keeper(tmp_path)
    rows, ids = before.live()
    keeper.index.load_sealed(
        name="old", paths=before.paths, live_rows=rows, ids=ids, payloads=lambda _: SealedPayloads.read(before.paths[".payload"])
    )
    keeper.index.publish(before.seq)
    assert [(each.form, each.outdated) for each in keeper.index.summary()] == [(PLAIN, False)]
    keeper.seq, keeper.points, keeper.row_of, keeper._next_row = before.seq, before.points, before.row_of, before._next_row
    keeper.add(clustered(2, MORE, CODED_DIM))
    assert keeper.seal() == [PLAIN]
    assert keeper.answers_exactly()
