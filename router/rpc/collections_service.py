"""The public Collections service: passes calls to verbs/administration.py."""

from __future__ import annotations

from typing import Any

from shoal.router.rpc.caller import caller_of, timeout_of
from shoal.router.verbs.administration import Administration
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.wire import collections, recall, recovery
from shoal.wire.services import COLLECTIONS


class CollectionsService:
    """Administration of collections. Messages: see proto/shoal/v1/collections.proto."""

    def __init__(self, *, administration: Administration, default_timeout_s: float, optimize_timeout_s: float) -> None:
        """default_timeout_s: for calls without a deadline. optimize_timeout_s: the same for optimize, tune and measure
        recall.
        """
        self._administration = administration
        self._default_timeout_s, self._optimize_timeout_s = default_timeout_s, optimize_timeout_s

    async def Create(self, request: Any, context: CallContext) -> Any:
        """Create a collection. Answers when the collection is usable."""
        created = await self._administration.create(collections.create_from_message(request), self._timeout(context))
        return collections.created_to_message(created)

    async def Alter(self, request: Any, context: CallContext) -> Any:
        """Change a live collection."""
        await self._administration.alter(collections.alter_from_message(request), self._timeout(context))
        return collections.altered_to_message()

    async def Drop(self, request: Any, context: CallContext) -> Any:
        """Drop a collection."""
        await self._administration.drop(collections.drop_from_message(request), self._timeout(context))
        return collections.dropped_to_message()

    async def List(self, request: Any, context: CallContext) -> Any:
        """Return all collections."""
        return collections.listed_to_message(self._administration.listed())

    async def Describe(self, request: Any, context: CallContext) -> Any:
        """Return a collection and the figures of its shards."""
        return collections.info_to_message(await self._administration.describe(request.name, self._timeout(context)))

    async def Optimize(self, request: Any, context: CallContext) -> Any:
        """Seal and merge everything."""
        await self._administration.optimize(request.name, timeout_of(context, self._optimize_timeout_s))
        return collections.optimized_to_message()

    async def Tune(self, request: Any, context: CallContext) -> Any:
        """Measure recall against cost now."""
        curves = await self._administration.tune(recall.tune_from_message(request), timeout_of(context, self._optimize_timeout_s))
        return recall.tuned_to_message(curves)

    async def MeasureRecall(self, request: Any, context: CallContext) -> Any:
        """Measure the recall of searches."""
        timeout_s = timeout_of(context, self._optimize_timeout_s)
        return recall.measured_to_message(await self._administration.measure_recall(recall.measure_from_message(request), timeout_s))

    async def RecoverShard(self, request: Any, context: CallContext) -> Any:
        """Recover a shard that lost every replica that may lead, or return the plan of the recovery."""
        asked = recovery.recover_from_message(request)
        return recovery.recovered_to_message(await self._administration.recover(asked, caller_of(context), self._timeout(context)))

    async def ListAudit(self, request: Any, context: CallContext) -> Any:
        """Return the audit: actions of operators that may have lost data."""
        page = await self._administration.audit(recovery.audit_request_from_message(request), self._timeout(context))
        return recovery.audit_page_to_message(page)

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(COLLECTIONS, self)

    def _timeout(self, context: CallContext) -> float:
        return timeout_of(context, self._default_timeout_s)
