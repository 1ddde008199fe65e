"""The internal service shoal.v1.Coordinator: passes routers' calls to Administrator, Recoverer and Operator. Decides
nothing.
"""

from __future__ import annotations

from typing import Any

from shoal.coordinator.administer import Administrator
from shoal.coordinator.operate import Operator
from shoal.coordinator.recover import Recoverer
from shoal.core.ids import CollectionId
from shoal.core.limits import Limits
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.wire import collections, recovery
from shoal.wire.services import COORDINATOR

UNBOUNDED_CALL_S = 60.0
"""Time in seconds for a call that came without a deadline."""

_MARGIN_PART = 0.1
_MARGIN_S = 0.2


class CoordinatorService:
    """The calls of routers to the leading coordinator. Messages: see proto/shoal/v1/coordinator.proto."""

    def __init__(self, administrator: Administrator, recoverer: Recoverer, operator: Operator, limits: Limits) -> None:
        self._administrator, self._recoverer, self._operator, self._limits = administrator, recoverer, operator, limits

    async def CreateCollection(self, request: Any, context: CallContext) -> Any:
        """Create a collection. Answers when the collection is usable."""
        asked = collections.create_from_message(request)
        created = await self._administrator.create(asked.spec(self._limits), asked.request_id, _timeout_s(context))
        return collections.created_to_message(created)

    async def AlterCollection(self, request: Any, context: CallContext) -> Any:
        """Change a live collection."""
        asked = collections.alter_from_message(request)
        await self._administrator.alter(asked.name, asked.alteration, _timeout_s(context))
        return collections.altered_to_message()

    async def DropCollection(self, request: Any, context: CallContext) -> Any:
        """Drop a collection."""
        asked = collections.drop_from_message(request)
        collection = CollectionId(asked.collection_id) if asked.collection_id else None
        await self._administrator.drop(asked.name, collection, _timeout_s(context))
        return collections.dropped_to_message()

    async def RecoverShard(self, request: Any, context: CallContext) -> Any:
        """Recover a shard that lost every replica that may lead, or return the plan of the recovery."""
        found, done = await self._recoverer.recover(recovery.recover_from_message(request).asked, _timeout_s(context))
        return recovery.recovered_to_message(ShardRecovery(done=done, recovery=found))

    async def ListAudit(self, request: Any, context: CallContext) -> Any:
        """Return the audit: actions of operators that may have lost data."""
        asked = recovery.audit_request_from_message(request)
        entries, following = await self._recoverer.audit(asked.limit, asked.before, _timeout_s(context))
        return recovery.audit_page_to_message(AuditPage(entries=tuple(entries), following=following))

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(COORDINATOR, self)


def _timeout_s(context: CallContext) -> float:
    return timeout_s_of(context.time_remaining())


def timeout_s_of(remaining_s: float | None) -> float:
    """Return the seconds that the work of a call may take: the caller's remaining time less a margin for the answer."""
    if remaining_s is None:
        return UNBOUNDED_CALL_S
    return remaining_s - min(_MARGIN_S, _MARGIN_PART * remaining_s)
