"""Follows the watch of a whole cluster and folds what it says into the newest map, for everyone in this process.

Refuses to decide anything from the map, and to guess at a value that it cannot read.
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
"""How long the watch may say nothing before it is asked whether it is connected."""

PATIENCE_S = 3.0
"""How long the store may take to be reached at first before that is worth a warning."""

COMPLAIN_EVERY_S = 10.0


class ObservedMap(Protocol):
    """The newest map, as far as it is known here."""

    @property
    def listed(self) -> bool:
        """Whether the store has answered at all."""

    @property
    def map(self) -> ClusterMap:
        """The newest map; an empty one at revision 0 before the store has answered."""


class MapObserver:
    """The newest map. Calls `changed` whenever there is a newer one, and when the store comes or goes."""

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

        Raises PreconditionFailed when the cluster becomes another one, DataLoss for a value it cannot read.
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
