"""Which shards a worker looks at next, and for which of them its map is outdated.

A worker's own swaps show that its map is outdated before the map does. A step decided on an outdated configuration ends
in a swap that is surely rejected. A busy worker, whose map lags, would then send one such swap after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import Revision, ShardId
from shoal.core.shard_config import ShardEntry
from shoal.shard_worker.logic.replication.leadership import SwapOutcome

TRUST_AGAIN_S = 1.0
"""Time in seconds until a decision is made again after a swap whose outcome is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Swapped:
    """What a swap of this worker tells about a configuration. Below the epoch `least` it is outdated.

    registration: of the swap; another one begins anew. give_up_at: when it counts again, None: never.
    """

    least: Revision
    registration: Revision
    give_up_at: float | None

    def outdates(self, entry: ShardEntry | None, registration: Revision, now: float) -> bool:
        """Return whether an entry of the map is outdated. registration: of the worker now."""
        is_older = entry is not None and entry.epoch < self.least and registration == self.registration
        return is_older and (self.give_up_at is None or now < self.give_up_at)


def swapped(base: Revision, outcome: SwapOutcome, made: Revision, registration: Revision, now: float) -> Swapped:
    """Return what a swap tells. base: the epoch that it replaced; made: the new one, if it is DONE; now: in seconds.

    After DONE and REJECTED, the configuration with the epoch `base` is surely not the newest. Otherwise it may be.
    """
    known = outcome in (SwapOutcome.DONE, SwapOutcome.REJECTED)
    least = made if outcome is SwapOutcome.DONE else Revision(base + 1)
    return Swapped(least=least, registration=registration, give_up_at=None if known else now + TRUST_AGAIN_S)


class DueShards:
    """The shards that a worker looks at next: some, or all of them."""

    def __init__(self) -> None:
        self._some: set[ShardId] = set()
        self._all = True
        self._registration = Revision(0)
        self._swapped: dict[ShardId, Swapped] = {}
        self._held: set[ShardId] = set()

    def add(self, shards: Iterable[ShardId]) -> None:
        """Look at these shards, too."""
        self._some.update(shards)

    def add_all(self) -> None:
        """Look at every shard."""
        self._all = True

    def add_held(self) -> None:
        """Look again at the shards that were left out because of a swap: only time may tell its outcome."""
        self._some |= self._held

    def note(self, shard: ShardId, told: Swapped) -> None:
        """Keep what the last swap of a shard tells."""
        self._swapped[shard] = told

    def are_all(self, registration: Revision) -> bool:
        """Return whether every shard is due. They are after the worker's registration has changed."""
        return self._all or registration != self._registration

    def take(self, every: Iterable[ShardId], cluster: ClusterMap, registration: Revision, now: float) -> set[ShardId]:
        """Return the shards to look at, without those for which the map is outdated, and begin anew.

        every: all shards of this worker, if all are due. A shard that is left out comes with its newer configuration.
        """
        due = set(every) if self.are_all(registration) else self._some
        self._some, self._all, self._registration = set(), False, registration
        held = {shard for shard in due if self._is_outdated(shard, cluster, registration, now)}
        self._held = (self._held - due) | held
        return due - held

    def _is_outdated(self, shard: ShardId, cluster: ClusterMap, registration: Revision, now: float) -> bool:
        told = self._swapped.get(shard)
        if told is None:
            return False
        if told.outdates(cluster.shards.get(shard), registration, now):
            return True
        del self._swapped[shard]
        return False
