"""Workers and coordinators over gRPC. No other file of the router knows their stubs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import grpc

from shoal.core.alteration import Alteration
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionSpec
from shoal.core.filter import Filter, are_long
from shoal.core.ids import CollectionId, ShardId
from shoal.core.points import StoredColumns
from shoal.core.recovery import AuditEntry, Recovery, RecoveryRequest
from shoal.core.shard_calls import (
    SegmentCurve,
    ShardCount,
    ShardDeleteMatching,
    ShardFound,
    ShardGet,
    ShardMeasureRecall,
    ShardRecall,
    ShardScroll,
    ShardSearch,
    ShardStats,
    ShardTune,
    ShardWrite,
    WorkerStatus,
    WriteAck,
)
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import FairPool
from shoal.v1 import collections_pb2, coordinator_pb2_grpc, worker_pb2, worker_pb2_grpc
from shoal.wire import recall
from shoal.wire import shard_calls as wire
from shoal.wire.channels import client_options, open_aio_channel
from shoal.wire.collections import alteration_to_message, spec_to_message
from shoal.wire.columns import stored_from_message
from shoal.wire.recovery import audit_from_message, recovery_from_message, request_to_message
from shoal.wire.remote_call import call_remote
from shoal.wire.searches import found_from_message, search_to_message

T = TypeVar("T")

# Generated code carries no types.
_WORKER_STUB: Any = worker_pb2_grpc.WorkerStub
_COORDINATOR_STUB: Any = coordinator_pb2_grpc.CoordinatorStub


class GrpcShardService:
    """ShardService on the worker at the other end of a channel, which it owns. name: who that is, for messages."""

    def __init__(self, channel: grpc.aio.Channel, name: str, conversions: FairPool) -> None:
        """conversions: writes requests with long filters."""
        self._channel, self._name, self._conversions = channel, name, conversions
        self._stub: Any = _WORKER_STUB(channel)

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """See ShardService."""
        filters = [call.filter] if isinstance(call, ShardDeleteMatching) else []
        request = await self._written(partial(wire.write_to_message, call), filters, call.request_id.client, timeout_s)
        return wire.ack_from_message(await self._call(self._stub.Write, request, timeout_s))

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        """See ShardService."""
        filters = [group.filter for group in call.groups]
        request = await self._written(partial(search_to_message, call), filters, call.terms.caller, timeout_s)
        deadline = self._conversions.deadline(timeout_s)
        answer = await self._call(self._stub.Search, request, timeout_s)
        many = sum(answer.hits.counts) > MANY_HITS
        return await self._conversions.aside(lambda _: found_from_message(answer), Asker(caller=call.terms.caller), deadline, long=many)

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return stored_from_message((await self._call(self._stub.Get, wire.get_to_message(call), timeout_s)).points)

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        request = await self._written(partial(wire.scroll_to_message, call), [call.filter], call.terms.caller, timeout_s)
        return stored_from_message((await self._call(self._stub.Scroll, request, timeout_s)).points)

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """See ShardService."""
        request = await self._written(partial(wire.count_to_message, call), [call.filter], call.terms.caller, timeout_s)
        return int((await self._call(self._stub.Count, request, timeout_s)).count)

    async def stats(self, shard: ShardId, timeout_s: float) -> ShardStats:
        """See ShardService."""
        request = worker_pb2.ShardStatsRequest(shard=wire.shard_to_message(shard))
        return wire.stats_from_message(shard, await self._call(self._stub.Stats, request, timeout_s))

    async def optimize(self, shard: ShardId, timeout_s: float) -> None:
        """See ShardService."""
        await self._call(self._stub.Optimize, worker_pb2.ShardOptimizeRequest(shard=wire.shard_to_message(shard)), timeout_s)

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """See ShardService."""
        answer = await self._call(self._stub.Tune, recall.tune_to_message(call), timeout_s)
        return tuple(map(recall.curve_from_message, answer.curves))

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """See ShardService."""
        answer = await self._call(self._stub.MeasureRecall, recall.measure_to_message(call), timeout_s)
        return recall.recall_from_message(answer.measured)

    async def status(self, timeout_s: float) -> WorkerStatus:
        """See ShardService."""
        return wire.status_from_message(await self._call(self._stub.Status, worker_pb2.WorkerStatusRequest(), timeout_s))

    async def close(self) -> None:
        """Close the channel; calls in flight fail with Unavailable."""
        await self._channel.close(None)

    async def _written(self, write: Callable[[Turn], T], filters: Sequence[Filter | None], caller: str, timeout_s: float) -> T:
        """The message of a request, made beside the event loop where that takes a while."""
        deadline = self._conversions.deadline(timeout_s)
        return await self._conversions.aside(write, Asker(caller=caller), deadline, long=are_long(filters))

    async def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        return await call_remote(method, request, timeout_s, self._name)


def connect_worker(address: str, message_bytes: int, conversions: FairPool) -> GrpcShardService:
    """A connection to the worker at host:port; it is opened by the first call. conversions: writes requests with long
    filters.
    """
    channel = open_aio_channel(address, client_options(message_bytes))
    return GrpcShardService(channel, f"worker at {address}", conversions)


class GrpcLeader:
    """LeaderCalls over gRPC. Keeps the channel to the last leader."""

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._known: tuple[str, grpc.aio.Channel] | None = None

    async def create(self, address: str, spec: CollectionSpec, request_id: str, timeout_s: float) -> CollectionId:
        """See LeaderCalls."""
        stub = await self._stub(address)
        request = collections_pb2.CreateCollectionRequest(spec=spec_to_message(spec), request_id=request_id)
        answer = await call_remote(stub.CreateCollection, request, timeout_s, f"coordinator at {address}")
        return CollectionId(answer.collection_id)

    async def alter(self, address: str, name: str, alteration: Alteration, timeout_s: float) -> None:
        """See LeaderCalls."""
        stub = await self._stub(address)
        await call_remote(stub.AlterCollection, alteration_to_message(name, alteration), timeout_s, f"coordinator at {address}")

    async def drop(self, address: str, name: str, collection: CollectionId | None, timeout_s: float) -> None:
        """See LeaderCalls."""
        stub = await self._stub(address)
        request = collections_pb2.DropCollectionRequest(name=name, collection_id=collection or "")
        await call_remote(stub.DropCollection, request, timeout_s, f"coordinator at {address}")

    async def recover(self, address: str, request: RecoveryRequest, timeout_s: float) -> tuple[Recovery, bool]:
        """See LeaderCalls."""
        stub = await self._stub(address)
        answer = await call_remote(stub.RecoverShard, request_to_message(request), timeout_s, f"coordinator at {address}")
        return recovery_from_message(answer.recovery), answer.done

    async def audit(self, address: str, limit: int, before: str, timeout_s: float) -> tuple[tuple[AuditEntry, ...], str]:
        """See LeaderCalls."""
        stub = await self._stub(address)
        request = collections_pb2.ListAuditRequest(limit=limit, before=before)
        answer = await call_remote(stub.ListAudit, request, timeout_s, f"coordinator at {address}")
        return tuple(map(audit_from_message, answer.entries)), answer.next

    async def keep(self, cluster: ClusterMap) -> None:
        """Close the channel once another one leads, or nobody; calls in flight fail with Unavailable, so that they are
        made anew.
        """
        leader = None if cluster.leader is None else cluster.leader.address
        if self._known is not None and self._known[0] != leader:
            await self.close()

    async def close(self) -> None:
        """Close the channel."""
        known, self._known = self._known, None
        if known is not None:
            await known[1].close(None)

    async def _stub(self, address: str) -> Any:
        before = self._known
        if before is not None and before[0] == address:
            return _COORDINATOR_STUB(before[1])
        channel = open_aio_channel(address, client_options(self._message_bytes))
        self._known = (address, channel)
        if before is not None:
            await before[1].close(None)
        return _COORDINATOR_STUB(channel)
