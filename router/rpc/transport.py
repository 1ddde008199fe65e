"""Calls workers and coordinators over gRPC. No other file of the router knows their stubs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import grpc

from shoal.core.cluster_map import ClusterMap
from shoal.core.filter import Filter, are_long
from shoal.core.ids import CollectionId, ShardId
from shoal.core.points import StoredColumns
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.core.requests import AlterCollection, CreateCollection, DropCollection, ListAudit, RecoverShard
from shoal.core.shard_calls import (
    OlderWorker,
    SegmentCurve,
    ShardCount,
    ShardDeleteMatching,
    ShardFound,
    ShardGet,
    ShardMeasureRecall,
    ShardRecall,
    ShardScroll,
    ShardSearch,
    ShardsFound,
    ShardsSearch,
    ShardStats,
    ShardTune,
    ShardWrite,
    WorkerStatus,
    WriteAck,
)
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import FairPool
from shoal.v1 import coordinator_pb2_grpc, worker_pb2_grpc
from shoal.wire import collections, recall, recovery, searches
from shoal.wire import shard_calls as wire
from shoal.wire.channels import client_options, open_aio_channel
from shoal.wire.remote_call import call_remote

T = TypeVar("T")

# Generated code carries no types.
_WORKER_STUB: Any = worker_pb2_grpc.WorkerStub
_COORDINATOR_STUB: Any = coordinator_pb2_grpc.CoordinatorStub


class GrpcShardService:
    """Calls ShardService of the worker at the other end of a channel. Owns the channel. name: of the worker, for
    messages."""

    def __init__(self, channel: grpc.aio.Channel, name: str, conversions: FairPool) -> None:
        """conversions: pool that makes messages with long filters."""
        self._channel, self._name, self._conversions = channel, name, conversions
        self._stub: Any = _WORKER_STUB(channel)
        self._write: Any = channel.unary_unary(wire.WRITE_PATH, None, wire.ack_from_bytes)

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """See ShardService."""
        filters = [call.filter] if isinstance(call, ShardDeleteMatching) else []
        request = await self._written(partial(wire.write_to_bytes, call), filters, call.request_id.client, timeout_s)
        ack: WriteAck = await self._call(self._write, request, timeout_s)
        return ack

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        """See ShardService."""
        filters = [group.filter for group in call.groups]
        request = await self._written(partial(searches.shard_search_to_message, call), filters, call.terms.caller, timeout_s)
        deadline = self._conversions.deadline(timeout_s)
        answer = await self._call(self._stub.Search, request, timeout_s)
        many = sum(answer.hits.counts) > MANY_HITS
        return await self._conversions.aside(
            lambda _: searches.shard_found_from_message(answer), Asker(caller=call.terms.caller), deadline, long=many
        )

    async def search_shards(self, call: ShardsSearch, timeout_s: float) -> ShardsFound:
        """See ShardService."""
        filters = [group.filter for group in call.groups]
        request = await self._written(partial(searches.shards_search_to_message, call), filters, call.caller, timeout_s)
        deadline = self._conversions.deadline(timeout_s)
        answer = await call_remote(self._stub.SearchShards, request, timeout_s, self._name, unknown=OlderWorker)
        many = sum(answer.hits.counts) > MANY_HITS
        return await self._conversions.aside(
            lambda _: searches.shards_found_from_message(call, answer), Asker(caller=call.caller), deadline, long=many
        )

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return wire.points_from_reply(await self._call(self._stub.Get, wire.get_to_message(call), timeout_s))

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        request = await self._written(partial(wire.scroll_to_message, call), [call.filter], call.terms.caller, timeout_s)
        return wire.points_from_reply(await self._call(self._stub.Scroll, request, timeout_s))

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """See ShardService."""
        request = await self._written(partial(wire.count_to_message, call), [call.filter], call.terms.caller, timeout_s)
        return wire.count_from_reply(await self._call(self._stub.Count, request, timeout_s))

    async def stats(self, shard: ShardId, timeout_s: float) -> ShardStats:
        """See ShardService."""
        return wire.stats_from_message(shard, await self._call(self._stub.Stats, wire.stats_request(shard), timeout_s))

    async def optimize(self, shard: ShardId, timeout_s: float) -> None:
        """See ShardService."""
        await self._call(self._stub.Optimize, wire.optimize_request(shard), timeout_s)

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """See ShardService."""
        return recall.shard_tuned_from_message(await self._call(self._stub.Tune, recall.shard_tune_to_message(call), timeout_s))

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """See ShardService."""
        request = recall.shard_measure_to_message(call)
        return recall.shard_measured_from_message(await self._call(self._stub.MeasureRecall, request, timeout_s))

    async def status(self, timeout_s: float) -> WorkerStatus:
        """See ShardService."""
        return wire.status_from_message(await self._call(self._stub.Status, wire.status_request(), timeout_s))

    async def close(self) -> None:
        """Close the channel; calls in flight fail with Unavailable."""
        await self._channel.close(None)

    async def _written(self, write: Callable[[Turn], T], filters: Sequence[Filter | None], caller: str, timeout_s: float) -> T:
        """Return the message of a request. If its filters are long, it is made in a thread."""
        deadline = self._conversions.deadline(timeout_s)
        return await self._conversions.aside(write, Asker(caller=caller), deadline, long=are_long(filters))

    async def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        return await call_remote(method, request, timeout_s, self._name)


def connect_worker(address: str, message_bytes: int, conversions: FairPool) -> GrpcShardService:
    """Return a connection to the worker at host:port. The first call opens it. conversions: pool that makes messages
    with long filters.
    """
    channel = open_aio_channel(address, client_options(message_bytes))
    return GrpcShardService(channel, f"worker at {address}", conversions)


class GrpcLeader:
    """LeaderCalls over gRPC. Keeps the channel to the last leader."""

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._known: tuple[str, grpc.aio.Channel] | None = None

    async def create(self, address: str, request: CreateCollection, timeout_s: float) -> CollectionId:
        """See LeaderCalls."""
        answer = await self._call(address, "CreateCollection", collections.create_to_message(request), timeout_s)
        return CollectionId(collections.created_from_message(answer))

    async def alter(self, address: str, request: AlterCollection, timeout_s: float) -> None:
        """See LeaderCalls."""
        await self._call(address, "AlterCollection", collections.alter_to_message(request), timeout_s)

    async def drop(self, address: str, request: DropCollection, timeout_s: float) -> None:
        """See LeaderCalls."""
        await self._call(address, "DropCollection", collections.drop_to_message(request), timeout_s)

    async def recover(self, address: str, request: RecoverShard, timeout_s: float) -> ShardRecovery:
        """See LeaderCalls."""
        return recovery.recovered_from_message(await self._call(address, "RecoverShard", recovery.recover_to_message(request), timeout_s))

    async def audit(self, address: str, request: ListAudit, timeout_s: float) -> AuditPage:
        """See LeaderCalls."""
        asked = recovery.audit_request_to_message(request)
        return recovery.audit_page_from_message(await self._call(address, "ListAudit", asked, timeout_s))

    async def keep(self, cluster: ClusterMap) -> None:
        """Close the channel if its coordinator leads no more. Calls in flight fail with Unavailable, so that they are
        tried again.
        """
        leader = None if cluster.leader is None else cluster.leader.address
        if self._known is not None and self._known[0] != leader:
            await self.close()

    async def close(self) -> None:
        """Close the channel."""
        known, self._known = self._known, None
        if known is not None:
            await known[1].close(None)

    async def _call(self, address: str, method: str, request: Any, timeout_s: float) -> Any:
        stub = await self._stub(address)
        return await call_remote(getattr(stub, method), request, timeout_s, f"coordinator at {address}")

    async def _stub(self, address: str) -> Any:
        before = self._known
        if before is not None and before[0] == address:
            return _COORDINATOR_STUB(before[1])
        channel = open_aio_channel(address, client_options(self._message_bytes))
        self._known = (address, channel)
        if before is not None:
            await before[1].close(None)
        return _COORDINATOR_STUB(channel)
