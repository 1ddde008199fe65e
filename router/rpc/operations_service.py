"""The public Operations service: passes calls to verbs/operations.py."""

from __future__ import annotations

from typing import Any

from shoal.core import operations
from shoal.core.requests import Request
from shoal.router.rpc.caller import caller_of, timeout_of
from shoal.router.verbs.operations import Operations
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.wire.operations import CALLS
from shoal.wire.services import OPERATIONS


class OperationsService:
    """Plans that balance the cluster, and workers that are taken out of it. Messages: see
    proto/shoal/v1/operations.proto.
    """

    def __init__(self, *, operators: Operations, default_timeout_s: float) -> None:
        self._operators, self._default_timeout_s = operators, default_timeout_s

    async def PlanRebalance(self, request: Any, context: CallContext) -> Any:
        """Return a plan. Nothing is changed."""
        return await self._answer(operations.PlanRebalance, request, context)

    async def ApplyRebalance(self, request: Any, context: CallContext) -> Any:
        """Begin a plan. It goes on without the caller."""
        return await self._answer(operations.ApplyRebalance, request, context)

    async def DescribeRebalance(self, request: Any, context: CallContext) -> Any:
        """Return how far a plan is."""
        return await self._answer(operations.DescribeRebalance, request, context)

    async def ControlRebalance(self, request: Any, context: CallContext) -> Any:
        """Pause, resume or cancel a plan."""
        return await self._answer(operations.ControlRebalance, request, context)

    async def SetBalance(self, request: Any, context: CallContext) -> Any:
        """Change settings of balancing, and return all of them."""
        return await self._answer(operations.SetBalance, request, context)

    async def ListRebalances(self, request: Any, context: CallContext) -> Any:
        """Return the applied plans, newest first."""
        return await self._answer(operations.ListRebalances, request, context)

    async def ListWorkers(self, request: Any, context: CallContext) -> Any:
        """Return the workers, live or not, and the settings of balancing."""
        return await self._answer(operations.ListWorkers, request, context)

    async def DrainWorker(self, request: Any, context: CallContext) -> Any:
        """Move everything away from a worker, or only the lead of its shards."""
        return await self._answer(operations.DrainWorker, request, context)

    async def UndrainWorker(self, request: Any, context: CallContext) -> Any:
        """Let a worker hold replicas again."""
        return await self._answer(operations.UndrainWorker, request, context)

    async def ForgetWorker(self, request: Any, context: CallContext) -> Any:
        """Replace the replicas of a worker that will not return."""
        return await self._answer(operations.ForgetWorker, request, context)

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(OPERATIONS, self)

    async def _answer(self, kind: type[Request], message: Any, context: CallContext) -> Any:
        call = CALLS[kind]
        timeout_s = timeout_of(context, self._default_timeout_s)
        return call.written(await self._operators.answer(call.read(message), caller_of(context), timeout_s))
