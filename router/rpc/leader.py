"""Calls the leading coordinator over gRPC."""

from __future__ import annotations

from typing import Any

import grpc

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import CollectionId
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.core.requests import AlterCollection, CreateCollection, DropCollection, ListAudit, RecoverShard, Request
from shoal.v1 import coordinator_pb2_grpc
from shoal.wire import access, collections, operations, recovery
from shoal.wire.channels import client_options
from shoal.wire.remote_call import call_remote
from shoal.wire.renewed_channel import internal_channel
from shoal.wire.tls import Tls

# Generated code carries no types.
_COORDINATOR_STUB: Any = coordinator_pb2_grpc.CoordinatorStub

_CALLS = {**operations.CALLS, **access.CALLS}


class GrpcLeader:
    """LeaderCalls over gRPC. Keeps the channel to the last leader."""

    def __init__(self, message_bytes: int, tls: Tls | None = None) -> None:
        """tls: None for plain text."""
        self._message_bytes, self._tls = message_bytes, tls
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

    async def operate(self, address: str, request: Request, timeout_s: float) -> Any:
        """See LeaderCalls."""
        call = _CALLS[type(request)]
        return call.from_message(await self._call(address, call.name, call.to_message(request), timeout_s))

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
        channel = internal_channel(address, client_options(self._message_bytes), self._tls)
        self._known = (address, channel)
        if before is not None:
            await before[1].close(None)
        return _COORDINATOR_STUB(channel)
