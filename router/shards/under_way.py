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

Look = Callable[[ClusterMap], ShardId | None]
"""Returns the shard for which a call is not useful any more with this map; None if it is useful."""


class Overtaken(Unavailable):
    """The call was cancelled: the map shows that a replica which was asked may not answer any more."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    look: Look
    scope: asyncio.Timeout


class UnderWay:
    """The calls of one router. Used from one event loop."""

    def __init__(self) -> None:
        self._calls: dict[_Call, ShardId | None] = {}

    async def run(self, shard: ShardId, holds: Holds, call: Awaitable[T]) -> T:
        """Return the answer of a call on a shard. Raises Overtaken if it is cancelled because `holds` became false."""

        def look(cluster: ClusterMap) -> ShardId | None:
            entry = cluster.shards.get(shard)
            return None if holds(entry.config if entry else None) else shard

        return await self.run_while(look, call)

    async def run_while(self, look: Look, call: Awaitable[T]) -> T:
        """Return the answer of a call on several shards. Raises Overtaken if it is cancelled for one of them."""
        try:
            async with asyncio.timeout(None) as scope:
                mine = _Call(look, scope)
                self._calls[mine] = None
                try:
                    return await call
                finally:
                    shard = self._calls.pop(mine)
        except TimeoutError:
            if not scope.expired():
                raise
            raise Overtaken(
                f"the replica of shard {shard} that was asked may not answer any more", ErrorDetails(shard=str(shard))
            ) from None

    async def keep(self, cluster: ClusterMap) -> None:
        """Cancel the calls that are not useful any more with this map."""
        now = asyncio.get_running_loop().time()
        for call, before in list(self._calls.items()):
            shard = call.look(cluster) if before is None else None
            if shard is not None:
                self._calls[call] = shard
                call.scope.reschedule(now)
