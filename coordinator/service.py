"""The internal service shoal.v1.Coordinator: messages in, plain values through, messages out. Refuses to decide."""

from __future__ import annotations

from typing import Any

import grpc

from coordinator.administer import Administrator
from shoal.core.alteration import Alteration
from shoal.core.ids import CollectionId
from shoal.core.limits import Limits
from shoal.v1 import collections_pb2, coordinator_pb2_grpc
from shoal.wire.collections import spec_from_message

UNBOUNDED_CALL_S = 60.0
"""Time for a call that came without a deadline."""

_MARGIN_PART = 0.1
_MARGIN_S = 0.2

Context = grpc.aio.ServicerContext[Any, Any]


class CoordinatorService(coordinator_pb2_grpc.CoordinatorServicer):
    """Servicer over an Administrator."""

    def __init__(self, administrator: Administrator, limits: Limits) -> None:
        self._administrator, self._limits = administrator, limits

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
        alteration = Alteration(
            index=request.index if request.HasField("index") else None, recall=request.recall if request.HasField("recall") else None
        )
        await self._administrator.alter(request.name, alteration, timeout_s_of(context.time_remaining()))
        return collections_pb2.AlterCollectionResponse()

    async def DropCollection(
        self, request: collections_pb2.DropCollectionRequest, context: Context
    ) -> collections_pb2.DropCollectionResponse:
        """See proto/shoal/v1/coordinator.proto."""
        collection = CollectionId(request.collection_id) if request.collection_id else None
        await self._administrator.drop(request.name, collection, timeout_s_of(context.time_remaining()))
        return collections_pb2.DropCollectionResponse()


def timeout_s_of(remaining_s: float | None) -> float:
    """Time for the work of a call, in seconds: what its caller left, less a margin in which our answer still reaches it."""
    if remaining_s is None:
        return UNBOUNDED_CALL_S
    return remaining_s - min(_MARGIN_S, _MARGIN_PART * remaining_s)
