"""The internal service shoal.v1.Coordinator: passes routers' calls to Administrator, Recoverer, Operator and
KeyRequests. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shoal.coordinator.administer import Administrator
from shoal.coordinator.key_requests import KeyRequests
from shoal.coordinator.operate import Operator
from shoal.coordinator.recover import Recoverer
from shoal.core import api_keys, operations
from shoal.core.ids import CollectionId
from shoal.core.limits import Limits
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.core.requests import Request
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.wire import access, collections, recovery
from shoal.wire import operations as operation_calls
from shoal.wire.services import COORDINATOR

UNBOUNDED_CALL_S = 60.0
"""Time in seconds for a call that came without a deadline."""

_CALLS = {**operation_calls.CALLS, **access.CALLS}

_MARGIN_PART = 0.1
_MARGIN_S = 0.2


class CoordinatorService:
    """The calls of routers to the leading coordinator. Messages: see proto/shoal/v1/coordinator.proto."""

    def __init__(self, administrator: Administrator, recoverer: Recoverer, operator: Operator, keys: KeyRequests, limits: Limits) -> None:
        self._administrator, self._recoverer, self._operator, self._limits = administrator, recoverer, operator, limits
        self._keys = keys

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

    async def PlanRebalance(self, request: Any, context: CallContext) -> Any:
        """Return a plan. Nothing is changed."""
        return await _answer(operations.PlanRebalance, self._operator.plan, request, context)

    async def ApplyRebalance(self, request: Any, context: CallContext) -> Any:
        """Begin a plan. It goes on without the caller."""
        return await _answer(operations.ApplyRebalance, self._operator.apply, request, context)

    async def DescribeRebalance(self, request: Any, context: CallContext) -> Any:
        """Return how far a plan is."""
        return await _answer(operations.DescribeRebalance, self._operator.describe, request, context)

    async def ControlRebalance(self, request: Any, context: CallContext) -> Any:
        """Pause, resume or cancel a plan."""
        return await _answer(operations.ControlRebalance, self._operator.control, request, context)

    async def SetBalance(self, request: Any, context: CallContext) -> Any:
        """Change settings of balancing, and return all of them."""
        return await _answer(operations.SetBalance, self._operator.set_balance, request, context)

    async def ListRebalances(self, request: Any, context: CallContext) -> Any:
        """Return the applied plans, newest first."""
        return await _answer(operations.ListRebalances, self._operator.history, request, context)

    async def ListWorkers(self, request: Any, context: CallContext) -> Any:
        """Return the workers, live or not, and the settings of balancing."""
        return await _answer(operations.ListWorkers, self._operator.workers, request, context)

    async def DrainWorker(self, request: Any, context: CallContext) -> Any:
        """Move everything away from a worker, or only the lead of its shards."""
        return await _answer(operations.DrainWorker, self._operator.drain, request, context)

    async def UndrainWorker(self, request: Any, context: CallContext) -> Any:
        """Let a worker hold replicas again."""
        return await _answer(operations.UndrainWorker, self._operator.undrain, request, context)

    async def ForgetWorker(self, request: Any, context: CallContext) -> Any:
        """Replace the replicas of a worker that will not return."""
        return await _answer(operations.ForgetWorker, self._operator.forget, request, context)

    async def CreateKey(self, request: Any, context: CallContext) -> Any:
        """Make a key. Its text is in the answer."""
        return await _answer(api_keys.CreateKey, self._keys.create, request, context)

    async def ListKeys(self, request: Any, context: CallContext) -> Any:
        """Return the keys without their texts."""
        return await _answer(api_keys.ListKeys, self._keys.list, request, context)

    async def RevokeKey(self, request: Any, context: CallContext) -> Any:
        """Remove a key."""
        return await _answer(api_keys.RevokeKey, self._keys.revoke, request, context)

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(COORDINATOR, self)


async def _answer(kind: type[Request], answer: Callable[[Any, float], Awaitable[Any]], message: Any, context: CallContext) -> Any:
    """Return the message of what `answer` returns for the request of a message."""
    call = _CALLS[kind]
    return call.written(await answer(call.read(message), _timeout_s(context)))


def _timeout_s(context: CallContext) -> float:
    return timeout_s_of(context.time_remaining())


def timeout_s_of(remaining_s: float | None) -> float:
    """Return the seconds that the work of a call may take: the caller's remaining time less a margin for the answer."""
    if remaining_s is None:
        return UNBOUNDED_CALL_S
    return remaining_s - min(_MARGIN_S, _MARGIN_PART * remaining_s)
