"""Gives each worker's ShardService: the worker itself if it runs in this process, else a connection, which is kept as
long as the worker is in the map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.errors import Unavailable
from shoal.core.ids import WorkerId
from shoal.core.shard_calls import ShardService
from shoal.router.cluster.view import ClusterView

_TEND_EVERY_S = 60.0

_Place = tuple[WorkerId, str, int, str]
"""A process that a connection leads to: worker, address, HTTP port and incarnation."""


class WorkerConnection(ShardService, Protocol):
    """Calls on a worker in another process."""

    async def close(self) -> None:
        """Close the connection. Calls in flight fail with Unavailable, so that they are tried elsewhere."""
        ...


class Workers:
    """One ShardService for each worker. connect: makes a connection to a worker, without waiting for it.

    local, here: the workers of this process.
    """

    def __init__(self, *, connect: Callable[[WorkerEntry], WorkerConnection], local: Mapping[WorkerId, ShardService] | None = None) -> None:
        self._connect = connect
        self._local = local or {}
        self.here = frozenset(self._local)
        self._connections: dict[_Place, WorkerConnection] = {}

    def service(self, cluster: ClusterMap, worker: WorkerId) -> ShardService:
        """Return the service of a worker.

        Raises Unavailable if the worker is not registered. A worker of this process need not be registered.
        """
        local = self._local.get(worker)
        if local is not None:
            return local
        entry = cluster.workers.get(worker)
        if entry is None:
            raise Unavailable(f"worker {worker} is down")
        place = _place(entry)
        known = self._connections.get(place)
        if known is None:
            known = self._connections[place] = self._connect(entry)
        return known

    async def keep(self, cluster: ClusterMap) -> None:
        """Close the connections to workers that have left the map or moved, and to processes that were replaced."""
        gone = [place for place in self._connections if _place_of(cluster, place[0]) != place]
        for connection in [self._connections.pop(place) for place in gone]:
            await connection.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.keep(ClusterMap())


class Tended(Protocol):
    """Holds things that a new map may end: connections, calls under way, statistics of workers."""

    async def keep(self, cluster: ClusterMap) -> None:
        """Keep what belongs to this map, and end the rest."""
        ...


async def tend(all_tended: Sequence[Tended], view: ClusterView) -> None:
    """Call `keep` of each with every new map, until cancelled.

    Without this, a connection to a frozen process would stay.
    """
    while True:
        seen = view.current
        for tended in all_tended:
            await tended.keep(seen)
        await view.wait_for_change(seen, _TEND_EVERY_S)


def _place(entry: WorkerEntry) -> _Place:
    return entry.id, entry.address, entry.http_port, entry.incarnation


def _place_of(cluster: ClusterMap, worker: WorkerId) -> _Place | None:
    entry = cluster.workers.get(worker)
    return None if entry is None else _place(entry)
