"""Follows the watch of a whole cluster and keeps the newest ClusterMap for this process.

It decides nothing from the map, and it does not guess a value that it cannot read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from shoal.core.cluster_map import ClusterMap
from shoal.core.deadline import Clock
from shoal.core.errors import PreconditionFailed
from shoal.store.cluster_view import cluster_map_of, next_cluster_map
from shoal.store.interface import Delta, Listed, Store, Watch
from shoal.store.keys import Keys

log = logging.getLogger("shoal.store.observe")

SILENCE_S = 1.0
"""Longest time without news, in seconds, before `connected` of the watch is read again."""

PATIENCE_S = 3.0
"""Time for the first connection to the store, in seconds. No warning is logged before it is over."""

COMPLAIN_EVERY_S = 10.0


class ObservedMap(Protocol):
    """The newest map that this process knows."""

    @property
    def listed(self) -> bool:
        """Whether the store has answered at all."""

    @property
    def map(self) -> ClusterMap:
        """The newest map; an empty one at revision 0 before the store has answered."""


class MapObserver:
    """Keeps the newest map. Calls `changed` for every newer map, and when the store is connected or lost."""

    def __init__(self, *, store: Store, keys: Keys, clock: Clock, changed: Callable[[], None]) -> None:
        self._store, self._keys, self._clock, self._changed = store, keys, clock, changed
        self._map: ClusterMap | None = None
        self._complained_at: float | None = None
        self._began: float | None = None
        self.connected = False

    @property
    def listed(self) -> bool:
        """Whether the store has answered at all."""
        return self._map is not None

    @property
    def map(self) -> ClusterMap:
        """The newest map; an empty one at revision 0 before the store has answered."""
        return self._map or ClusterMap()

    async def run(self) -> None:
        """Observe without end.

        Raises PreconditionFailed if the store holds another cluster than before, DataLoss for an unreadable value.
        """
        self._began = self._clock()
        async with self._store.watch(self._keys.prefix) as watch:
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        self._take(await anext(watch))
                except TimeoutError:
                    pass
                self._notice(watch)

    def _take(self, news: Listed | Delta) -> None:
        before = self.map
        match news:
            case Listed():
                after = cluster_map_of(self._keys, news)
            case Delta():
                after = next_cluster_map(self._keys, before, news)
        if before.cluster is not None and after.cluster != before.cluster:
            raise PreconditionFailed(f"the store held cluster {before.cluster} and now holds {after.cluster or 'none'}: refusing to go on")
        self._map = after
        self._changed()

    def _notice(self, watch: Watch) -> None:
        if watch.connected != self.connected:
            self.connected = watch.connected
            self._changed()
        now = self._clock()
        if watch.connected and self._complained_at is not None:
            self._complained_at = None
            log.info("store_answers_again revision=%d", self.map.revision)
        if watch.connected:
            self._began = None
        elif self._began is not None and now - self._began < PATIENCE_S:
            return
        if not watch.connected and (self._complained_at is None or now - self._complained_at >= COMPLAIN_EVERY_S):
            self._complained_at = now
            log.warning("store_does_not_answer reason=%r", watch.problem)
