"""Test that the clients, the command line and plain gRPC accept the same payloads."""

import asyncio
import json
import subprocess
import sys

import grpc
import numpy as np
import pytest

import shoal
from shoal.core.points import id_array
from shoal.v1 import common_pb2, points_pb2, points_pb2_grpc
from shoal.wire.columns import ids_to_message, vectors_to_message
from shoal.wire.status import error_from_exception


@pytest.fixture(scope="module")
def ready(shared_cluster):
    with shoal.connect(shared_cluster.address) as client:
        client.create_collection("doors", dim=3)
        yield client


@pytest.fixture
def empty(ready):
    """Return a client of a collection "doors". After the test, check that it is still empty."""
    yield ready
    assert ready.count("doors") == 0


def refusal(address, call):
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        call(channel)
    return error_from_exception(caught.value)


ILLEGAL_PAYLOADS = [
    ('{"a":{"b":"\\ud800"}}', "payloads[1].a.b is not valid Unicode"),
    ('{"a":{"b":1e400}}', "payloads[1].a.b is inf"),
    ('{"a":{"b":NaN}}', "payloads[1].a.b is nan"),
    ('{"a":{"b":1,"c":2,"b":1}}', "payloads[1].a gives the key 'b' twice"),
    ('{"a":{"b":' + "9" * 5_000 + "}}", "payloads[1].a.b is an integer of 16610 bits"),
    ('{"a":' * 101 + "1" + "}" * 101, "payloads[1].a.a.a.a.a.a.a.a... is deeper than the 100 levels"),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, "deeper than the 100 levels"),
    ("[1]", "payloads[1] is not a JSON object"),
]


@pytest.mark.parametrize(("payload", "said"), ILLEGAL_PAYLOADS)
def test_a_raw_payload_that_is_not_legal(empty, shared_cluster, payload, said):
    points = common_pb2.PointBatch(ids=ids_to_message(id_array([8, 9])), vectors=vectors_to_message(np.ones((2, 3), dtype=np.float32)))
    points.payloads.extend(["{}", payload])
    request = points_pb2.UpsertRequest(collection="doors", points=points)
    error = refusal(shared_cluster.address, lambda channel: points_pb2_grpc.PointsStub(channel).Upsert(request, timeout=10))
    assert isinstance(error, shoal.InvalidArgument), error
    assert said in error.message
    assert (error.details.field, error.details.index) == ("payloads", 1)


def test_a_payload_at_the_bound_goes_through_every_door(ready, shared_cluster, tmp_path):
    deepest = json.loads('{"a":' * 100 + "1" + "}" * 100)
    payload = {"d": deepest["a"], "n": 2**8192 - 1, "t": "\U0001f44d", "f": 1e308}
    ready.create_collection("bound", dim=3, metric="cosine")
    ready.upsert("bound", [1], [[1, 2, 3]], [payload])

    async def add():
        async with shoal.connect_async(shared_cluster.address) as client:
            await client.upsert("bound", [2], [[1, 2, 3]], [payload])

    asyncio.run(add())
    points = common_pb2.PointBatch(ids=ids_to_message(id_array([3])), vectors=vectors_to_message(np.array([[1, 2, 3]], dtype=np.float32)))
    points.payloads.append(json.dumps(payload))
    with grpc.insecure_channel(shared_cluster.address) as channel:
        points_pb2_grpc.PointsStub(channel).Upsert(points_pb2.UpsertRequest(collection="bound", points=points), timeout=10)
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": 4, "vector": [1, 2, 3], "payload": payload}))
    assert run_shoal(shared_cluster, "import", tmp_path / "p.jsonl", "--collection", "bound").returncode == 0
    assert [point.payload for point in ready.scroll("bound")] == [payload] * 4
    deep_filter = {".".join(["d"] + ["a"] * 99): 1, "n": payload["n"]}
    assert ready.count("bound", deep_filter) == 4
    hits = ready.search("bound", [3, 6, 9], radius=1.0, filter=deep_filter)
    assert [(hit.id, hit.score, hit.payload) for hit in hits] == [(at, 1.0, payload) for at in (1, 2, 3, 4)]
    lines = run_shoal(shared_cluster, "scroll", "bound").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"id": at, "payload": payload} for at in (1, 2, 3, 4)]


def test_what_the_other_doors_refuse(empty, shared_cluster, tmp_path):
    for value in (float("nan"), "\ud800", 2**8192, {1}):
        with pytest.raises(shoal.InvalidArgument, match=r"payloads\[1\]\.a\.b "):
            empty.upsert("doors", [8, 9], np.ones((2, 3)), [{}, {"a": {"b": value}}])
    (tmp_path / "p.jsonl").write_text('{"id": 8, "vector": [1, 1, 1]}\n{"id": 9, "vector": [1, 1, 1], "payload": {"a": {"b": 1e400}}}')
    ended = run_shoal(shared_cluster, "import", tmp_path / "p.jsonl", "--collection", "doors")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "p.jsonl line 2: payloads[1].a.b is inf" in ended.stderr


def run_shoal(cluster, *words):
    command = [sys.executable, "-c", "from shoal.cli.main import main; main()", *map(str, words), "--address", cluster.address]
    return subprocess.run(command, capture_output=True, text=True, check=False)
