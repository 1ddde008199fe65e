"""Test reads that take several messages, with a real cluster: gets larger than a message, and scrolls whose collection
is dropped and created again.
"""

from __future__ import annotations

import asyncio
import json

import grpc
import numpy as np
import pytest

import shoal
from shoal.core.points import id_array
from shoal.v1 import points_pb2, points_pb2_grpc
from shoal.wire.columns import ids_to_message
from shoal.wire.status import error_from_exception
from tests.support.cluster.role_cluster import RoleCluster

POINTS, TEXT_BYTES = 40, 1_000_000
"""All points together are larger than a message of 32 MiB."""


def test_a_get_of_more_than_a_message_is_answered_in_parts(client: shoal.Client, shared_cluster: RoleCluster) -> None:
    client.create_collection("large", 4, shards=2)
    text = "x" * TEXT_BYTES
    client.upsert("large", range(POINTS), np.eye(POINTS, 4), [{"number": number, "text": text} for number in range(POINTS)])
    asked = [*reversed(range(POINTS)), "none", 0]
    wanted = [*reversed(range(POINTS)), 0]
    found = client.get("large", asked)
    assert [point.payload["number"] for point in found] == wanted

    async def ask() -> list[int]:
        async with shoal.connect_async(shared_cluster.address) as other:
            return [point.id for point in await other.get("large", asked)]

    assert asyncio.run(ask()) == wanted
    with grpc.insecure_channel(shared_cluster.address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        stub = points_pb2_grpc.PointsStub(channel)
        plain = points_pb2.GetRequest(collection="large", ids=ids_to_message(id_array(asked)), with_payload=True)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Get(plain, timeout=60.0)
        refusal = error_from_exception(caught.value)
        assert isinstance(refusal, shoal.ResourceExhausted)
        assert refusal.details.limit == "message_bytes"
        part = stub.Get(points_pb2.GetRequest(collection="large", ids=plain.ids, with_payload=True, in_parts=True), timeout=60.0)
    assert 0 < part.answered < POINTS
    assert [json.loads(payload)["number"] for payload in part.points.payloads] == wanted[: part.answered]
    client.drop_collection("large")


def test_a_scroll_of_a_collection_that_is_made_anew_ends_and_drop_returns_when_it_is_not_listed(
    client: shoal.Client, shared_cluster: RoleCluster
) -> None:
    async def begun_async() -> None:
        async with shoal.connect_async(shared_cluster.address) as other:
            points = other.scroll("again", batch=10)
            assert (await anext(points)).id == 0
            await asyncio.to_thread(make_anew)
            with pytest.raises(shoal.NotFound, match="made anew"):
                [point async for point in points]

    def make_anew() -> None:
        client.drop_collection("again")
        assert "again" not in [each.name for each in client.list_collections()]
        fill()

    def fill() -> None:
        client.create_collection("again", 2)
        client.upsert("again", range(30), np.ones((30, 2)))

    fill()
    points = client.scroll("again", batch=10)
    assert next(points).id == 0
    make_anew()
    with pytest.raises(shoal.NotFound, match="dropped, and made anew, while it was scrolled"):
        list(points)
    asyncio.run(begun_async())
    assert len(list(client.scroll("again", batch=10))) == 30
    client.drop_collection("again")
