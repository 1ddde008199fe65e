"""Which shards change their primary, so that workers lead as many as their capacity says, with the fewest changes.

Workers are joined by the shards that one leads and the other holds. As long as a worker leads too many, primaries are
handed over along the shortest path to a worker that leads fewer: shortest augmenting paths, as for a flow of units.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from shoal.coordinator.logic.balance_state import NOBODY, BalanceState, Ints

_EVEN = 1.0 + 1e-9
"""A hand-over mends something if one worker leads by more than this many shards more than another."""

_UNSEEN = NOBODY - 1


class PrimaryBalance:
    """The primaries after a plan's moves, and how many each worker leads. Used once.

    homes: workers that hold each shard, by number; primaries: worker of each primary, NOBODY for none.
    """

    def __init__(self, state: BalanceState, homes: Sequence[Sequence[int]], primaries: Sequence[int]) -> None:
        self._state, self._homes = state, homes
        self.primaries = list(primaries)
        self.counts = np.zeros(len(state.workers), dtype=np.int64)
        self._edges = np.zeros((len(state.workers), len(state.workers)), dtype=np.int64)
        self._through: list[defaultdict[int, set[int]]] = [defaultdict(set) for _ in state.workers]
        for shard, primary in enumerate(self.primaries):
            if primary != NOBODY:
                self.counts[primary] += 1
                if not state.pinned[shard]:
                    self._connect(shard)
        share = state.capacity * state.may_lead
        self._wanted = share / max(1.0, float(share.sum())) * float(self.counts.sum())

    def balance(self) -> None:
        """Hand primaries over until no worker can be mended; with only_drains, only those of workers that may not
        lead.
        """
        if not self._state.may_lead.any():
            return
        changed = True
        while changed:
            changed = False
            for worker in self._in_order():
                while path := self._path_from(worker):
                    for source, target in itertools.pairwise(path):
                        self._hand_over(min(self._through[source][target]), target)
                    changed = True

    def _in_order(self) -> list[int]:
        """Return the workers, first those that may not lead, then those that lead most beyond their share."""
        over = self.counts - self._wanted
        leads = self._state.may_lead
        workers = [each for each in range(len(leads)) if not (leads[each] and self._state.settings.only_drains)]
        return sorted(workers, key=lambda worker: (bool(leads[worker]), -over[worker], worker))

    def _path_from(self, worker: int) -> list[int]:
        """Return the shortest path of hand-overs from a worker to one that leads fewer; empty if none mends anything.

        Of equally short ones, the one to the worker that leads least for its share.
        """
        over = self.counts - self._wanted
        leads = self._state.may_lead
        mine = float(over[worker]) if leads[worker] else float("inf")
        if not self.counts[worker] or mine - float(over[leads].min()) <= _EVEN:
            return []
        came_from = np.full(len(leads), _UNSEEN)
        came_from[worker] = NOBODY
        level = np.array([worker])
        while len(level):
            joined = self._edges[level] > 0
            reached = np.flatnonzero(joined.any(axis=0) & (came_from == _UNSEEN))
            came_from[reached] = level[joined[:, reached].argmax(axis=0)]
            lower = reached[mine - over[reached] > _EVEN]
            if len(lower):
                return _path_to(int(lower[np.argmin(over[lower])]), came_from)
            level = reached
        return []

    def _hand_over(self, shard: int, target: int) -> None:
        self._disconnect(shard)
        self.counts[self.primaries[shard]] -= 1
        self.primaries[shard] = target
        self.counts[target] += 1
        self._connect(shard)

    def _connect(self, shard: int) -> None:
        primary = self.primaries[shard]
        for target in self._others(shard):
            self._through[primary][target].add(shard)
            self._edges[primary, target] += 1

    def _disconnect(self, shard: int) -> None:
        primary = self.primaries[shard]
        for target in self._others(shard):
            self._through[primary][target].discard(shard)
            self._edges[primary, target] -= 1

    def _others(self, shard: int) -> list[int]:
        """Return the workers that could lead a shard instead of its primary's."""
        return [home for home in sorted(self._homes[shard]) if home != self.primaries[shard] and self._state.may_lead[home]]


def _path_to(worker: int, came_from: Ints) -> list[int]:
    path = [worker]
    while came_from[path[-1]] != NOBODY:
        path.append(int(came_from[path[-1]]))
    return path[::-1]
