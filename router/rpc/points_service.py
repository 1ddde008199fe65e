"""The public Points service: passes calls to verbs/reads.py, verbs/writes.py and verbs/updates.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from shoal.core.limits import Limits
from shoal.core.requests import DeleteMatching
from shoal.core.turns import Turn
from shoal.router.logic.checks import check_message_bytes
from shoal.router.rpc.caller import caller_of, read_aside, timeout_of
from shoal.router.verbs.reads import FEWER_POINTS, Reads
from shoal.router.verbs.updates import Updates
from shoal.router.verbs.writes import Writes
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.runtime.fair_pool import FairPool
from shoal.wire import points
from shoal.wire.filters import has_long_filters
from shoal.wire.services import POINTS

T = TypeVar("T")


class PointsService:
    """Reads and writes of points. Messages: see proto/shoal/v1/points.proto."""

    def __init__(
        self, *, reads: Reads, writes: Writes, updates: Updates, limits: Limits, default_timeout_s: float, conversions: FairPool
    ) -> None:
        """conversions: pool that reads requests with long filters."""
        self._reads, self._writes, self._updates = reads, writes, updates
        self._limits, self._default_timeout_s, self._conversions = limits, default_timeout_s, conversions

    async def Upsert(self, request: Any, context: CallContext) -> Any:
        """Write points."""
        written = await self._writes.upsert(points.upsert_from_message(request), self._timeout(context))
        return points.upserted_to_message(written)

    async def Delete(self, request: Any, context: CallContext) -> Any:
        """Remove points by id, or the points that match a filter."""
        order = await self._read(partial(points.delete_from_message, request), request, context)
        if isinstance(order, DeleteMatching):
            return points.deleted_to_message(await self._writes.delete_matching(order, self._timeout(context)))
        return points.deleted_to_message(await self._writes.delete(order, self._timeout(context)))

    async def Update(self, request: Any, context: CallContext) -> Any:
        """Change payloads or vectors of points that exist."""
        order = await self._read(partial(points.update_from_message, request), request, context)
        return points.updated_to_message(await self._updates.update(order, self._timeout(context)))

    async def Get(self, request: Any, context: CallContext) -> Any:
        """Return points by id."""
        got = await self._reads.get(points.get_from_message(request, caller_of(context)), self._timeout(context))
        response = points.got_to_message(got)
        check_message_bytes(response.ByteSize(), self._limits, FEWER_POINTS)
        return response

    async def Count(self, request: Any, context: CallContext) -> Any:
        """Return the number of points, or of the points that match a filter."""
        question = await self._read(partial(points.count_from_message, request, caller_of(context)), request, context)
        return points.counted_to_message(await self._reads.count(question, self._timeout(context)))

    async def Scroll(self, request: Any, context: CallContext) -> Any:
        """Return a page of points, or of the points that match a filter, in id order."""
        question = await self._read(partial(points.scroll_from_message, request, caller_of(context)), request, context)
        return points.page_to_message(await self._reads.scroll(question, self._timeout(context)))

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(POINTS, self)

    async def _read(self, read: Callable[[Turn], T], request: Any, context: CallContext) -> T:
        return await read_aside(self._conversions, read, context, self._default_timeout_s, long=has_long_filters(request))

    def _timeout(self, context: CallContext) -> float:
        return timeout_of(context, self._default_timeout_s)
