"""Test the router's calls on workers with the worker's real service, over real sockets, over both wires. A dumb twin is
behind the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from shoal.core.cluster_map import ClusterMap, LeaderEntry, WorkerEntry
from shoal.core.errors import AlreadyExists, DataLoss, DeadlineExceeded, ErrorDetails, ResourceExhausted, Unavailable
from shoal.core.filter import Exists, Not
from shoal.core.ids import RequestId, Revision, ShardId, WorkerId
from shoal.core.points import PointColumns, id_array
from shoal.core.recovery import RecoveryRequest
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.core.requests import AlterCollection, CreateCollection, DropCollection, ListAudit, RecoverShard
from shoal.core.shard_calls import (
    Breadth,
    OlderWorker,
    QueryGroup,
    ShardCount,
    ShardDelete,
    ShardDeleteMatching,
    ShardGet,
    ShardScroll,
    ShardSearch,
    ShardService,
    ShardsSearch,
    ShardUpsert,
    WorkerStatus,
    WriteAck,
)
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import ShardMeasureRecall, ShardTune
from shoal.router.rpc.leader import GrpcLeader
from shoal.router.rpc.remote_worker import RemoteWorker, connect_worker
from shoal.runtime.calls import UnaryCall, calls_of
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import call_table
from shoal.runtime.server import GrpcServer
from shoal.shard_worker.rpc.worker_service import WorkerServicer
from shoal.v1 import collections_pb2
from shoal.wire.recovery import audit_to_message, recover_from_message, recovery_to_message
from shoal.wire.services import COORDINATOR
from shoal.wire.worker_methods import WORKER_METHODS
from tests.support.network.ports import free_port
from tests.twins.cluster import MEMORY_BYTES, TwinCluster, TwinWorker, new_conversions
from tests.twins.router_answers import AUDITED, RECOVERY

SHARD = ShardId("id-a", 0)
MESSAGE_BYTES = 1_000_000
WAIT_S = 20.0

IDS = [4, "x", -1]
POINTS = PointColumns(ids=id_array(IDS), vectors=np.arange(12, dtype=np.float32).reshape(3, 4), payloads=(b'{"a":1}', None, b"{}"))
HAS_A = Exists(("a",))
SEARCH = ShardSearch(
    shard=SHARD,
    queries=POINTS.vectors[:2],
    groups=(QueryGroup(k=1, queries=np.array([1])), QueryGroup(k=2, filter=Not(HAS_A), queries=np.array([0]))),
    accuracy=Breadth(ef=7),
    radius=100.0,
    explain=True,
    with_vectors=True,
)
SEARCH_SHARDS = ShardsSearch(
    shards=(SHARD, ShardId("id-a", 7)),
    queries=SEARCH.queries,
    groups=SEARCH.groups,
    accuracy=SEARCH.accuracy,
    radius=100.0,
    explain=True,
    with_vectors=True,
)
UPSERT = ShardUpsert(shard=SHARD, request_id=RequestId("me", 1), points=POINTS)


def twin_worker() -> TwinWorker:
    cluster = TwinCluster(workers=1)
    cluster.add("a", shards=1)
    return cluster.workers["w0"]


Check = Callable[[TwinWorker, RemoteWorker], Awaitable[None]]
OverWire = Callable[[Check], None]


def entry(address: str, http_port: int = 0, incarnation: str = "i") -> WorkerEntry:
    return WorkerEntry(
        id=WorkerId("w0"), address=address, http_port=http_port, incarnation=incarnation, pid=1, node="n", zone="", registration=Revision(1)
    )


def of_data(call: UnaryCall) -> bool:
    return WORKER_METHODS[call.path.rpartition("/")[2]].of_data


@pytest.fixture(params=["grpc", "http"])
def over_wire(request: pytest.FixtureRequest) -> OverWire:
    """Run a check with a worker that serves calls on points over one wire only."""
    over_http = request.param == "http"

    def run_check(check: Check) -> None:
        asyncio.run(run(check))

    async def run(check: Check) -> None:
        twin, server = twin_worker(), GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES)
        calls = WorkerServicer(twin, new_conversions()).calls()
        server.add(call_table(call for call in calls if not (over_http and of_data(call))))
        http = HttpServer(
            host="127.0.0.1", port=0, table=call_table(calls), limits=HttpLimits(message_bytes=MESSAGE_BYTES), role="worker", server_id="i"
        )
        http_port = int((await http.start()).rpartition(":")[2]) if over_http else 0
        remote = connect_worker(entry(await server.start(), http_port), MESSAGE_BYTES, new_conversions())
        try:
            await check(twin, remote)
        finally:
            await remote.close()
            await server.stop(0)
            await http.stop(0)

    return run_check


def hit_values(hits: HitColumns) -> tuple[object, ...]:
    vectors = None if hits.vectors is None else hits.vectors.tolist()
    return hits.counts.tolist(), hits.ids.tolist(), hits.scores.tolist(), hits.payloads, vectors


async def answers(service: ShardService) -> list[object]:
    """Return what a worker answers to one call of each kind, as values that can be compared."""
    written = await service.write(UPSERT, WAIT_S)
    found = await service.search(SEARCH, WAIT_S)
    hits = found.hits
    several = await service.search_shards(SEARCH_SHARDS, WAIT_S)
    got = await service.get(ShardGet(shard=SHARD, ids=id_array(["x", 9, 4])), WAIT_S)
    page = await service.scroll(ShardScroll(shard=SHARD, after=-1, limit=5), WAIT_S)
    await service.optimize(SHARD, WAIT_S)
    stats, status = await service.stats(SHARD, WAIT_S), await service.status(WAIT_S)
    removed = await service.write(ShardDelete(shard=SHARD, request_id=RequestId("me", 2), ids=id_array([4, 8])), WAIT_S)
    return [
        written,
        (*hit_values(hits), found.explain),
        (*hit_values(several.hits), several.explain, {shard: (type(each), each.details) for shard, each in several.failed.items()}),
        (got.ids.tolist(), got.vectors.tolist(), got.payloads),
        (page.ids.tolist(), page.vectors, page.payloads),
        stats,
        status,
        removed,
        await service.count(ShardCount(shard=SHARD), WAIT_S),
        await service.count(ShardCount(shard=SHARD, filter=Not(HAS_A)), WAIT_S),
        await service.tune(ShardTune(shard=SHARD, k=7), WAIT_S),
        await service.measure_recall(ShardMeasureRecall(shard=SHARD, k=7, sample=5, recall=0.75), WAIT_S),
        await service.write(ShardDeleteMatching(shard=SHARD, request_id=RequestId("me", 3), filter=Not(HAS_A)), WAIT_S),
    ]


def test_a_worker_answers_the_same_with_and_without_a_hop(over_wire: OverWire) -> None:
    async def check(_: TwinWorker, remote: RemoteWorker) -> None:
        there = await answers(remote)
        assert there == await answers(twin_worker())
        assert there[0] == WriteAck(seq=2, affected=3)
        assert [each.queries for each in there[1][-1]] == [2]
        assert there[2][-1] == {ShardId("id-a", 7): (Unavailable, ErrorDetails(shard="id-a/7"))}
        assert there[2][:-1] == there[1]
        assert there[-5:-3] == [2, 2]
        assert there[-1] == WriteAck(seq=4, affected=2)
        assert there[6] == WorkerStatus(memory_bytes=MEMORY_BYTES, failed={}, serving=frozenset({str(SHARD)}))

    over_wire(check)


def test_a_worker_of_an_older_version_is_recognised() -> None:
    async def run() -> None:
        server = GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES)  # It does not know the call.
        remote = connect_worker(entry(await server.start()), MESSAGE_BYTES, new_conversions())
        try:
            with pytest.raises(OlderWorker, match="it does not know this call"):
                await remote.search_shards(SEARCH_SHARDS, WAIT_S)
        finally:
            await remote.close()
            await server.stop(0)

    asyncio.run(run())


def test_an_empty_shard_answers_over_the_wire(over_wire: OverWire) -> None:
    async def check(_: TwinWorker, remote: RemoteWorker) -> None:
        hits = (await remote.search(SEARCH, WAIT_S)).hits
        assert hits.counts.tolist() == [0, 0]
        assert len(await remote.get(ShardGet(shard=SHARD, ids=id_array([1])), WAIT_S)) == 0

    over_wire(check)


def test_errors_arrive_with_their_kind_message_and_details(over_wire: OverWire) -> None:
    async def check(twin: TwinWorker, remote: RemoteWorker) -> None:
        given = DataLoss("crc of row 7", ErrorDetails(shard="id-a/0", index=7, applied={"id-a/0": "maybe"}))
        twin.before = [given]
        with pytest.raises(DataLoss) as caught:
            await remote.write(UPSERT, WAIT_S)
        assert (caught.value.message, caught.value.details) == (given.message, given.details)

    over_wire(check)


@pytest.mark.parametrize("sign", ["x", "😀"])
def test_an_error_with_long_texts_arrives_cut(sign: str, over_wire: OverWire) -> None:
    async def check(twin: TwinWorker, remote: RemoteWorker) -> None:
        details = ErrorDetails(shard=sign * 2_000, applied={f"{sign * 100}/{number}": "maybe" for number in range(100)})
        for _ in range(20):
            twin.before = [DataLoss(sign * 2_000, details)]
            with pytest.raises(DataLoss, match=sign) as caught:
                await remote.count(ShardCount(shard=SHARD), WAIT_S)
            assert caught.value.details.applied

    over_wire(check)


def test_the_deadline_travels_and_ends_the_call(over_wire: OverWire) -> None:
    async def check(twin: TwinWorker, remote: RemoteWorker) -> None:
        await remote.count(ShardCount(shard=SHARD), WAIT_S)
        # gRPC rounds a timeout of this size up to tenths of a second.
        assert WAIT_S - 5 < twin.timeouts[-1] <= WAIT_S + 0.2
        twin.count = hang
        with pytest.raises(DeadlineExceeded):
            await remote.count(ShardCount(shard=SHARD), 0.05)

    over_wire(check)


def test_closing_a_connection_fails_its_calls_with_unavailable_at_once(over_wire: OverWire) -> None:
    async def check(twin: TwinWorker, remote: RemoteWorker) -> None:
        asked = asyncio.Event()

        async def asked_and_hang(call: ShardCount, timeout_s: float) -> int:
            asked.set()
            return await hang(call, timeout_s)

        twin.count = asked_and_hang
        asking = asyncio.create_task(remote.count(ShardCount(shard=SHARD), 600.0))
        await asked.wait()
        await remote.close()
        with pytest.raises(Unavailable, match="closed"):
            await asking
        with pytest.raises(Unavailable, match="closed"):
            await remote.count(ShardCount(shard=SHARD), WAIT_S)

    over_wire(check)


def test_the_work_of_a_cancelled_call_ends(over_wire: OverWire) -> None:
    async def check(twin: TwinWorker, remote: RemoteWorker) -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def asked_and_hang(call: ShardCount, timeout_s: float) -> int:
            asked.set()
            try:
                return await hang(call, timeout_s)
            finally:
                ended.set()

        twin.count = asked_and_hang
        asking = asyncio.create_task(remote.count(ShardCount(shard=SHARD), 600.0))
        await asked.wait()
        asking.cancel()
        await asyncio.wait_for(ended.wait(), WAIT_S)
        assert asking.cancelled()

    over_wire(check)


def test_messages_as_large_as_allowed_travel_both_ways(over_wire: OverWire) -> None:
    async def check(_: TwinWorker, remote: RemoteWorker) -> None:
        rows, dim = 240, 1_000
        vectors = np.arange(rows * dim, dtype=np.float32).reshape(rows, dim)
        points = PointColumns(ids=np.arange(rows), vectors=vectors, payloads=None)
        await remote.write(ShardUpsert(shard=SHARD, request_id=RequestId("me", 1), points=points), WAIT_S)
        got = await remote.get(ShardGet(shard=SHARD, ids=np.arange(rows), with_vectors=True), WAIT_S)
        assert got.vectors is not None
        assert np.array_equal(got.vectors, vectors)

    over_wire(check)


def test_a_worker_that_is_not_there_is_unavailable_at_once_and_named() -> None:
    async def call() -> None:
        port = free_port()
        remote = connect_worker(entry(f"127.0.0.1:{port}"), MESSAGE_BYTES, new_conversions())
        try:
            with pytest.raises(Unavailable, match=f"worker at 127.0.0.1:{port}"):
                await remote.status(600.0)
        finally:
            await remote.close()

    asyncio.run(call())


def test_a_message_larger_than_allowed_is_exhausted_not_internal(over_wire: OverWire) -> None:
    async def check(_: TwinWorker, remote: RemoteWorker) -> None:
        vectors = np.zeros((1_000, 1_000), dtype=np.float32)
        points = PointColumns(ids=np.arange(1_000), vectors=vectors, payloads=None)
        with pytest.raises(ResourceExhausted, match="send fewer points"):
            await remote.write(ShardUpsert(shard=SHARD, request_id=RequestId("me", 1), points=points), WAIT_S)

    over_wire(check)


async def hang(call: ShardCount, timeout_s: float) -> int:
    await asyncio.Event().wait()
    raise AssertionError("nothing sets it")


class TwinCoordinator:
    def __init__(self) -> None:
        self.created: list[collections_pb2.CreateCollectionRequest] = []
        self.dropped: list[tuple[str, str]] = []
        self.altered: list[collections_pb2.AlterCollectionRequest] = []
        self.recovered: list[RecoveryRequest] = []

    async def CreateCollection(
        self, request: collections_pb2.CreateCollectionRequest, _: object
    ) -> collections_pb2.CreateCollectionResponse:
        self.created.append(request)
        if len(self.created) > 1:
            raise AlreadyExists(f"collection {request.spec.name!r} exists")
        return collections_pb2.CreateCollectionResponse(collection_id="id-1")

    async def AlterCollection(self, request: collections_pb2.AlterCollectionRequest, _: object) -> collections_pb2.AlterCollectionResponse:
        self.altered.append(request)
        return collections_pb2.AlterCollectionResponse()

    async def DropCollection(self, request: collections_pb2.DropCollectionRequest, _: object) -> collections_pb2.DropCollectionResponse:
        self.dropped.append((request.name, request.collection_id))
        return collections_pb2.DropCollectionResponse()

    async def RecoverShard(self, request: collections_pb2.RecoverShardRequest, _: object) -> collections_pb2.RecoverShardResponse:
        self.recovered.append(recover_from_message(request).asked)
        return collections_pb2.RecoverShardResponse(done=request.accept_data_loss, recovery=recovery_to_message(RECOVERY))

    async def ListAudit(self, request: collections_pb2.ListAuditRequest, _: object) -> collections_pb2.ListAuditResponse:
        return collections_pb2.ListAuditResponse(entries=[audit_to_message(AUDITED)] * request.limit, next=f"behind {request.before}")


def test_administration_goes_to_the_leader_of_the_moment() -> None:
    async def run() -> None:
        leader = GrpcLeader(MESSAGE_BYTES)
        first_call, second_call = (CreateCollection(name="a", dim=4, shards=3, request_id=each) for each in ("r1", "r2"))
        drop = DropCollection(name="a", collection_id="id-1")
        twins = [TwinCoordinator(), TwinCoordinator()]
        servers = [GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES) for _ in twins]
        for twin, server in zip(twins, servers, strict=True):
            server.add(call_table(calls_of(COORDINATOR, twin)))
        first, second = [await server.start() for server in servers]
        assert await leader.create(first, first_call, WAIT_S) == "id-1"
        with pytest.raises(AlreadyExists):
            await leader.create(first, second_call, WAIT_S)
        await leader.drop(second, drop, WAIT_S)
        assert ([each.request_id for each in twins[0].created], twins[0].dropped, twins[1].dropped) == (["r1", "r2"], [], [("a", "id-1")])
        assert (twins[0].created[0].spec.name, twins[0].created[0].spec.shards) == ("a", 3)
        await leader.alter(second, AlterCollection(name="a", recall=0.5), WAIT_S)
        await leader.alter(second, AlterCollection(name="a", index="flat"), WAIT_S)
        sent = [(each.name, each.HasField("index"), each.index, each.HasField("recall"), each.recall) for each in twins[1].altered]
        assert sent == [("a", False, "", True, 0.5), ("a", True, "flat", False, 0.0)]
        asked = RecoveryRequest(name="a", number=1, worker=None, accept_data_loss=True, reason="why", asked_by="me", request_id="r")
        recovered = await leader.recover(second, RecoverShard(asked=asked), WAIT_S)
        assert recovered == ShardRecovery(done=True, recovery=RECOVERY)
        assert twins[1].recovered == [asked]
        page = await leader.audit(second, ListAudit(limit=2, before="k"), WAIT_S)
        assert page == AuditPage(entries=(AUDITED, AUDITED), following="behind k")
        await servers[1].stop(0)
        with pytest.raises(Unavailable, match="coordinator at"):
            await leader.drop(second, drop, WAIT_S)
        await leader.close()
        await servers[0].stop(0)

    asyncio.run(run())


class FrozenCoordinator:
    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def CreateCollection(self, request: object, _: object) -> collections_pb2.CreateCollectionResponse:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")


def test_a_call_on_a_frozen_leader_is_given_up_when_another_one_leads() -> None:
    async def run() -> None:
        leader, twin = GrpcLeader(MESSAGE_BYTES), FrozenCoordinator()
        server = GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES)
        server.add(call_table(calls_of(COORDINATOR, twin)))
        address = await server.start()
        call = asyncio.create_task(leader.create(address, CreateCollection(name="a", dim=4, request_id="r"), WAIT_S))
        await twin.asked.wait()
        await leader.keep(ClusterMap(leader=LeaderEntry(address=address, created=Revision(1))))
        assert not call.done()
        await leader.keep(ClusterMap(leader=LeaderEntry(address="127.0.0.1:9", created=Revision(2))))
        with pytest.raises(Unavailable, match="was closed"):
            await asyncio.wait_for(call, 5.0)
        await leader.close()
        await server.stop(0)

    asyncio.run(run())
