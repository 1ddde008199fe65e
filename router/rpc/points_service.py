"""The public Points service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import Limits
from shoal.core.turns import FREE, Turn
from shoal.router.logic.checks import check_message_bytes
from shoal.router.logic.questions import CountQuestion, Delete, DeleteMatching, GetQuestion, ScrollQuestion, Upsert, Written
from shoal.router.rpc.requests import caller_of, filter_of, read_aside, reading_of, request_id_of, timeout_of
from shoal.router.verbs.reads import FEWER_POINTS, Reads
from shoal.router.verbs.writes import Writes
from shoal.runtime.fair_pool import FairPool
from shoal.v1 import common_pb2, points_pb2, points_pb2_grpc
from shoal.wire.columns import id_from_message, ids_from_message, points_to_message
from shoal.wire.filters import filter_from_message
from shoal.wire.point_bytes import points_from_request

T = TypeVar("T")


class PointsService(points_pb2_grpc.PointsServicer):
    """Converts reads and writes of points."""

    def __init__(self, *, reads: Reads, writes: Writes, limits: Limits, default_timeout_s: float, conversions: FairPool) -> None:
        """conversions: reads requests with long filters."""
        self._reads, self._writes, self._limits, self._default_timeout_s = reads, writes, limits, default_timeout_s
        self._conversions = conversions

    async def Upsert(self, request: points_pb2.UpsertRequest, context: Any) -> points_pb2.UpsertResponse:
        """Write points."""
        order = Upsert(collection=request.collection, points=points_from_request(request.points), request_id=request_id_of(request))
        written = await self._writes.upsert(order, self._timeout(context))
        return points_pb2.UpsertResponse(written=_seqs(written))

    async def Delete(self, request: points_pb2.DeleteRequest, context: Any) -> points_pb2.DeleteResponse:
        """Remove points by id, or those that match."""
        order = await self._read(partial(delete_of, request), request, context)
        if isinstance(order, DeleteMatching):
            written = await self._writes.delete_matching(order, self._timeout(context))
        else:
            written = await self._writes.delete(order, self._timeout(context))
        return points_pb2.DeleteResponse(written=_seqs(written), deleted=written.affected)

    async def Get(self, request: points_pb2.GetRequest, context: Any) -> points_pb2.GetResponse:
        """Points by id."""
        reading = reading_of(
            with_payload=request.with_payload,
            with_vectors=request.with_vectors,
            consistency=request.consistency,
            min_seqs=request.min_seqs,
            caller=caller_of(context),
        )
        ids = ids_from_message(request.ids)
        question = GetQuestion(collection=request.collection, ids=ids, reading=reading, in_parts=request.in_parts)
        got = await self._reads.get(question, self._timeout(context))
        response = points_pb2.GetResponse(points=points_to_message(got.points), answered=got.answered)
        check_message_bytes(response.ByteSize(), self._limits, FEWER_POINTS)
        return response

    async def Count(self, request: points_pb2.CountRequest, context: Any) -> points_pb2.CountResponse:
        """The number of points, or of those that match."""
        reading = reading_of(consistency=request.consistency, min_seqs=request.min_seqs, caller=caller_of(context))
        filter = await self._read(partial(filter_of, request), request, context)
        question = CountQuestion(collection=request.collection, filter=filter, reading=reading)
        return points_pb2.CountResponse(count=await self._reads.count(question, self._timeout(context)))

    async def Scroll(self, request: points_pb2.ScrollRequest, context: Any) -> points_pb2.ScrollResponse:
        """A page of points, or of those that match, in id order."""
        reading = reading_of(
            with_payload=request.with_payload,
            with_vectors=request.with_vectors,
            consistency=request.consistency,
            min_seqs=request.min_seqs,
            caller=caller_of(context),
        )
        after = id_from_message(request.after, "after")
        filter = await self._read(partial(filter_of, request), request, context)
        question = ScrollQuestion(
            collection=request.collection,
            after=after,
            limit=request.limit,
            filter=filter,
            reading=reading,
            collection_id=request.collection_id,
        )
        page = await self._reads.scroll(question, self._timeout(context))
        return points_pb2.ScrollResponse(points=points_to_message(page.points), more=page.more, collection_id=page.collection)

    async def _read(self, read: Callable[[Turn], T], request: Any, context: Any) -> T:
        filters = [request.filter] if request.HasField("filter") else []
        return await read_aside(self._conversions, read, filters, context, self._default_timeout_s)

    def _timeout(self, context: Any) -> float:
        return timeout_of(context, self._default_timeout_s)


def delete_of(request: points_pb2.DeleteRequest, turn: Turn = FREE) -> Delete | DeleteMatching:
    """What a request removes. Raises InvalidArgument unless it names either ids or a filter."""
    ids, request_id = ids_from_message(request.ids), request_id_of(request)
    if not request.HasField("filter"):
        return Delete(collection=request.collection, ids=ids, request_id=request_id)
    if len(ids):
        raise InvalidArgument("give ids or a filter, not both", ErrorDetails(field="filter"))
    return DeleteMatching(collection=request.collection, filter=filter_from_message(request.filter, turn), request_id=request_id)


def _seqs(written: Written) -> list[common_pb2.ShardSeq]:
    return [common_pb2.ShardSeq(collection_id=written.collection, shard=number, seq=seq) for number, seq in sorted(written.seqs.items())]
