import asyncio

import numpy as np
import pytest

from shoal.client import batches, writes
from shoal.core.errors import ErrorDetails, InvalidArgument, Unavailable
from shoal.core.requests import Upsert
from tests.twins.router_answers import DictCluster, PausingClock, async_client_with, client_with


class Blocking:
    """Calls the blocking client through names that the asyncio client's class has, too."""

    make = staticmethod(client_with)

    def write(self, client, *given, **options):
        return client.upsert_batches(*given, **options)

    def create(self, client, *given, **options):
        client.create_collection(*given, **options)


class Awaited:
    make = staticmethod(async_client_with)

    def write(self, client, *given, **options):
        return asyncio.run(client.upsert_batches(*given, **options))

    def create(self, client, *given, **options):
        asyncio.run(client.create_collection(*given, **options))


@pytest.fixture(params=[Blocking, Awaited])
def side(request):
    return request.param()


@pytest.fixture
def cluster():
    made = DictCluster()
    with client_with(made) as client:
        client.create_collection("c", dim=2)
    return made


@pytest.fixture
def small_groups(monkeypatch):
    """Limit messages to ten points of dimension 2, and groups of points to forty."""
    monkeypatch.setattr(writes, "MESSAGE_BYTES", 200)
    monkeypatch.setattr(batches, "GATHERED_BYTES", 800)


def batch(start, count=10, payload=None):
    ids = range(start, start + count)
    vectors = np.array([[at, at] for at in ids], dtype=np.float64)
    return (ids, vectors) if payload is None else (ids, vectors, [payload] * count)


def test_all_batches_arrive_from_a_generator(side, cluster, small_groups):
    client = side.make(cluster)
    assert side.write(client, "c", (batch(start, payload={"s": start}) for start in range(0, 300, 10))) == 300
    assert {key: row.tolist() for key, (row, _) in cluster.points["c"].items()} == {at: [at, at] for at in range(300)}
    assert cluster.points["c"][17][1] == b'{"s":10}'


def test_lists_arrays_and_mixed_batches(side, cluster):
    mixed = [([1, 2], [[0, 1], [1, 0]]), [["a"], np.ones((1, 2), np.float16), [{"x": 1}]], (np.array([5]), [[2, 2]], None)]
    assert side.write(side.make(cluster), "c", mixed) == 4
    held = {key: (row.tolist(), payload) for key, (row, payload) in cluster.points["c"].items()}
    assert held == {1: ([0, 1], None), 2: ([1, 0], None), "a": ([1, 1], b'{"x":1}'), 5: ([2, 2], None)}


def test_small_batches_travel_together(side, cluster):
    client = side.make(cluster)
    assert side.write(client, "c", (batch(at, 1) for at in range(500))) == 500
    assert [len(request.points) for request in client.mock.requests(Upsert)] == [500]


def test_a_later_batch_wins(side, cluster, small_groups):
    again = [([7], [[at, at]]) for at in range(200)]
    side.write(side.make(cluster), "c", again)
    assert cluster.points["c"][7][0].tolist() == [199, 199]


def test_no_batches_are_no_points(side, cluster):
    client = side.make(cluster)
    assert side.write(client, "c", iter(())) == 0
    assert client.mock.sent == []


def test_only_a_bounded_number_of_points_waits(side, cluster, small_groups):
    given = written = most = 0

    def answer(address, request, timeout_s):
        nonlocal written
        if isinstance(request, Upsert):
            written += len(request.points)
        return cluster(address, request, timeout_s)

    def counted():
        nonlocal given, most
        for start in range(0, 1000, 10):
            given += 10
            yield batch(start)
            most = max(most, given - written)

    assert side.write(side.make(answer), "c", counted()) == 1000
    assert most <= 50


def test_a_batch_larger_than_a_group_is_written_alone(side, cluster, small_groups):
    client = side.make(cluster)
    assert side.write(client, "c", [batch(0, 5), batch(5, 200), batch(205, 5)]) == 210
    assert len(cluster.points["c"]) == 210
    assert len(client.mock.requests(Upsert)[0].points) == 5


BAD = [
    (([1], [[0, float("nan")]]), r"batch 3: vectors\[0\] holds NaN"),
    (([1, 2.5], [[0, 0], [0, 0]]), r"batch 3: ids\[1\]"),
    (([1], [[0, 0]], ["x"]), r"batch 3: payloads\[0\]"),
    (([1], [[0, 0, 0]]), r"batch 3: vectors have dimension 3, those before have 2"),
    (([], np.zeros((0, 2))), r"batch 3: ids is empty"),
    (({1, 2}, [[0, 0], [0, 1]]), r"batch 3: ids must be a list .*, not set, which has no order"),
    (({1: 0, 2: 0}, [[0, 0], [0, 1]]), r"batch 3: ids must be a list .*, not dict"),
    (([1, 2], [[0, 0], [True, 0.5]]), r"batch 3: vectors\[1\] holds the boolean True"),
    (([1, 2], np.ma.array([[0, 0], [0, 1]], mask=[[0, 0], [0, 1]])), r"batch 3: vectors\[1\] is masked"),
    (([1, 2], [[0, 0], [0, 1]], [None, {"a": {"b": float("nan")}}]), r"batch 3: payloads\[1\]\.a\.b is nan"),
    (([1],), r"batch 3: a batch must be .*, not 1 values"),
    ({"ids": [1]}, r"batch 3: a batch must be .*, not dict"),
]


@pytest.mark.parametrize(("bad", "words"), BAD)
def test_a_bad_batch_is_named_and_those_before_it_are_written(side, cluster, bad, words):
    client = side.make(cluster)
    with pytest.raises(InvalidArgument, match=words + ".*; 30 points of the batches before are written"):
        side.write(client, "c", [batch(0), batch(10), batch(20), bad, batch(30)])
    assert sorted(cluster.points["c"]) == list(range(30))


@pytest.mark.parametrize("given", [7, "text", None])
def test_what_is_no_iterable_is_refused(side, cluster, given):
    with pytest.raises(InvalidArgument, match="batches must be an iterable"):
        side.write(side.make(cluster), "c", given)


def test_an_index_named_by_a_router_is_told_in_the_callers_batches(side, cluster):
    def answer(address, request, timeout_s):
        if isinstance(request, Upsert):
            at = request.points.ids.tolist().index(23)
            raise InvalidArgument(f"vectors[{at}] is odd", ErrorDetails(field="vectors", index=at))
        return cluster(address, request, timeout_s)

    with pytest.raises(InvalidArgument, match=r"^batch 2: vectors\[3\] is odd$") as raised:
        side.write(side.make(answer), "c", [batch(0), batch(10), batch(20), batch(30)])
    assert raised.value.details.index == 3


def test_a_wrong_dimension_of_the_collection_writes_nothing(side, cluster, small_groups):
    client = side.make(cluster)
    with pytest.raises(InvalidArgument, match="batch 0: vectors have dimension 3, the collection has 2"):
        side.write(client, "c", [(range(30), np.zeros((30, 3)))])
    assert client.mock.requests(Upsert) == []


def test_an_unavailable_cluster_in_the_middle_says_how_far_it_came(side, cluster, small_groups):
    def answer(address, request, timeout_s):
        if isinstance(request, Upsert) and 155 in request.points.ids.tolist():
            raise Unavailable("shard c/0 has no primary")
        return cluster(address, request, timeout_s)

    client = side.make(answer, clock=PausingClock())
    with pytest.raises(Unavailable, match="points of the batches before are written") as raised:
        side.write(client, "c", (batch(start) for start in range(0, 300, 10)))
    assert not raised.value.message.startswith("batch")
    assert len(cluster.points["c"]) >= 100
    assert 299 not in cluster.points["c"]


def test_what_the_iterator_raises_passes_through(side, cluster):
    def broken():
        yield batch(0)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        side.write(side.make(cluster), "c", broken())


def test_progress_counts_over_all_batches(side, cluster, small_groups):
    told = []
    side.write(side.make(cluster), "c", (batch(start) for start in range(0, 100, 10)), progress=lambda rows, of: told.append((rows, of)))
    assert [rows for rows, _ in told] == sorted(rows for rows, _ in told)
    assert told[-1] == (100, 100)
    assert all(rows <= of for rows, of in told)


def test_an_async_generator_of_batches_is_closed_after_a_failure(cluster):
    ended = []

    async def generated():
        try:
            for start in range(0, 100, 10):
                await asyncio.sleep(0)
                yield batch(start)
            yield "bad"
            raise AssertionError("asked for more")
        finally:
            ended.append(True)

    async def check():
        with pytest.raises(InvalidArgument, match="batch 10: "):
            await async_client_with(cluster).upsert_batches("c", generated())
        assert ended == [True]

    asyncio.run(check())
    assert len(cluster.points["c"]) == 100
