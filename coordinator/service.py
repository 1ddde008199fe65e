"""The internal service shoal.v1.Coordinator: messages in, plain values through, messages out. Refuses to decide."""

from __future__ import annotations

from shoal.coordinator.administer import Administrator
from shoal.coordinator.recover import Recoverer
from shoal.core.ids import CollectionId
from shoal.core.limits import Limits
from shoal.runtime.interceptors import Context
from shoal.v1 import collections_pb2, coordinator_pb2_grpc
from shoal.wire.collections import alteration_from_message, spec_from_message
from shoal.wire.recovery import audit_to_message, recovery_to_message, request_from_message

UNBOUNDED_CALL_S = 60.0
"""Time for a call that came without a deadline."""

DEFAULT_ENTRIES = 100
"""Of a page of the audit, where the caller does not say."""

_MARGIN_PART = 0.1
_MARGIN_S = 0.2


class CoordinatorService(coordinator_pb2_grpc.CoordinatorServicer):
    """Servicer over an Administrator and a Recoverer."""

    def __init__(self, administrator: Administrator, recoverer: Recoverer, limits: Limits) -> None:
        self._administrator, self._recoverer, self._limits = administrator, recoverer, limits

    async def CreateCollection(
        self, request: collections_pb2.CreateCollectionRequest, context: Context
    ) -> collections_pb2.CreateCollectionResponse:
        """See proto/shoal/v1/coordinator.proto."""
        spec = spec_from_message(request.spec, self._limits)
        collection = await self._administrator.create(spec, request.request_id, timeout_s_of(context.time_remaining()))
        return collections_pb2.CreateCollectionResponse(collection_id=collection)

    async def AlterCollection(
        self, request: collections_pb2.AlterCollectionRequest, context: Context
    ) -> collections_pb2.AlterCollectionResponse:
        """See proto/shoal/v1/coordinator.proto."""
        alteration = alteration_from_message(request)
        await self._administrator.alter(request.name, alteration, timeout_s_of(context.time_remaining()))
        return collections_pb2.AlterCollectionResponse()

    async def DropCollection(
        self, request: collections_pb2.DropCollectionRequest, context: Context
    ) -> collections_pb2.DropCollectionResponse:
        """See proto/shoal/v1/coordinator.proto."""
        collection = CollectionId(request.collection_id) if request.collection_id else None
        await self._administrator.drop(request.name, collection, timeout_s_of(context.time_remaining()))
        return collections_pb2.DropCollectionResponse()

    async def RecoverShard(self, request: collections_pb2.RecoverShardRequest, context: Context) -> collections_pb2.RecoverShardResponse:
        """See proto/shoal/v1/coordinator.proto."""
        recovery, done = await self._recoverer.recover(request_from_message(request), timeout_s_of(context.time_remaining()))
        return collections_pb2.RecoverShardResponse(done=done, recovery=recovery_to_message(recovery))

    async def ListAudit(self, request: collections_pb2.ListAuditRequest, context: Context) -> collections_pb2.ListAuditResponse:
        """See proto/shoal/v1/coordinator.proto."""
        limit, timeout_s = request.limit or DEFAULT_ENTRIES, timeout_s_of(context.time_remaining())
        entries, following = await self._recoverer.audit(limit, request.before, timeout_s)
        return collections_pb2.ListAuditResponse(entries=map(audit_to_message, entries), next=following)


def timeout_s_of(remaining_s: float | None) -> float:
    """Time for the work of a call, in seconds: what its caller left, less a margin in which our answer still reaches
    it.
    """
    if remaining_s is None:
        return UNBOUNDED_CALL_S
    return remaining_s - min(_MARGIN_S, _MARGIN_PART * remaining_s)
