"""The worker's internal gRPC service: messages in, calls on the host, messages out. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from shoal.core.shard_calls import ShardService
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker, Turn
from shoal.runtime.fair_pool import FairPool
from shoal.runtime.interceptors import Context
from shoal.v1 import filter_pb2, worker_pb2, worker_pb2_grpc
from shoal.wire import recall
from shoal.wire import shard_calls as wire
from shoal.wire.columns import points_to_message
from shoal.wire.filters import are_long_messages
from shoal.wire.searches import found_to_message, search_from_message

DEFAULT_TIMEOUT_S = 60.0

T = TypeVar("T")


class WorkerServicer(worker_pb2_grpc.WorkerServicer):
    """shoal.v1.Worker on a host."""

    def __init__(self, host: ShardService, conversions: FairPool) -> None:
        """conversions: converts requests with long filters and large answers, which would hold up the event loop."""
        self._host, self._conversions = host, conversions

    async def Write(self, request: worker_pb2.ShardWriteRequest, context: Context) -> worker_pb2.ShardWriteResponse:
        """Upsert, delete, or delete of what matches."""
        filters = [request.delete_matching] if request.HasField("delete_matching") else []
        call = await self._read(partial(wire.write_from_message, request), filters, request.request_id.client, context)
        return wire.ack_to_message(await self._host.write(call, _timeout_s(context)))

    async def Search(self, request: worker_pb2.ShardSearchRequest, context: Context) -> worker_pb2.ShardSearchResponse:
        """Best k points for each query."""
        filters = [group.filter for group in request.groups if group.HasField("filter")]
        call = await self._read(partial(search_from_message, request), filters, request.terms.caller, context)
        found = await self._host.search(call, _timeout_s(context))
        asker, deadline = Asker(caller=call.terms.caller), self._conversions.deadline(_timeout_s(context))
        return await self._conversions.aside(lambda _: found_to_message(found), asker, deadline, long=len(found.hits) > MANY_HITS)

    async def Get(self, request: worker_pb2.ShardGetRequest, context: Context) -> worker_pb2.ShardPointsResponse:
        """Points by id."""
        found = await self._host.get(wire.get_from_message(request), _timeout_s(context))
        return worker_pb2.ShardPointsResponse(points=points_to_message(found))

    async def Scroll(self, request: worker_pb2.ShardScrollRequest, context: Context) -> worker_pb2.ShardPointsResponse:
        """Points in id order."""
        call = await self._read(partial(wire.scroll_from_message, request), [request.filter], request.terms.caller, context)
        page = await self._host.scroll(call, _timeout_s(context))
        return worker_pb2.ShardPointsResponse(points=points_to_message(page))

    async def Count(self, request: worker_pb2.ShardCountRequest, context: Context) -> worker_pb2.ShardCountResponse:
        """Number of points."""
        call = await self._read(partial(wire.count_from_message, request), [request.filter], request.terms.caller, context)
        return worker_pb2.ShardCountResponse(count=await self._host.count(call, _timeout_s(context)))

    async def Stats(self, request: worker_pb2.ShardStatsRequest, context: Context) -> worker_pb2.ShardStatsResponse:
        """What a replica holds."""
        return wire.stats_to_message(await self._host.stats(wire.shard_from_message(request.shard), _timeout_s(context)))

    async def Optimize(self, request: worker_pb2.ShardOptimizeRequest, context: Context) -> worker_pb2.ShardOptimizeResponse:
        """Seal and merge everything."""
        await self._host.optimize(wire.shard_from_message(request.shard), _timeout_s(context))
        return worker_pb2.ShardOptimizeResponse()

    async def Tune(self, request: worker_pb2.ShardTuneRequest, context: Context) -> worker_pb2.ShardTuneResponse:
        """Recall against cost, measured now."""
        curves = await self._host.tune(recall.tune_from_message(request), _timeout_s(context))
        return worker_pb2.ShardTuneResponse(curves=map(recall.curve_to_message, curves))

    async def MeasureRecall(self, request: worker_pb2.ShardMeasureRecallRequest, context: Context) -> worker_pb2.ShardMeasureRecallResponse:
        """Recall that searches have."""
        measured = await self._host.measure_recall(recall.measure_from_message(request), _timeout_s(context))
        return worker_pb2.ShardMeasureRecallResponse(measured=recall.recall_to_message(measured))

    async def Status(self, request: worker_pb2.WorkerStatusRequest, context: Context) -> worker_pb2.WorkerStatusResponse:
        """The worker about itself."""
        return wire.status_to_message(await self._host.status(_timeout_s(context)))

    async def _read(self, convert: Callable[[Turn], T], filters: list[filter_pb2.Filter], caller: str, context: Context) -> T:
        """The call that a request asks for."""
        deadline = self._conversions.deadline(_timeout_s(context))
        return await self._conversions.aside(convert, Asker(caller=caller), deadline, long=are_long_messages(filters))


def _timeout_s(context: Context) -> float:
    remaining = context.time_remaining()
    return DEFAULT_TIMEOUT_S if remaining is None else max(0.0, min(remaining, 24 * 3600.0))
