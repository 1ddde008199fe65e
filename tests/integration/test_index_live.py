"""Test indexes and recall of live collections with real processes: they are changed while searches go on, measured and
explained.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest

import shoal
from tests.integration.filtered_points import numbered
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.scope import LONG

ROWS, DIM, CLUSTERS = 6_000, 32, 40
PLANS = {"exact", "index", "index, then filter", "empty"}
STATES = {"growing", "frozen", "sealed"}
Rows = npt.NDArray[np.float32]


def rows_of(seed: int, count: int) -> Rows:
    """Draw rows (count, DIM) around CLUSTERS centres. The centres do not depend on the seed."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(scale=3.0, size=(CLUSTERS, DIM))
    return (centres[rng.integers(CLUSTERS, size=count)] + rng.normal(size=(count, DIM))).astype(np.float32)


VECTORS, QUERIES = rows_of(1, ROWS), rows_of(2, 200)
IDS = numbered(range(ROWS))
PAYLOADS = [{"n": number, "label": number % 10} for number in range(ROWS)]
DISTANCES: npt.NDArray[np.float64] = ((QUERIES[:, None, :].astype(np.float64) - VECTORS[None]) ** 2).sum(axis=2)


def truth(at: int, k: int, among: npt.NDArray[np.bool_] | None = None) -> list[shoal.PointId]:
    """Return the ids of the k rows nearest to query `at`."""
    distances = DISTANCES[at] if among is None else np.where(among, DISTANCES[at], np.inf)
    return [IDS[row] for row in np.argsort(distances)[:k]]


TRUTH = [set(truth(at, 10)) for at in range(len(QUERIES))]


def recall_at_10(pages: list[shoal.Hits], queries: range) -> float:
    """Return the share of the true 10 nearest that was found. Fails if a page is short or has a point twice."""
    for page in pages:
        assert len({hit.id for hit in page}) == len(page) == 10
    return float(np.mean([len({hit.id for hit in page} & TRUTH[at]) / 10 for at, page in zip(queries, pages, strict=True)]))


def fill(client: shoal.Client, name: str, **spec: object) -> None:
    client.create_collection(name, dim=DIM, **spec)
    client.upsert(name, IDS, VECTORS, PAYLOADS)
    client.optimize(name)


@pytest.fixture(scope="module")
def things(shared_cluster: RoleCluster) -> Iterator[shoal.Client]:
    """Return a client of a cluster with the collection "things", an hnsw index whose rows are sealed. Tests must not
    change it.
    """
    with shoal.connect(shared_cluster.address) as client:
        fill(client, "things", shards=2, index="hnsw")
        yield client


@contextmanager
def searched(cluster: RoleCluster, name: str) -> Iterator[list[float]]:
    """Search in a thread until the context is left. Yield a list of the recall of each batch.

    Raises the error of a wrong answer.
    """
    stop, recalls = threading.Event(), []

    def search() -> None:
        with shoal.connect(cluster.address) as client:
            while not stop.is_set():
                start = 20 * (len(recalls) % 10)
                some = range(start, start + 20)
                recalls.append(recall_at_10(client.search_many(name, QUERIES[start : start + 20], k=10), some))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(search)
        try:
            yield recalls
        finally:
            stop.set()
        running.result()


def indexes_of(client: shoal.Client, name: str) -> set[str]:
    """Return the indexes of the segments of all shards, as a search reports them."""
    return {each.index for each in client.search(name, QUERIES[0], explain=True).explain}


def stems_of(cluster: RoleCluster, collection: str) -> set[str]:
    """Return the names of the segments that have files."""
    return {path.stem for path in cluster.folder.glob(f"worker-*/{collection}/*/*/segments/*")}


# Change of index


def test_an_index_is_changed_while_it_is_searched(shared_cluster: RoleCluster) -> None:
    name = "changed"
    with shoal.connect(shared_cluster.address) as client:
        fill(client, name, shards=2, index="hnsw")
        identity = client.describe_collection(name).id
        assert indexes_of(client, name) == {"HNSW16,Flat"}
        before = stems_of(shared_cluster, identity)
        with searched(shared_cluster, name) as recalls:
            for asked, shown, made in (
                ("HNSW,SQ8", "HNSW16,SQ8", {"HNSW16,SQ8"}),
                ("IVF32,Flat", "IVF32,Flat", {"IVF32,Flat"}),
                ("flat", "flat", {"flat"}),
                ("auto", "auto", {"flat"}),
            ):
                client.alter_collection(name, index=asked)
                wait_until(lambda made=made: indexes_of(client, name) == made, f"segments have become {asked}")
                wait_until(lambda: client.describe_collection(name).builds_pending == 0, "no build is pending")
                info = client.describe_collection(name)
                assert (info.spec.index, info.points, info.sealed_rows, info.waiting) == (shown, ROWS, ROWS, "")
                since = len(recalls)
                wait_until(lambda since=since: len(recalls) > since + 10, "every query was asked of the new index")
                assert np.mean(recalls[since : since + 10]) >= 0.95 - 0.01, asked
                wait_until(lambda: len(stems_of(shared_cluster, identity)) == 2, "files of the old index are gone")
                after = stems_of(shared_cluster, identity)
                assert asked == "auto" or not after & before
                before = after
        assert min(recalls) >= 0.85
        assert client.count(name) == ROWS


def test_too_few_rows_for_an_index_stay_exact_and_say_why(client: shoal.Client) -> None:
    name, needed = "few", "159,744"
    client.create_collection(name, dim=DIM, shards=2, index="IVF4096,Flat")
    client.upsert(name, IDS, VECTORS)
    with pytest.raises(shoal.PreconditionFailed, match=needed) as caught:
        client.optimize(name)
    assert (caught.value.details.shard, caught.value.details.field) in {(f"{name}/0", "index"), (f"{name}/1", "index")}
    info = client.describe_collection(name)
    assert needed in info.waiting
    assert (info.growing_rows, info.sealed_rows, info.builds_pending) == (0, ROWS, 0)
    assert indexes_of(client, name) == {"flat"}
    assert recall_at_10(client.search_many(name, QUERIES), range(len(QUERIES))) == 1.0
    client.alter_collection(name, index="IVF16,SQ8")
    wait_until(lambda: indexes_of(client, name) == {"IVF16,SQ8"}, "what can be built is built")
    client.optimize(name)
    assert client.describe_collection(name).waiting == ""


def test_an_alteration_that_cannot_be_changes_nothing(things: shoal.Client) -> None:
    before = things.describe_collection("things")
    for index, place in (("annoy", "annoy"), ("PQ5", "PQ.*5"), ("HNSW16,PQ7", "7"), ("IVF0,Flat", "IVF"), ("HNSW2000", "2000")):
        with pytest.raises(shoal.InvalidArgument, match=place) as caught:
            things.alter_collection("things", index=index)
        assert caught.value.details.field == "index"
    for recall in (0, 1.5, -1):
        with pytest.raises(shoal.InvalidArgument, match="recall"):
            things.alter_collection("things", recall=recall)
    with pytest.raises(shoal.InvalidArgument, match="recall"):
        things.alter_collection("things", index="flat", recall=2.0)
    with pytest.raises(shoal.InvalidArgument, match="nothing to change"):
        things.alter_collection("things")
    with pytest.raises(shoal.NotFound, match="nowhere"):
        things.alter_collection("nowhere", index="flat")
    assert things.describe_collection("things") == before


# Recall


def test_an_altered_recall_is_that_of_the_next_searches(client: shoal.Client) -> None:
    fill(client, "aimed", index="IVF64,Flat", recall=0.3)

    def found() -> float:
        pages = [client.search("aimed", query, k=10) for query in QUERIES[:100]]
        return recall_at_10(pages, range(100))

    client.tune("aimed")
    wait_until(lambda: found() <= 0.9, "searches aim as low as they were told")
    client.alter_collection("aimed", recall=0.99)
    assert client.describe_collection("aimed").spec.recall == 0.99
    wait_until(lambda: found() >= 0.98, "searches find more")


@pytest.mark.skipif(not LONG, reason="half a minute of measuring: make test-long")
def test_a_curve_goes_on_to_the_best_recall_where_exact_searches_are_dear(client: shoal.Client) -> None:
    # Breadths that cost more than an exact search are not tried. Here all that are needed cost a fraction of it.
    rows = np.random.default_rng(3).normal(size=(20_000, 8)).astype(np.float32) @ np.eye(8, 256, dtype=np.float32)
    client.create_collection("dear", dim=256, index="hnsw")
    client.upsert("dear", np.arange(len(rows)), rows)
    client.optimize("dear")
    (curve,) = client.tune("dear", k=10, queries=rows[:200] + np.float32(0.01))
    client.drop_collection("dear")
    assert curve.points[-1].recall >= 0.99


def test_tune_and_measure_recall_answer(things: shoal.Client) -> None:
    for start in range(0, 200, 4):
        things.search_many("things", QUERIES[start : start + 4])
    curves = things.tune("things", k=10)
    assert sorted(curve.shard for curve in curves) == [0, 1]
    assert sum(curve.rows for curve in curves) == ROWS
    for curve in curves:
        assert (curve.index, curve.breadth_name, curve.real_queries) == ("HNSW16,Flat", "ef", True)
        assert curve.queries > 0
        assert curve.exact_us > 0
        # The number of points in a curve depends on measured times: a point is left out if a cheaper one is as good.
        costs, recalls = [point.us for point in curve.points], [point.recall for point in curve.points]
        assert (costs, recalls) == (sorted(costs), sorted(set(recalls)))
        assert all(0 <= point.recall <= 1 and point.us > 0 and point.breadth > 0 for point in curve.points)
    shards = things.measure_recall("things", k=10, sample=50, recall=0.9)
    assert [(shard.shard, shard.queries, shard.real_queries) for shard in sorted(shards, key=lambda each: each.shard)] == [
        (0, 50, True),
        (1, 50, True),
    ]
    assert all(shard.recall >= 0.85 and 0 <= shard.lowest <= shard.recall <= 1 for shard in shards)
    for verb in (things.tune, things.measure_recall):
        with pytest.raises(shoal.NotFound, match="nowhere"):
            verb("nowhere")
        with pytest.raises(shoal.InvalidArgument, match="k"):
            verb("things", k=0)
    with pytest.raises(shoal.InvalidArgument, match="sample"):
        things.measure_recall("things", sample=0)


# Searches


def test_a_range_search_finds_what_lies_within_and_nothing_else(things: shoal.Client) -> None:
    for at, rank in ((0, 0), (1, 5), (2, 300), (3, 3_000)):
        order = np.sort(DISTANCES[at])
        radius = float((order[rank] + order[rank + 1]) / 2)
        within = {IDS[row] for row in np.flatnonzero(DISTANCES[at] <= radius)}
        hits = things.search("things", QUERIES[at], radius=radius, exact=True)
        assert ({hit.id for hit in hits}, len(hits), hits.more) == (within, rank + 1, False)
        near = things.search("things", QUERIES[at], radius=radius, recall=0.95)
        assert {hit.id for hit in near} <= within
        assert len(near) >= 0.8 * len(within)
    cut = things.search("things", QUERIES[3], k=100, radius=radius, exact=True)
    assert ([hit.id for hit in cut], cut.more) == (truth(3, 100), True)
    labels = np.array([payload["label"] for payload in PAYLOADS])
    some = things.search("things", QUERIES[2], radius=float(np.sort(DISTANCES[2])[500]), filter={"label": 3}, exact=True)
    assert {hit.id for hit in some} == {IDS[row] for row in np.flatnonzero((DISTANCES[2] <= np.sort(DISTANCES[2])[500]) & (labels == 3))}
    assert list(things.search("things", QUERIES[0], radius=0.0)) == []


def test_queries_of_a_batch_may_differ_in_k_and_filter(things: shoal.Client) -> None:
    labels = np.array([payload["label"] for payload in PAYLOADS])
    kinds = [
        (10, None, labels >= 0),
        (3, {"label": 3}, labels == 3),
        (25, {"label": {"$ne": 3}}, labels != 3),
        (5, {"n": 17}, np.arange(ROWS) == 17),
    ]
    chosen = [kinds[at % 4] for at in range(40)]
    counts, filters = [k for k, _, _ in chosen], [filter for _, filter, _ in chosen]
    pages = things.search_many("things", QUERIES[:40], k=counts, filter=filters, exact=True)
    for at, (k, _, among) in enumerate(chosen):
        assert [hit.id for hit in pages[at]] == truth(at, min(k, int(among.sum())), among)
    for page, (k, _, among) in zip(things.search_many("things", QUERIES[:40], k=counts, filter=filters), chosen, strict=True):
        assert len(page) == min(k, int(among.sum()))
        assert {hit.payload["n"] for hit in page} <= set(np.flatnonzero(among).tolist())


def test_explain_tells_what_is_true(things: shoal.Client) -> None:
    for filter, matching in (
        (None, ROWS),
        ({"label": {"$lt": 5}}, ROWS // 2),
        ({"label": 3}, ROWS // 10),
        ({"n": {"$in": [5, 6, 7]}}, 3),
        ({"n": -1}, 0),
    ):
        hits = things.search("things", QUERIES[0], filter=filter, explain=True)
        assert len(hits) == min(10, matching)
        assert {each.shard for each in hits.explain} == {0, 1}
        assert sum(each.rows for each in hits.explain) == ROWS
        assert sum(round(each.selectivity * each.rows) for each in hits.explain) == matching
        for each in hits.explain:
            assert each.plan in PLANS
            assert each.state in STATES
            assert (each.plan == "empty") == (each.selectivity == 0)
            assert (each.plan == "index") <= (filter is None)
            assert (each.index, each.group, each.queries) == ("HNSW16,Flat", 0, 1)
            assert 0 <= each.estimated_selectivity <= 1
            assert 0 <= each.fallbacks <= each.queries
            assert (each.breadth_name == "ef") == (each.breadth > 0)
            assert each.plan != "exact" or each.candidates >= round(each.selectivity * each.rows)
            assert min(each.filter_us, each.search_us, each.score_us) >= 0
    again = things.search("things", QUERIES[0], filter={"label": 3}, explain=True)
    assert all(each.filter_cached for each in again.explain)
    assert things.search("things", QUERIES[0]).explain == ()
    (deep, *_) = things.search("things", QUERIES[0], params={"ef": 77}, explain=True).explain
    assert deep.plan == "exact" or deep.breadth >= 77
    pages = things.search_many("things", QUERIES[:3], k=[10, 10, 2], filter=[None, {"label": 3}, None], explain=True)
    assert [sorted({(each.group, each.queries) for each in page.explain}) for page in pages] == [[(0, 1)], [(1, 1)], [(2, 1)]]


@pytest.mark.parametrize(("metric", "index"), [("l2", "HNSW16,SQ8"), ("cosine", "hnsw"), ("ip", "IVF8,Flat")])
def test_vectors_come_as_they_were_given_and_payloads_when_asked(client: shoal.Client, metric: str, index: str) -> None:
    name = f"given-{metric}"
    client.create_collection(name, dim=DIM, metric=metric, shards=2, index=index)
    client.upsert(name, IDS[:3_000], VECTORS[:3_000], PAYLOADS[:3_000])
    client.optimize(name)
    client.upsert(name, IDS[3_000:3_100], VECTORS[3_000:3_100], PAYLOADS[3_000:3_100])
    row_of = {each: row for row, each in enumerate(IDS)}
    for options in ({}, {"exact": True}, {"filter": {"label": 3}}):
        for hit in client.search(name, QUERIES[0], k=200, with_vectors=True, with_payload=False, **options):
            assert hit.payload is None
            assert hit.vector is not None
            assert (hit.vector == VECTORS[row_of[hit.id]]).all()
    assert all(hit.vector is None and hit.payload == PAYLOADS[row_of[hit.id]] for hit in client.search(name, QUERIES[0]))
