"""Plans that balance the cluster, workers that are taken out of it, and API keys. The leading coordinator answers every
call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from shoal.core.api_keys import CreateKey
from shoal.core.deadline import Clock
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.operations import ApplyRebalance
from shoal.core.rebalance import MOST_MOVES, RebalancePlan
from shoal.core.requests import Request
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.retry import patience_of
from shoal.router.verbs.administration import LeaderCalls
from shoal.router.verbs.forwarding import LeaderForward, check_length

_TEXTS = ("plan_id", "undo", "worker", "asked_by", "request_id")
"""Fields of requests that are ids, or name somebody."""

MOST_HAND_OVERS = 100_000
"""Most hand-overs of a plan: more than a cluster has shards."""

AskedFor = TypeVar("AskedFor", bound=Request)


class Operations:
    """Hands requests of operators on to the leader. new_request_id: returns a unique text."""

    def __init__(self, *, view: ClusterView, leader: LeaderCalls, clock: Clock, new_request_id: Callable[[], str]) -> None:
        self._leader, self._clock, self._new_request_id = leader, clock, new_request_id
        self._forward = LeaderForward(view)

    async def answer(self, request: Request, caller: str, timeout_s: float) -> Any:
        """Return the answer that the class of the request documents. caller: for the audit.

        A request that is asked again on the way has the same ids, so it is carried out once. Raises InvalidArgument for
        a text or a plan that is too long, before the leader is asked.
        """
        for field in _TEXTS:
            check_length(field, getattr(request, field, ""))
        named = self._named(request, caller)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        return await self._forward.to_leader(until_deadline, lambda address, left_s: self._leader.operate(address, named, left_s))

    def _named(self, request: AskedFor, caller: str) -> AskedFor:
        """Return the request with who asks, and from where, and with a request id if it may have one."""
        named: dict[str, Any] = {}
        if hasattr(request, "asked_by"):
            named["asked_by"] = f"{request.asked_by or 'somebody'} from {caller}"
        if isinstance(request, ApplyRebalance) and request.plan is not None:
            _check_size(request.plan)
        if isinstance(request, (ApplyRebalance, CreateKey)):
            named["request_id"] = request.request_id or self._new_request_id()
        return dataclasses.replace(request, **named)  # type: ignore[type-var]


def _check_size(plan: RebalancePlan) -> None:
    for field, count, most in (("moves", len(plan.moves), MOST_MOVES), ("hand_overs", len(plan.hand_overs), MOST_HAND_OVERS)):
        if count > most:
            raise InvalidArgument(f"plan.{field} has {count} items, at most {most} are allowed", ErrorDetails(field=f"plan.{field}"))
