"""Messages of the transport: each way, without a socket. `PlainChannel` hands the bytes to a function."""

import multiprocessing

import grpc
import numpy as np
import pytest

from shoal.client import calls
from shoal.client.transport import METHODS, GrpcTransport
from shoal.core.errors import Internal, PreconditionFailed, ResourceExhausted
from shoal.core.ids import RequestId
from shoal.core.points import PointColumns, id_array
from shoal.v1 import cluster_pb2, collections_pb2, common_pb2, points_pb2, search_pb2

FILES = (cluster_pb2, collections_pb2, points_pb2, search_pb2)
SERVICES = {service.full_name: service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()}
READ = calls.ReadAs(tokens=(calls.ShardToken("i", 1, 9),))
POINTS = PointColumns(ids=id_array([1, "a"]), vectors=np.ones((2, 3), np.float32), payloads=(b"{}", None))

SAMPLES = [
    calls.CreateCollection(name="c", dim=2, metric="l2", shards=2, replicas=1, index="auto", request_id="r"),
    calls.DropCollection(name="c", collection_id="id-c"),
    calls.ListCollections(),
    calls.DescribeCollection(name="c"),
    calls.OptimizeCollection(name="c"),
    calls.Upsert(collection="c", points=POINTS, request_id=RequestId("me", 1)),
    calls.Delete(collection="c", ids=POINTS.ids, request_id=RequestId("me", 2)),
    calls.Get(collection="c", ids=POINTS.ids, with_payload=True, with_vectors=False, read=READ),
    calls.Count(collection="c", read=READ),
    calls.Scroll(collection="c", after="a", limit=5, with_payload=True, with_vectors=True, read=READ),
    calls.Search(
        collection="c", queries=POINTS.vectors, k=4, exact=True, with_payload=True, with_vectors=False, allow_partial=True, read=READ
    ),
    calls.DescribeCluster(),
]


class PlainChannel:
    """Channel whose calls are answered by `answer(path, data)`."""

    def __init__(self, answer):
        self.answer = answer

    def unary_unary(self, path, *_):
        return lambda data, timeout: self.answer(path, data)

    def close(self):
        self.answer = None


def transport_over(monkeypatch, answer, **options):
    monkeypatch.setattr(grpc, "insecure_channel", lambda address, options: PlainChannel(answer))
    return GrpcTransport(**options)


def test_every_request_has_a_sample():
    assert {type(sample) for sample in SAMPLES} == set(METHODS)


def test_every_public_rpc_has_a_request_and_the_right_messages():
    paths = {f"/{name}/{method}" for name, service in SERVICES.items() for method in service.methods_by_name}
    assert paths == {method.path for method in METHODS.values()}
    for sample in SAMPLES:
        method = METHODS[type(sample)]
        _, service, name = method.path.split("/")
        described = SERVICES[service].methods_by_name[name]
        assert method.encode(sample).DESCRIPTOR.full_name == described.input_type.full_name
        assert method.answer.DESCRIPTOR.full_name == described.output_type.full_name
        method.decode(method.answer()) if not isinstance(sample, calls.Search) else None


def test_a_search_says_all_it_was_told(monkeypatch):
    def answer(path, data):
        request = search_pb2.SearchRequest.FromString(data)
        assert path == "/shoal.v1.Search/Search"
        assert (request.collection, request.k, request.exact, request.allow_partial) == ("c", 4, True, True)
        assert request.consistency == common_pb2.CONSISTENCY_SESSION
        assert [(each.collection_id, each.shard, each.seq) for each in request.min_seqs] == [("i", 1, 9)]
        assert np.frombuffer(request.legs[0].vectors.data, "<f4").tolist() == [1.0] * 6
        hits = common_pb2.Hits(
            counts=[1, 1],
            ids=common_pb2.PointIds(integers=[7], strings=["x"], string_positions=[1]),
            scores=[0.5, 1.5],
            payloads=["", '{"a":1}'],
            vectors=common_pb2.Vectors(dim=2, values=[1, 2, 3, 4]),
        )
        return search_pb2.SearchResponse(hits=hits, missing_shards=["c/1"]).SerializeToString()

    search = SAMPLES[10]
    found = transport_over(monkeypatch, answer).send("a:1", search, 1.0)
    assert found.hits.ids.tolist() == [7, "x"]
    assert found.hits.payloads == (None, b'{"a":1}')
    assert found.missing_shards == ("c/1",)


def test_an_upsert_carries_points_and_request_id(monkeypatch):
    def answer(path, data):
        request = points_pb2.UpsertRequest.FromString(data)
        assert (request.request_id.client, request.request_id.number) == ("me", 1)
        assert list(request.points.payloads) == ["{}", ""]
        return points_pb2.UpsertResponse(written=[common_pb2.ShardSeq(collection_id="i", shard=1, seq=4)]).SerializeToString()

    assert transport_over(monkeypatch, answer).send("a:1", SAMPLES[5], 1.0).tokens == (calls.ShardToken("i", 1, 4),)


def test_a_cluster_is_told_with_the_promised_names(monkeypatch):
    def answer(path, data):
        worker = cluster_pb2.WorkerInfo(id="w", address="h:1", pid=5, node="n", zone="z", state="up", memory_bytes=9)
        shard = cluster_pb2.ShardInfo(collection="c", shard=1, term=2, primary="w", isr=["w"], state="failed", detail="damaged")
        return cluster_pb2.DescribeClusterResponse(cluster_id="i", leader="", workers=[worker], shards=[shard]).SerializeToString()

    info = transport_over(monkeypatch, answer).send("a:1", calls.DescribeCluster(), 1.0)
    worker, shard = info.workers[0], info.shards[0]
    assert info.leader is None
    assert (worker.id, worker.address, worker.pid, worker.node, worker.zone, worker.state, worker.memory) == (
        "w",
        "h:1",
        5,
        "n",
        "z",
        "up",
        9,
    )
    assert (shard.collection, shard.shard, shard.term, shard.primary, shard.isr, shard.learners, shard.state, shard.detail) == (
        "c",
        1,
        2,
        "w",
        ("w",),
        (),
        "failed",
        "damaged",
    )


def test_what_is_too_large_for_a_message_is_refused_before_it_is_sent(monkeypatch):
    transport = transport_over(monkeypatch, lambda path, data: pytest.fail("sent"), message_bytes=20)
    with pytest.raises(ResourceExhausted, match="a message may have 20") as raised:
        transport.send("a:1", SAMPLES[10], 1.0)
    assert raised.value.details.limit == "message_bytes"


def test_an_unreadable_answer_is_a_defect(monkeypatch):
    with pytest.raises(Internal, match="cannot be read"):
        transport_over(monkeypatch, lambda path, data: b"\xff\xff\xff").send("a:1", calls.DescribeCluster(), 1.0)


def test_a_closed_transport_refuses(monkeypatch):
    transport = transport_over(monkeypatch, lambda path, data: b"")
    transport.send("a:1", SAMPLES[1], 1.0)
    transport.close()
    with pytest.raises(PreconditionFailed, match="closed"):
        transport.send("a:1", SAMPLES[1], 1.0)


def _send_and_close_in_child(transport, queue):
    queue.put(transport.send("a:1", calls.OptimizeCollection(name="c"), 1.0))
    transport.close()


def test_a_transport_forked_while_another_thread_opened_a_channel_goes_on(monkeypatch):
    transport, context = transport_over(monkeypatch, lambda path, data: b""), multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with transport._lock:
        child = context.Process(target=_send_and_close_in_child, args=(transport, queue), daemon=True)
        child.start()
    child.join(20.0)
    stuck = child.is_alive()
    child.kill()
    child.join()
    assert not stuck
    assert child.exitcode == 0
