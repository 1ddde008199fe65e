"""The calls on replicas that are under way. A call is cancelled as soon as the map shows that its replica may not
answer it any more.

A frozen worker returns neither answer nor error. Without this, a call on it would last until its deadline, although
another replica may lead already. A cancelled call fails with Unavailable, so it is tried again. A write is tried again
with the same request id, since it may have been applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import ErrorDetails, Unavailable
from shoal.core.ids import ShardId
from shoal.core.shard_config import ShardConfig

T = TypeVar("T")

Holds = Callable[[ShardConfig | None], bool]
"""Returns whether a call is still useful with this configuration of its shard; None: the shard is gone."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    holds: Holds
    scope: asyncio.Timeout


class UnderWay:
    """The calls of one router. Used from one event loop."""

    def __init__(self) -> None:
        self._calls: dict[ShardId, set[_Call]] = {}

    async def run(self, shard: ShardId, holds: Holds, call: Awaitable[T]) -> T:
        """Return the answer of a call. Raises Unavailable if the call is cancelled because `holds` became false."""
        try:
            async with asyncio.timeout(None) as scope:
                mine = _Call(holds, scope)
                self._calls.setdefault(shard, set()).add(mine)
                try:
                    return await call
                finally:
                    self._forget(shard, mine)
        except TimeoutError:
            if not scope.expired():
                raise
            details = ErrorDetails(shard=str(shard))
            raise Unavailable(f"the replica of shard {shard} that was asked may not answer any more", details) from None

    async def keep(self, cluster: ClusterMap) -> None:
        """Cancel the calls that are not useful any more with this map."""
        now = asyncio.get_running_loop().time()
        for shard, calls in list(self._calls.items()):
            entry = cluster.shards.get(shard)
            for call in [each for each in calls if not each.holds(entry.config if entry else None)]:
                self._forget(shard, call)
                call.scope.reschedule(now)

    def _forget(self, shard: ShardId, call: _Call) -> None:
        calls = self._calls.get(shard)
        if calls is not None:
            calls.discard(call)
            if not calls:
                del self._calls[shard]
