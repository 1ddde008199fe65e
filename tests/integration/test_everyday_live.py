"""What scripts of every day do, on a real cluster: create again, clear, ask by time, ask a lot at once."""

from __future__ import annotations

import datetime
import uuid

import numpy as np
import pytest

import shoal


@pytest.fixture
def name(client: shoal.Client):
    made = f"everyday-{uuid.uuid4().hex[:8]}"
    client.create_collection(made, dim=4, shards=2, exist_ok=True)
    yield made
    client.drop_collection(made)


def test_a_collection_is_created_again_and_cleared(client: shoal.Client, name: str) -> None:
    client.create_collection(name, dim=4, exist_ok=True)
    with pytest.raises(shoal.AlreadyExists, match="dim 4, not 5"):
        client.create_collection(name, dim=5, exist_ok=True)
    assert client.collection_exists(name)
    ids = [*range(3_000), *(f"s{at}" for at in range(500))]
    for _ in range(2):
        client.upsert(name, ids, np.random.default_rng(1).random((len(ids), 4)), ({"n": at} for at in range(len(ids))))
        assert client.clear(name) == len(ids)
        assert (client.count(name, consistency="primary"), client.search(name, [0, 0, 0, 0])) == (0, [])
    client.upsert(name, ids, np.ones((len(ids), 4)))
    client.optimize(name)
    assert client.clear(name) == len(ids)
    assert list(client.scroll(name)) == []


def test_points_are_found_by_time_and_by_uuid(client: shoal.Client, name: str) -> None:
    start, each = datetime.datetime(2024, 2, 28, tzinfo=datetime.UTC), datetime.timedelta(hours=7)
    times = [start + each * at for at in range(50)]
    ids = [uuid.UUID(int=at) for at in range(50)]
    client.upsert(name, ids, np.eye(50, 4), [{"at": time, "by": one} for time, one in zip(times, ids, strict=True)])
    zone = datetime.timezone(datetime.timedelta(hours=-8))
    for bound in (times[20], times[20].astimezone(zone), times[20].replace(tzinfo=None)):
        assert client.count(name, {"at": {"$gt": bound}}) == 29
        assert client.count(name, {"at": {"$lte": bound}}) == 21
    assert client.count(name, {"at": {"$lt": datetime.date(2024, 3, 1)}}) == sum(time.date() < datetime.date(2024, 3, 1) for time in times)
    assert client.count(name, {"by": {"$in": (one for one in ids[:3])}, "$id": {"$in": iter(ids[1:])}}) == 2


def test_more_queries_than_a_call_takes(client: shoal.Client, name: str) -> None:
    client.upsert(name, range(10), np.arange(40, dtype=np.float32).reshape(10, 4))
    queries = np.repeat(np.arange(40, dtype=np.float32).reshape(10, 4), 500, axis=0)
    assert [hits[0].id for hits in client.search_many(name, queries, k=1)] == [at for at in range(10) for _ in range(500)]
