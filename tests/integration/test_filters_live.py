"""Test filters with real processes against brute force: on growing, sealed and mixed rows, after a kill, and while
points change.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.core.points import PointId
from tests.integration.filtered_points import DIM, LABELS, Model, filter_of, numbered, payload_of, vector_of
from tests.support.cluster.role_cluster import RoleCluster, wait_until

FILTERS = 40
NONE_OF_THEM: dict[str, Any] = {"nowhere": 1}
BROAD: dict[str, Any] = {"label": {"$in": [1, 2, 3, 4, 5]}}
NARROW: dict[str, Any] = {"label": 3, "bucket": {"$lt": 10}}
FIXED: tuple[dict[str, Any] | None, ...] = (None, {}, NONE_OF_THEM, {"$not": NONE_OF_THEM}, BROAD, NARROW)


def some_filters(seed: int, count: int = FILTERS) -> list[dict[str, Any] | None]:
    chance = random.Random(seed)
    return [*FIXED, *(filter_of(chance) for _ in range(count))]


def agree(client: shoal.Client, name: str, model: Model, seed: int, count: int = FILTERS) -> None:
    """Check that every call with a filter answers what brute force answers."""
    chance = random.Random(seed)
    for number, filter in enumerate(some_filters(seed, count)):
        wanted = model.matching(filter)
        assert client.count(name, filter) == len(wanted), filter
        if number % 4 == 0:
            assert [each.id for each in client.scroll(name, filter, batch=chance.choice([97, 700, 5_000]))] == wanted, filter
        k, query = chance.choice([1, 10, 100]), vector_of(chance, chance.randrange(LABELS))
        found = client.search(name, query, k=k, filter=filter, exact=True)
        assert [(hit.id, hit.score) for hit in found] == model.nearest(query, k, wanted), filter
        assert all(hit.payload == model.payloads[hit.id] for hit in found), filter


def share_found(client: shoal.Client, name: str, model: Model, seed: int) -> float:
    """Return the recall of approximate searches under filters. Fails if an answer is short, has a point twice, has a
    wrong point, or is not in order.
    """
    chance, shares = random.Random(seed), []
    for filter in some_filters(seed):
        wanted, k = model.matching(filter), chance.choice([1, 10, 50])
        queries = [vector_of(chance, chance.randrange(LABELS)) for _ in range(4)]
        for query, found in zip(queries, client.search_many(name, np.array(queries), k=k, filter=filter), strict=True):
            ids, scores = [hit.id for hit in found], [hit.score for hit in found]
            assert len(ids) == len(set(ids)) == min(k, len(wanted)), filter
            assert set(ids) <= set(wanted), filter
            assert scores == sorted(scores)
            assert scores == model.scores(query, ids).tolist()
            if wanted:
                furthest = np.sort(model.scores(query, wanted))[len(ids) - 1]
                shares.append(sum(score <= furthest for score in scores) / len(ids))
    return float(np.mean(shares))


@pytest.mark.parametrize("state", ["growing", "sealed", "mixed"])
def test_every_verb_agrees_with_brute_force(client: shoal.Client, state: str) -> None:
    name, model = f"filters-{state}", Model(random.Random(state))
    client.create_collection(name, dim=DIM, shards=2, index="hnsw")
    model.upsert(client, name, numbered(range(3_000)))
    if state != "growing":
        client.optimize(name)
    if state == "mixed":
        model.upsert(client, name, numbered(range(2_500, 3_400)))
        gone = numbered(range(0, 3_000, 13))
        assert client.delete(name, gone) == len(gone)
        model.remove(gone)
    info = client.describe_collection(name)
    assert (info.growing_rows > 0, info.sealed_rows > 0) == (state != "sealed", state != "growing")
    agree(client, name, model, seed=1)
    assert share_found(client, name, model, seed=2) >= 0.95


def test_pages_of_a_filtered_scroll_hold_every_match_once_in_id_order(client: shoal.Client) -> None:
    name, model = "filters-pages", Model(random.Random(5))
    client.create_collection(name, dim=DIM, shards=2)
    model.upsert(client, name, numbered(range(1_200)))
    wanted = model.matching(BROAD)
    assert len(wanted) > 400
    for batch in (1, 19, len(wanted), 10_000):
        some = wanted if batch > 1 else wanted[:40]
        points = client.scroll(name, BROAD, batch=batch, with_vectors=True)
        read = [point for point, _ in zip(points, some, strict=False)]
        assert [point.id for point in read] == some
        assert all(point.payload == model.payloads[point.id] and (point.vector == model.vectors[point.id]).all() for point in read)
    assert list(client.scroll(name, NONE_OF_THEM)) == []


def test_delete_by_filter_removes_what_matches_and_nothing_else(client: shoal.Client) -> None:
    name, model = "filters-delete", Model(random.Random(6))
    client.create_collection(name, dim=DIM, shards=2, index="hnsw")
    model.upsert(client, name, numbered(range(1_500)))
    client.optimize(name)
    model.upsert(client, name, numbered(range(1_400, 2_000)))
    for filter in (NONE_OF_THEM, NARROW, {"authors.name": "Ōe"}, {"$id": [0, "p2", 5_000]}, {"$not": {"label": {"$lt": 8}}}):
        gone = model.matching(filter)
        assert client.delete(name, filter=filter) == len(gone), filter
        model.remove(gone)
        assert client.count(name, filter) == client.delete(name, filter=filter) == 0, filter
    assert 0 < len(model.payloads) < 2_000
    agree(client, name, model, seed=7, count=20)
    client.optimize(name)
    assert client.describe_collection(name).sealed_rows == len(model.payloads)
    agree(client, name, model, seed=8, count=20)


# After a kill


def segment_files(worker: Path, suffix: str) -> dict[Path, int]:
    """Return the time at which each file was written, by path."""
    return {path: path.stat().st_mtime_ns for path in sorted(worker.glob(f"*/*/*/segments/*{suffix}"))}


def test_a_killed_worker_answers_the_same_and_a_damaged_payload_index_is_made_anew(make_cluster: Callable[..., RoleCluster]) -> None:
    cluster = make_cluster(workers=2)
    worker, data = cluster.workers[0], cluster.folder / "worker-0"
    name, model = "filters", Model(random.Random(9))
    with shoal.connect(cluster.address, timeout=30) as client:
        client.create_collection(name, dim=DIM, shards=2, index="hnsw")
        model.upsert(client, name, numbered(range(2_400)))
        client.optimize(name)
        model.upsert(client, name, numbered(range(2_300, 2_600)))
        client.delete(name, filter=NARROW)
        model.remove(model.matching(NARROW))
        before = segment_files(data, "")
        assert {path.suffix for path in before} == {".faiss", ".rows", ".payload"}

        worker.kill()
        worker.start()
        cluster.wait_ready()
        agree(client, name, model, seed=10, count=20)
        assert segment_files(data, "") == before, "nothing is built or written for a worker that comes back"
        assert "segment_damaged" not in worker.log()

        worker.kill()
        (damaged,) = segment_files(data, ".payload")
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 0x04
        damaged.write_bytes(content)
        worker.start()
        cluster.wait_ready()
        agree(client, name, model, seed=11, count=20)
        assert share_found(client, name, model, seed=12) >= 0.95
        (repaired,) = segment_files(data, ".payload")
        assert repaired.read_bytes() != bytes(content)
        assert "segment_damaged" in worker.log()
        for suffix in (".faiss", ".rows"):
            assert segment_files(data, suffix) == {path: time for path, time in before.items() if path.suffix == suffix}

        worker.kill()
        worker.start()
        cluster.wait_ready()
        agree(client, name, model, seed=13, count=10)
        assert worker.log().count("segment_damaged") == 1, "what was made anew is read the next time"


# While points move

MOVING = 600
STILL = 100
BOTH: dict[str, Any] = {"side": {"$in": ["left", "right"]}}
SAME_AS_BOTH: tuple[dict[str, Any], ...] = (
    BOTH,
    {"$or": [{"side": "left"}, {"side": "right"}]},
    {"$not": {"side": "none"}, "turn": {"$exists": True}},
    {"$or": [{"turn": {"$lt": 1}}, {"turn": {"$gte": 1}}]},
)


@contextmanager
def at_once(*works: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run each work in a thread of its own until the context is left. Raises what a work raises."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(works)) as pool:
        running: list[Future[None]] = [pool.submit(work, stop) for work in works]
        try:
            yield
        finally:
            stop.set()
        for each in running:
            each.result()


def move(client: shoal.Client, chance: random.Random, turn: int) -> None:
    """Write some points again, each with a random side."""
    ids = numbered(chance.sample(range(MOVING), 200))
    sides = [chance.choice(["left", "right"]) for _ in ids]
    vectors = np.array([vector_of(chance, 0) for _ in ids])
    client.upsert("moving", ids, vectors, [{"side": side, "turn": turn} for side in sides])


def test_readers_count_each_point_exactly_once_while_points_move_and_segments_are_sealed(make_cluster: Callable[..., RoleCluster]) -> None:
    cluster = make_cluster(workers=2, growing_rows=150)
    every: set[PointId] = set(numbered(range(MOVING)))
    chance, query = random.Random(14), np.zeros(DIM)
    counted, scrolled, searched = [], [], []

    def count(stop: threading.Event) -> None:
        with shoal.connect(cluster.address) as reader:
            while not stop.is_set():
                filter = SAME_AS_BOTH[len(counted) % len(SAME_AS_BOTH)]
                assert reader.count("moving", filter, consistency="any") == MOVING, filter
                assert reader.count("moving", {"side": "still"}) == STILL
                counted.append(filter)

    def scroll(stop: threading.Event) -> None:
        with shoal.connect(cluster.address) as reader:
            while not stop.is_set():
                ids = [point.id for point in reader.scroll("moving", BOTH, batch=170)]
                assert (len(ids), set(ids)) == (MOVING, every)
                scrolled.append(len(ids))

    def search(stop: threading.Event) -> None:
        with shoal.connect(cluster.address) as reader:
            while not stop.is_set():
                hits = reader.search("moving", query, k=MOVING + STILL, filter=BOTH, exact=len(searched) % 2 == 0)
                assert (len(hits), {hit.id for hit in hits}) == (MOVING, every)
                searched.append(len(hits))

    with shoal.connect(cluster.address) as client:
        client.create_collection("moving", dim=DIM, shards=2, index="hnsw")
        client.upsert("moving", numbered(range(MOVING)), np.zeros((MOVING, DIM)), [{"side": "left", "turn": 0}] * MOVING)
        client.upsert("moving", range(9_000, 9_000 + STILL), np.ones((STILL, DIM)), [{"side": "still"}] * STILL)
        with at_once(count, scroll, search):
            turn = 0
            while turn < 60 or min(map(len, (counted, scrolled, searched))) < 20:
                turn += 1
                move(client, chance, turn)
                assert turn < 5_000, f"readers came to {len(counted)}, {len(scrolled)} and {len(searched)} answers"
        wait_until(lambda: client.describe_collection("moving").builds_pending == 0, "builds are done")
        assert sum(worker.log().count("segment_sealed") for worker in cluster.workers) >= 4
        assert client.count("moving", {"side": "left"}) + client.count("moving", {"side": "right"}) == MOVING


def test_a_delete_by_filter_beside_a_writer_takes_nothing_that_does_not_match(make_cluster: Callable[..., RoleCluster]) -> None:
    """A point that was found is deleted, or it was replaced meanwhile and stays."""
    cluster = make_cluster(workers=2, growing_rows=200)
    chance = random.Random(15)
    rounds, size = 12, 300

    def write(stop: threading.Event) -> None:
        with shoal.connect(cluster.address) as writer:
            while not stop.is_set():
                ids = numbered(chance.sample(range(size), 60))
                writer.upsert("both", ids, np.ones((60, DIM)), [{"kind": "keep", **(payload_of(chance, 1) or {})} for _ in ids])

    with shoal.connect(cluster.address) as client:
        client.create_collection("both", dim=DIM, shards=2, index="hnsw")
        client.upsert("both", numbered(range(size)), np.ones((size, DIM)), [{"kind": "keep"}] * size)
        with at_once(write):
            for number in range(rounds):
                doomed = [f"doomed {number} {at}" for at in range(100)]
                client.upsert("both", doomed, np.zeros((100, DIM)), [{"kind": "doomed"}] * 100)
                assert client.delete("both", filter={"kind": "doomed"}) == 100
                assert client.count("both", {"kind": "keep"}) == size
                assert client.count("both") == size
