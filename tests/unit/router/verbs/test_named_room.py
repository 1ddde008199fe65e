"""A point has room for all its named vectors in shards, so a small message may stand for rows that no message can take:
such a write is refused before it is packed, on every shard."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.ids import RequestId
from shoal.core.limits import Limits
from shoal.core.named_vectors import NamedVector, VectorColumn
from shoal.core.point_change import SetPayload, UpdateNamed
from shoal.core.points import PointColumns, id_array
from shoal.core.requests import Update, Upsert
from shoal.core.shard_calls import ShardUpdate, ShardUpsert
from tests.twins.cluster import TwinCluster

VECTORS = (NamedVector(name="small", dim=1), NamedVector(name="large", dim=1_000))
LIMITS = Limits(message_bytes=100_000)
FITTING = 24
"""Points of 4,008 bytes of numbers, and an integer id, of which a message has room for so many."""


@pytest.fixture
def cluster() -> TwinCluster:
    made = TwinCluster(limits=LIMITS)
    made.add("a", shards=3, vectors=VECTORS)
    return made


def small(count: int) -> dict[str, VectorColumn]:
    return {"small": VectorColumn(vectors=np.ones((count, 1), np.float32))}


def upsert(cluster: TwinCluster, count: int, payload: bytes | None = None) -> int:
    payloads = None if payload is None else (payload,) * count
    points = PointColumns(ids=id_array(range(count)), vectors=np.empty((count, 0), np.float32), payloads=payloads, named=small(count))
    return asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=points), 10.0)).affected


def update(cluster: TwinCluster, count: int) -> int:
    order = Update(collection="a", change=UpdateNamed(small(count)), ids=id_array(range(count)), request_id=RequestId("me", 7))
    return asyncio.run(cluster.router.updates.update(order, 10.0)).affected


def written(cluster: TwinCluster) -> int:
    return sum(isinstance(call, (ShardUpsert, ShardUpdate)) for worker in cluster.workers.values() for call in worker.calls)


def test_a_write_whose_packed_rows_no_message_can_take_is_refused_whole(cluster: TwinCluster) -> None:
    upsert(cluster, FITTING)
    assert update(cluster, FITTING) == FITTING
    before = written(cluster)
    for write in (upsert, update):
        with pytest.raises(InvalidArgument, match=f"{FITTING + 1} points .* write at most {FITTING} of them at once") as caught:
            write(cluster, FITTING + 1)
        assert (caught.value.details.field, caught.value.details.limit) == ("vectors", "message_bytes")
    assert written(cluster) == before


def test_payloads_beside_packed_rows_count(cluster: TwinCluster) -> None:
    payload = b'{"a":"' + b"x" * 4_000 + b'"}'
    upsert(cluster, 12, payload)
    with pytest.raises(InvalidArgument, match="write at most 12 of them at once"):
        upsert(cluster, 13, payload)


def test_a_change_of_payloads_takes_no_room_for_vectors(cluster: TwinCluster) -> None:
    upsert(cluster, FITTING)
    order = Update(collection="a", change=SetPayload(b'{"a":1}'), ids=id_array(range(200)), request_id=RequestId("me", 8))
    assert asyncio.run(cluster.router.updates.update(order, 10.0)).affected == FITTING


def test_nothing_is_packed_before_the_room_is_checked(cluster: TwinCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.router.logic.named_points.packed", lambda *_: pytest.fail("rows were packed"))
    for write in (upsert, update):
        with pytest.raises(InvalidArgument):
            write(cluster, 16_384)
