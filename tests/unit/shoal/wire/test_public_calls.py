"""Test the messages of the transport in both directions, without a socket. `PlainChannel` gives the bytes to a
function.
"""

import dataclasses
import multiprocessing

import grpc
import numpy as np
import pytest
from google.protobuf import message_factory

from shoal.client.transports.grpc_blocking import GrpcTransport
from shoal.core import api_keys, operations
from shoal.core import requests as calls
from shoal.core.access import ALL_SCOPES
from shoal.core.errors import Internal, PreconditionFailed, ResourceExhausted
from shoal.core.filter import HasId, In, Range
from shoal.core.fused_search import DenseLeg, FusedSearch, TextLeg
from shoal.core.health import MemberRole, ReplicaRole
from shoal.core.ids import RequestId
from shoal.core.point_change import SetPayload
from shoal.core.points import PointColumns, id_array
from shoal.core.recovery import RecoveryRequest
from shoal.core.replies import ReplicaInfo, Written
from shoal.core.shard_calls import Breadth, Exact, QueryGroup, RecallTarget
from shoal.core.text_query import TextAsk
from shoal.core.tuning_calls import ShardRecall
from shoal.v1 import access_pb2, cluster_pb2, collections_pb2, common_pb2, operations_pb2, points_pb2, search_pb2
from shoal.wire.public_calls import METHODS

FILES = (access_pb2, cluster_pb2, collections_pb2, operations_pb2, points_pb2, search_pb2)
SERVICES = {service.full_name: service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()}
READ = calls.ReadAs(tokens=(calls.ShardToken("i", 1, 9),))
POINTS = PointColumns(ids=id_array([1, "a"]), vectors=np.ones((2, 3), np.float32), payloads=(b"{}", None))
SEARCH = calls.Search(
    collection="c",
    queries=POINTS.vectors,
    groups=(QueryGroup(k=4, filter=In(("a",), (1,))),),
    accuracy=Exact(),
    radius=None,
    explain=False,
    with_payload=True,
    with_vectors=False,
    allow_partial=True,
    read=READ,
)
FUSED = FusedSearch(
    collection="c",
    legs=(DenseLeg(queries=POINTS.vectors), TextLeg(asks=(TextAsk(text="a"), TextAsk(prefix="b")))),
    groups=(QueryGroup(k=4),),
    read=READ,
)

SAMPLES = [
    calls.CreateCollection(name="c", dim=2, metric="l2", shards=2, replicas=1, index="auto", recall=0.9, request_id="r"),
    calls.AlterCollection(name="c", index="hnsw", recall=None),
    calls.AlterCollection(name="c", index=None, recall=None, replicas=3, min_isr=0),
    calls.RecoverShard(
        asked=RecoveryRequest(name="c", number=1, worker=None, accept_data_loss=True, reason="why", asked_by="me", request_id="r")
    ),
    calls.ListAudit(limit=5, before=""),
    calls.TuneCollection(name="c", k=5),
    calls.MeasureRecall(name="c", k=5, sample=9, recall=0.8),
    calls.DropCollection(name="c", collection_id="id-c"),
    calls.ListCollections(),
    calls.DescribeCollection(name="c"),
    calls.OptimizeCollection(name="c"),
    calls.Upsert(collection="c", points=POINTS, request_id=RequestId("me", 1)),
    calls.Delete(collection="c", ids=POINTS.ids, request_id=RequestId("me", 2)),
    calls.DeleteMatching(collection="c", filter=HasId((7,)), request_id=RequestId("me", 3)),
    calls.Update(collection="c", change=SetPayload(b"{}"), ids=POINTS.ids, request_id=RequestId("me", 4)),
    calls.Get(collection="c", ids=POINTS.ids, with_payload=True, with_vectors=False, read=READ),
    calls.Count(collection="c", filter=In(("a",), (1,)), read=READ),
    calls.Scroll(collection="c", after="a", limit=5, filter=None, with_payload=True, with_vectors=True, read=READ),
    SEARCH,
    FUSED,
    calls.DescribeCluster(),
    operations.PlanRebalance(undo="last"),
    operations.ApplyRebalance(plan_id="ab", plan=None, asked_by="me", request_id="r"),
    operations.DescribeRebalance(plan_id="ab"),
    operations.ControlRebalance(action=operations.PlanAction.PAUSE, asked_by="me"),
    operations.SetBalance(auto=False, tolerance=0.05, moves_at_once=8, move_bytes_per_s=1),
    operations.ListRebalances(limit=5),
    operations.ListWorkers(),
    operations.DrainWorker(worker="w", primaries_only=True, asked_by="me"),
    operations.UndrainWorker(worker="w", asked_by="me"),
    operations.ForgetWorker(worker="w", confirmed=True, asked_by="me"),
    api_keys.CreateKey(name="app", scopes=ALL_SCOPES, lifetime_s=1.0, rate_per_s=2.0, burst=3, concurrency=4, request_id="r"),
    api_keys.ListKeys(),
    api_keys.RevokeKey(id="0a" * 6, asked_by="me"),
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
        data = method.encode(sample)
        request = message_factory.GetMessageClass(described.input_type).FromString(data)
        request.DiscardUnknownFields()
        assert request.ByteSize() == len(data), "the bytes are of another message"
        assert method.answer.DESCRIPTOR.full_name == described.output_type.full_name
        method.decode(method.answer()) if not isinstance(sample, (calls.Search, FusedSearch)) else None


def test_a_search_says_all_it_was_told(monkeypatch):
    def answer(path, data):
        request = search_pb2.SearchRequest.FromString(data)
        assert path == "/shoal.v1.Search/Search"
        assert (request.collection, request.k, request.exact, request.allow_partial) == ("c", 4, True, True)
        assert list(request.filter.field.path) == ["a"]
        given = {field.name for field, _ in request.ListFields()}
        assert given.isdisjoint({"groups", "params", "recall", "radius", "explain"})
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

    found = transport_over(monkeypatch, answer).send("a:1", SEARCH, 1.0)
    assert found.explain == ()
    assert found.hits.ids.tolist() == [7, "x"]
    assert found.hits.payloads == (None, b'{"a":1}')
    assert found.missing_shards == ("c/1",)


def sent(monkeypatch, request, kind, answer=b""):
    """Send a request. Return the answer as the transport reads it, and the message that the router would read."""
    seen = []

    def answering(path, data):
        seen.append(kind.FromString(data))
        return answer

    return transport_over(monkeypatch, answering).send("a:1", request, 1.0), seen[0]


def search_message(monkeypatch, **changes):
    return sent(monkeypatch, dataclasses.replace(SEARCH, **changes), search_pb2.SearchRequest)[1]


def test_each_accuracy_has_its_field_and_no_other(monkeypatch):
    def said(accuracy):
        message = search_message(monkeypatch, accuracy=accuracy)
        return message.exact, message.recall if message.HasField("recall") else None, dict(message.params)

    assert said(None) == (False, None, {})
    assert said(Exact()) == (True, None, {})
    assert said(RecallTarget(0.8)) == (False, 0.8, {})
    assert said(Breadth(ef=64)) == (False, None, {"ef": 64.0})
    assert said(Breadth(nprobe=8)) == (False, None, {"nprobe": 8.0})


def test_groups_travel_as_groups_unless_there_is_one_of_all_queries(monkeypatch):
    groups = (QueryGroup(k=4, queries=np.array([1])), QueryGroup(k=2, filter=Range(("p",), lt=3), queries=np.array([0])))
    message = search_message(monkeypatch, groups=groups, radius=0.0, explain=True)
    assert (message.k, message.HasField("filter")) == (0, False)
    assert [(list(each.queries), each.k, each.HasField("filter")) for each in message.groups] == [([1], 4, False), ([0], 2, True)]
    assert (message.HasField("radius"), message.radius, message.explain) == (True, 0.0, True)
    assert not search_message(monkeypatch, groups=(QueryGroup(k=1),)).HasField("filter")


def test_what_is_explained_comes_back_field_by_field(monkeypatch):
    answer = search_pb2.SearchResponse(explain=[search_pb2.SegmentExplain(shard=1, segment="s", plan="exact", candidates=9)])
    found, _ = sent(monkeypatch, SEARCH, search_pb2.SearchRequest, answer.SerializeToString())
    assert [(each.shard, each.segment, each.plan, each.candidates) for each in found.explain] == [(1, "s", "exact", 9)]


def test_what_is_altered_is_said_and_the_rest_is_not(monkeypatch):
    def said(**changes):
        request = calls.AlterCollection(name="c", **changes)
        _, message = sent(monkeypatch, request, collections_pb2.AlterCollectionRequest)
        return {field.name: value for field, value in message.ListFields()}

    assert said(index="flat", recall=None) == {"name": "c", "index": "flat"}
    assert said(index=None, recall=0.5) == {"name": "c", "recall": 0.5}


def test_curves_and_recalls_come_back_as_values(monkeypatch):
    curve = collections_pb2.SegmentCurve(segment="s", points=[collections_pb2.CurvePoint(breadth=8, fetch=9, recall=0.5, us=2.0)])
    answer = collections_pb2.TuneCollectionResponse(curves=[curve]).SerializeToString()
    (found,), asked = sent(monkeypatch, calls.TuneCollection(name="c", k=5), collections_pb2.TuneCollectionRequest, answer)
    assert (asked.k, found.segment, found.points[0].recall, found.points[0].us) == (5, "s", 0.5, 2.0)
    answer = collections_pb2.MeasureRecallResponse(shards=[collections_pb2.ShardRecall(shard=1, recall=0.9)]).SerializeToString()
    request = calls.MeasureRecall(name="c", k=5, sample=9, recall=None)
    (measured,), asked = sent(monkeypatch, request, collections_pb2.MeasureRecallRequest, answer)
    assert (asked.sample, asked.HasField("recall"), type(measured), measured.shard) == (9, False, ShardRecall, 1)


def test_a_specification_comes_back_whole_also_from_an_older_server(monkeypatch):
    spec = collections_pb2.CollectionSpec(name="c", dim=2, index="IVF64,PQ8", recall=0.8)
    summary = collections_pb2.CollectionSummary(id="i", spec=spec, state="active")
    answer = collections_pb2.DescribeCollectionResponse(collection=summary, waiting="no memory").SerializeToString()
    info, _ = sent(monkeypatch, calls.DescribeCollection(name="c"), collections_pb2.DescribeCollectionRequest, answer)
    assert (info.spec.index, info.spec.recall, info.waiting) == ("IVF64,PQ8", 0.8, "no memory")
    spec.Clear()
    answer = collections_pb2.DescribeCollectionResponse(collection=collections_pb2.CollectionSummary(spec=spec)).SerializeToString()
    info, _ = sent(monkeypatch, calls.DescribeCollection(name="c"), collections_pb2.DescribeCollectionRequest, answer)
    assert (info.spec.index, info.spec.recall) == ("auto", 0.95)


def test_a_delete_names_ids_or_a_filter(monkeypatch):
    answer = points_pb2.DeleteResponse(deleted=5, written=[common_pb2.ShardSeq(collection_id="i", shard=1, seq=4)]).SerializeToString()
    request = calls.DeleteMatching(collection="c", filter=HasId((7,)), request_id=RequestId("me", 3))
    written, message = sent(monkeypatch, request, points_pb2.DeleteRequest, answer)
    assert (message.HasField("ids"), message.filter.WhichOneof("condition"), message.request_id.number) == (False, "ids", 3)
    assert written == Written(tokens=(calls.ShardToken("i", 1, 4),), affected=5)
    request = calls.Delete(collection="c", ids=POINTS.ids, request_id=RequestId("me", 2))
    assert not sent(monkeypatch, request, points_pb2.DeleteRequest)[1].HasField("filter")


def test_an_update_names_its_points_and_its_change(monkeypatch):
    answer = points_pb2.UpdateResponse(updated=5, written=[common_pb2.ShardSeq(collection_id="i", shard=1, seq=4)]).SerializeToString()
    request = next(each for each in SAMPLES if isinstance(each, calls.Update))
    written, message = sent(monkeypatch, request, points_pb2.UpdateRequest, answer)
    assert (message.change.set_payload, message.HasField("ids"), message.HasField("filter")) == ("{}", True, False)
    assert (message.request_id.client, message.request_id.number) == ("me", 4)
    assert written == Written(tokens=(calls.ShardToken("i", 1, 4),), affected=5)


def test_an_upsert_carries_points_and_request_id(monkeypatch):
    def answer(path, data):
        request = points_pb2.UpsertRequest.FromString(data)
        assert (request.request_id.client, request.request_id.number) == ("me", 1)
        assert list(request.points.payloads) == ["{}", ""]
        return points_pb2.UpsertResponse(written=[common_pb2.ShardSeq(collection_id="i", shard=1, seq=4)]).SerializeToString()

    upsert = next(each for each in SAMPLES if isinstance(each, calls.Upsert))
    assert transport_over(monkeypatch, answer).send("a:1", upsert, 1.0).tokens == (calls.ShardToken("i", 1, 4),)


def test_a_cluster_is_told_with_the_promised_names(monkeypatch):
    def answer(path, data):
        memory = {"memory_bytes": 9, "memory_budget_bytes": 20, "memory_used_bytes": 7, "file_limit": 1024, "files_open": 70}
        worker = cluster_pb2.WorkerInfo(id="w", address="h:1", pid=5, node="n", zone="z", state="up", **memory)
        replica = cluster_pb2.ReplicaInfo(id="r", worker="w", role="primary", state="failed", applied_seq=8)
        copies = {"replication": "read only", "elr": ["x"], "leaving": ["y"], "rf": 3, "min_isr": 2, "replicas": [replica]}
        shard = cluster_pb2.ShardInfo(
            collection="c", shard=1, term=2, primary="w", isr=["w"], state="failed", detail="damaged", memory_bytes=6, **copies
        )
        return cluster_pb2.DescribeClusterResponse(cluster_id="i", leader="", workers=[worker], shards=[shard]).SerializeToString()

    info = transport_over(monkeypatch, answer).send("a:1", calls.DescribeCluster(), 1.0)
    worker, shard = info.workers[0], info.shards[0]
    assert info.leader is None
    assert (worker.memory_budget, worker.memory_used, shard.memory) == (20, 7, 6)
    assert (worker.file_limit, worker.files_open) == (1024, 70)
    assert (shard.replication, shard.elr, shard.leaving, shard.rf, shard.min_isr) == ("read only", ("x",), ("y",), 3, 2)
    assert shard.replicas == (ReplicaInfo(id="r", worker="w", role=MemberRole.PRIMARY, state=ReplicaRole.FAILED, applied_seq=8),)
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
        transport.send("a:1", SEARCH, 1.0)
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
