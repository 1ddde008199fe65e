"""Test the calls of the writer against the dumb twin, and what views guarantee."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import Internal, InvalidArgument
from shoal.core.metric import Metric
from shoal.core.points import PointId
from shoal.core.sizing import growing_code_bytes
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.view import IndexView
from shoal.shard_worker.logic.segments.segment_plan import BuildPlan, plan_build
from tests.unit.shard_worker.index.twin import (
    INDEXES,
    Writer,
    approximate,
    brute_force,
    by_query,
    exact,
    new_index,
    random_points,
    sealed_by,
    search,
)

DIM = 3
IDS = st.one_of(st.integers(-2, 14), st.sampled_from(["", "1", "a", "b", "c"]))
GRID = st.tuples(*[st.integers(-1, 1)] * DIM).filter(any)
"""Vectors of a small grid: many are equal and many scores tie."""

UPSERT = st.tuples(st.just("upsert"), st.dictionaries(IDS, GRID, min_size=1, max_size=12))
DELETE = st.tuples(st.just("delete"), st.lists(IDS, max_size=8, unique=True))
VERBS = st.tuples(st.sampled_from(["freeze", "begin", "begin everything", "run", "swap", "abandon", "unpublished upsert"]), st.just(None))


class _Run:
    """One random history: each view that it published, and the points at that time."""

    def __init__(self, metric: Metric, index: str) -> None:
        self.writer = Writer(new_index(metric, DIM, index=index))
        self.index = self.writer.index
        self.metric = metric
        self.job: BuildJob | None = None
        self.sealed = None
        self.history: list[tuple[IndexView, Mapping[PointId, np.ndarray]]] = []

    def step(self, verb: str, argument: object) -> None:
        if verb in {"upsert", "delete"}:
            self._write(verb, argument)
        elif verb == "unpublished upsert":
            self.writer.upsert({5: np.ones(DIM, dtype=np.float32)}, publish=False)
            self.writer.upsert({5: np.full(DIM, 0.5, dtype=np.float32)})
        elif verb == "freeze":
            self.index.freeze()
        elif verb.startswith("begin") and self.job is None:
            plan = plan_build(self.index.summary(), everything=verb.endswith("everything"))
            self.job = self.index.begin_build(plan) if plan else None
        elif verb == "run" and self.job and self.sealed is None:
            self.sealed = sealed_by(self.job)
        elif verb == "abandon" and self.job:
            self.index.abandon(self.job)
            self.job = self.sealed = None
        elif verb == "swap" and self.job and self.sealed is not None:
            self.index.swap(self.job, self.sealed, "x")
            self.job = self.sealed = None
        self.history.append((self.index.view(), dict(self.writer.points)))

    def _write(self, verb: str, argument: object) -> None:
        if verb == "delete":
            assert isinstance(argument, list)
            self.writer.delete(argument)
        else:
            assert isinstance(argument, dict)
            self.writer.upsert({point_id: np.array(vector, dtype=np.float32) for point_id, vector in argument.items()})


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(Metric),
    st.sampled_from(INDEXES),
    st.lists(st.one_of(UPSERT, UPSERT, DELETE, VERBS, VERBS), max_size=25),
    st.lists(GRID, min_size=1, max_size=10),
    st.integers(1, 30),
)
def test_any_history_answers_as_brute_force_at_every_view(metric: Metric, index: str, steps: list, grid: list, k: int) -> None:
    run = _Run(metric, index)
    queries = np.array(grid, dtype=np.float32)
    for verb, argument in steps:
        run.step(verb, argument)
        stats = run.index.stats()
        assert stats.points == stats.growing_rows + stats.sealed_rows == len(run.writer.points)
    for view, points in run.history:
        assert view.points == len(points)
        expected = [brute_force(points, query, k, metric) for query in queries]
        assert exact(run.index, view, queries, k) == expected
        assert exact(run.index, view, queries[:1], k) == expected[:1]
        assert [len(hits) for hits in approximate(run.index, view, queries, k, ef=1)] == [min(k, len(points))] * len(queries)


def test_found_rows_are_the_rows_of_the_found_ids() -> None:
    writer = Writer(new_index(Metric.L2, 4))
    writer.upsert(random_points(1, 50, 4))
    writer.upsert(random_points(2, 20, 4, first_id=10))
    writer.build()
    writer.delete([3, 11])
    found = search(writer.index, writer.index.view(), np.zeros((3, 4), dtype=np.float32), 48, exact=True, ef=64)
    assert found.counts.tolist() == [48, 48, 48]
    assert found.rows.tolist() == [writer.row_of[point_id] for point_id in found.ids.tolist()]


def test_an_empty_index_and_an_empty_batch_answer_with_nothing() -> None:
    index = new_index(Metric.L2, 4)
    found = search(index, index.view(), np.zeros((2, 4), dtype=np.float32), 5, exact=False, ef=64)
    assert (found.counts.tolist(), len(found)) == ([0, 0], 0)
    writer = Writer(index)
    writer.upsert(random_points(1, 5, 4))
    found = search(index, index.view(), np.zeros((0, 4), dtype=np.float32), 5, exact=False, ef=64)
    assert (found.counts.tolist(), len(found)) == ([], 0)


def test_everything_deleted_leaves_no_segment_behind() -> None:
    writer = Writer(new_index(Metric.COSINE, 4))
    writer.upsert(random_points(1, 30, 4))
    writer.build()
    writer.delete(list(range(30)))
    writer.optimize()
    stats = writer.index.stats()
    assert (stats.points, stats.dead_rows, stats.segments) == (0, 0, 0)
    assert approximate(writer.index, writer.index.view(), np.ones((1, 4), dtype=np.float32), 3) == [[]]


@pytest.mark.parametrize("index", INDEXES)
def test_optimize_ends_in_one_sealed_segment(index: str) -> None:
    writer = Writer(new_index(Metric.L2, 4, index=index))
    for seed in range(9):
        writer.upsert(random_points(seed, 13, 4, first_id=9 * seed))
        writer.build()
    writer.optimize()
    stats = writer.index.stats()
    assert (stats.growing_rows, stats.sealed_rows, stats.segments) == (0, 85, 1)
    assert plan_build(writer.index.summary(), everything=True) is None
    assert writer.index.summary()[0].form == ("flat" if index == "flat" else "HNSW16,Flat")


def test_auto_builds_graphs_only_from_its_bound_on() -> None:
    for rows, form in ((5, "flat"), (6, "HNSW16,Flat")):
        writer = Writer(new_index(Metric.L2, 4, index="auto", flat_rows=6))
        writer.upsert(random_points(1, rows, 4))
        writer.optimize()
        assert [segment.form for segment in writer.index.summary()] == [form]


def test_unpublished_records_are_invisible_and_hold_back_swaps() -> None:
    writer = Writer(new_index(Metric.L2, 4))
    writer.upsert(random_points(1, 20, 4))
    before = writer.index.view()
    job = writer.index.begin_build(plan_build(writer.index.summary()) or BuildPlan(sources=(), base=None))
    sealed = sealed_by(job)
    writer.upsert(random_points(2, 20, 4), publish=False)
    assert writer.index.view() is before
    with pytest.raises(Internal, match="between apply and publish"):
        writer.index.swap(job, sealed, "x")
    writer.publish()
    writer.index.swap(job, sealed, "x")
    query = np.zeros((1, 4), dtype=np.float32)
    assert exact(writer.index, writer.index.view(), query, 30) == [brute_force(writer.points, query[0], 30, Metric.L2)]
    assert exact(writer.index, before, query, 30) == [brute_force(random_points(1, 20, 4), query[0], 30, Metric.L2)]


def test_a_build_stops_when_told_and_leaves_its_sources() -> None:
    writer = Writer(new_index(Metric.L2, 4))
    writer.upsert(random_points(1, 20, 4))
    plan = plan_build(writer.index.summary())
    assert plan is not None
    job = writer.index.begin_build(plan)
    assert job.run(lambda: True) is None
    assert plan_build(writer.index.summary()) is None
    writer.index.abandon(job)
    assert plan_build(writer.index.summary()) == plan
    with pytest.raises(Internal, match="not the running one"):
        writer.index.swap(job, sealed_by(job), "x")


def test_a_build_of_many_blocks_takes_every_row() -> None:
    dim, rows = 32_000, 121
    writer = Writer(new_index(Metric.L2, dim, growing_rows=100))
    writer.upsert(random_points(1, rows, dim))
    asked: list[bool] = []
    writer.index.freeze()
    job = writer.index.begin_build(plan_build(writer.index.summary()) or BuildPlan(sources=(), base=None))
    sealed = job.run(lambda: bool(asked.append(True)))
    assert len(asked) == 3
    assert sealed is not None
    writer.index.swap(job, sealed, "x")
    for point_id in (0, 49, 50, 99, 100, 120):
        found = approximate(writer.index, writer.index.view(), writer.points[point_id][None, :], 1)
        assert found == [[(point_id, 0.0)]]


def test_a_graph_is_extended_not_rebuilt_and_names_what_it_replaces() -> None:
    writer = Writer(new_index(Metric.L2, 4))
    writer.upsert(random_points(1, 80, 4))
    job = writer.index.begin_build(BuildPlan(sources=tuple(segment.key for segment in writer.index.summary()), base=None))
    writer.index.swap(job, sealed_by(job), "first")
    writer.upsert(random_points(2, 10, 4, first_id=75))
    plan = plan_build(writer.index.summary())
    assert plan is not None
    job = writer.index.begin_build(plan)
    assert (job.inserts, job.replaces, job.base is not None) == (8, ("first",), True)
    sealed = sealed_by(job)
    assert sealed.rows_held == 88
    writer.index.swap(job, sealed, "second")
    assert (writer.index.stats().sealed_rows, writer.index.stats().growing_rows, writer.index.stats().dead_rows) == (83, 2, 5)


def test_misuse_is_refused_before_anything_changes() -> None:
    writer = Writer(new_index(Metric.L2, 2))
    writer.upsert(random_points(1, 10, 2))
    index, none = writer.index, np.empty(0, dtype=np.int64)
    one = np.ones((1, 2), dtype=np.float32)
    before = index.stats()
    for seq, killed, rows, vectors, message in (
        (1, none, [50], one, "after record 1"),
        (2, np.array([99]), [50], one, "do not live"),
        (2, np.array([3, 99]), [50], one, "do not live"),
        (2, none, [50, 51], one, "do not fit"),
        (2, none, [50], np.ones((1, 3), dtype=np.float32), "do not fit"),
        (2, none, [10], one, "do not ascend"),
    ):
        row_numbers = np.array(rows, dtype=np.int64)
        with pytest.raises(Internal, match=message):
            index.apply(seq, killed, row_numbers, row_numbers, vectors, None)
    assert index.stats() == before
    with pytest.raises(Internal, match="cannot publish"):
        index.publish(0)
    writer.delete([0])
    with pytest.raises(Internal, match="do not live"):
        index.apply(3, np.array([1]), none, none, np.empty((0, 2), dtype=np.float32), None)


def test_impossible_builds_are_refused() -> None:
    writer = Writer(new_index(Metric.L2, 2))
    writer.upsert(random_points(1, 24, 2))
    frozen = writer.index.summary()[0].key
    with pytest.raises(Internal, match="names segments"):
        writer.index.begin_build(BuildPlan(sources=(frozen, 999), base=None))
    with pytest.raises(Internal, match="not extendable or not one of its sources"):
        writer.index.begin_build(BuildPlan(sources=(frozen,), base=frozen))
    writer.index.begin_build(BuildPlan(sources=(frozen,), base=None))
    with pytest.raises(Internal, match="is running"):
        writer.index.begin_build(BuildPlan(sources=(frozen,), base=None))


def test_bad_queries_are_refused() -> None:
    index = new_index(Metric.L2, 4)
    for k, ef in ((0, 1), (1, 0)):
        with pytest.raises(InvalidArgument, match="at least 1"):
            search(index, index.view(), np.zeros((1, 4), dtype=np.float32), k, exact=False, ef=ef)


@pytest.mark.parametrize("sealed", [False, True])
def test_memory_is_counted_honestly(sealed: bool) -> None:
    dim, rows = 64, 3_000
    writer = Writer(new_index(Metric.L2, dim, growing_rows=1_000))
    writer.upsert(random_points(1, rows, dim))
    if sealed:
        writer.optimize()
    stats = writer.index.stats()
    raw = rows * (dim * 4 + (0 if sealed else growing_code_bytes(dim)))
    links = rows * (2 * 16 * 4 + 4 + 8) if sealed else 0
    assert raw + links <= stats.memory_bytes <= 1.3 * (raw + links)


def test_string_ids_cost_memory_too() -> None:
    writers = [Writer(new_index(Metric.L2, 2, growing_rows=100)) for _ in range(2)]
    points = random_points(1, 60, 2)
    writers[0].upsert(points)
    writers[1].upsert({f"{point_id:0500}": vector for point_id, vector in points.items()})
    assert writers[1].index.stats().memory_bytes - writers[0].index.stats().memory_bytes >= 60 * 500
    found = search(writers[1].index, writers[1].index.view(), np.zeros((1, 2), dtype=np.float32), 60, exact=True, ef=1)
    assert len(by_query(found)[0]) == 60
