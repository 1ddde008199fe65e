"""The public Collections service."""

from __future__ import annotations

import dataclasses
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.ids import CollectionId
from shoal.core.limits import Limits
from shoal.router.rpc.requests import timeout_of
from shoal.router.verbs.administration import Administration
from shoal.v1 import collections_pb2, collections_pb2_grpc
from shoal.wire.collections import alteration_from_message, spec_from_message, summary_to_message
from shoal.wire.recall import curve_to_message, recall_to_message
from shoal.wire.recovery import audit_to_message, recovery_to_message, request_from_message

_ID_CHARACTERS = 64

DEFAULT_K = 10
DEFAULT_SAMPLE = 100


class CollectionsService(collections_pb2_grpc.CollectionsServicer):
    """Converts administration of collections. optimize_timeout_s: for calls that come without a deadline and take long:
    optimise, tune, measure recall."""

    def __init__(self, *, administration: Administration, limits: Limits, default_timeout_s: float, optimize_timeout_s: float) -> None:
        self._administration, self._limits = administration, limits
        self._default_timeout_s, self._optimize_timeout_s = default_timeout_s, optimize_timeout_s

    async def Create(self, request: collections_pb2.CreateCollectionRequest, context: Any) -> collections_pb2.CreateCollectionResponse:
        """Create a collection; answers when it is usable."""
        spec = spec_from_message(request.spec, self._limits)
        _check_length("request_id", request.request_id)
        created = await self._administration.create(spec, request.request_id, timeout_of(context, self._default_timeout_s))
        return collections_pb2.CreateCollectionResponse(collection_id=created)

    async def Alter(self, request: collections_pb2.AlterCollectionRequest, context: Any) -> collections_pb2.AlterCollectionResponse:
        """Change what may change of a live collection."""
        alteration = alteration_from_message(request)
        await self._administration.alter(request.name, alteration, timeout_of(context, self._default_timeout_s))
        return collections_pb2.AlterCollectionResponse()

    async def Drop(self, request: collections_pb2.DropCollectionRequest, context: Any) -> collections_pb2.DropCollectionResponse:
        """Drop a collection."""
        _check_length("collection_id", request.collection_id)
        collection = CollectionId(request.collection_id) if request.collection_id else None
        await self._administration.drop(request.name, collection, timeout_of(context, self._default_timeout_s))
        return collections_pb2.DropCollectionResponse()

    async def List(self, request: collections_pb2.ListCollectionsRequest, context: Any) -> collections_pb2.ListCollectionsResponse:
        """All collections."""
        return collections_pb2.ListCollectionsResponse(collections=[summary_to_message(each) for each in self._administration.listed()])

    async def Describe(
        self, request: collections_pb2.DescribeCollectionRequest, context: Any
    ) -> collections_pb2.DescribeCollectionResponse:
        """A collection and what its shards hold together."""
        figures = await self._administration.describe(request.name, timeout_of(context, self._default_timeout_s))
        return collections_pb2.DescribeCollectionResponse(
            collection=summary_to_message(figures.collection),
            points=figures.points,
            growing_rows=figures.growing_rows,
            sealed_rows=figures.sealed_rows,
            segments=figures.segments,
            builds_pending=figures.builds_pending,
            bytes=figures.bytes,
            memory_bytes=figures.memory_bytes,
            waiting=figures.waiting,
        )

    async def Optimize(
        self, request: collections_pb2.OptimizeCollectionRequest, context: Any
    ) -> collections_pb2.OptimizeCollectionResponse:
        """Seal and merge everything."""
        await self._administration.optimize(request.name, timeout_of(context, self._optimize_timeout_s))
        return collections_pb2.OptimizeCollectionResponse()

    async def Tune(self, request: collections_pb2.TuneCollectionRequest, context: Any) -> collections_pb2.TuneCollectionResponse:
        """Measure recall against cost now."""
        timeout_s = timeout_of(context, self._optimize_timeout_s)
        curves = await self._administration.tune(request.name, request.k or DEFAULT_K, timeout_s)
        return collections_pb2.TuneCollectionResponse(curves=[curve_to_message(each) for each in curves])

    async def MeasureRecall(self, request: collections_pb2.MeasureRecallRequest, context: Any) -> collections_pb2.MeasureRecallResponse:
        """Measure the recall that searches have."""
        measured = await self._administration.measure_recall(
            request.name,
            k=request.k or DEFAULT_K,
            sample=request.sample or DEFAULT_SAMPLE,
            recall=request.recall if request.HasField("recall") else None,
            timeout_s=timeout_of(context, self._optimize_timeout_s),
        )
        return collections_pb2.MeasureRecallResponse(shards=[recall_to_message(each) for each in measured])

    async def RecoverShard(self, request: collections_pb2.RecoverShardRequest, context: Any) -> collections_pb2.RecoverShardResponse:
        """Make what one replica holds the data of a shard that lost all that may lead, or tell what that would mean."""
        _check_length("request_id", request.request_id)
        _check_length("worker", request.worker)
        _check_length("asked_by", request.asked_by)
        asked = request_from_message(request)
        wanted = dataclasses.replace(asked, asked_by=f"{asked.asked_by or 'somebody'} from {context.peer()}")
        recovery, done = await self._administration.recover(wanted, timeout_of(context, self._default_timeout_s))
        return collections_pb2.RecoverShardResponse(done=done, recovery=recovery_to_message(recovery))

    async def ListAudit(self, request: collections_pb2.ListAuditRequest, context: Any) -> collections_pb2.ListAuditResponse:
        """What operators did that may have cost data."""
        timeout_s = timeout_of(context, self._default_timeout_s)
        entries, following = await self._administration.audit(request.limit, request.before, timeout_s)
        return collections_pb2.ListAuditResponse(entries=map(audit_to_message, entries), next=following)


def _check_length(field: str, text: str) -> None:
    if len(text) > _ID_CHARACTERS:
        raise InvalidArgument(f"{field} has {len(text)} characters, at most {_ID_CHARACTERS} are allowed", ErrorDetails(field=field))
