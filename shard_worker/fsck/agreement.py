"""Decides whether two replicas of a shard that have applied different records hold the same points; reads nothing.

The points of a replica follow from the records that it has applied. Take one replica that has applied `behind_seq` and
one that has applied more:
* a point that the replica ahead has from a record up to behind_seq is the same in both;
* a point that it has from a later record was written since, and cannot be compared;
* a point that it lacks was removed since, if a later record names it. If these records are no longer in the log, it is
  unknown whether the point was removed or lost.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shoal.core.points import PointId

MOST_NAMED = 5
"""Most differing points that are named; more are only counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """The version of a point in a replica. seq: of the record that wrote it; crc: over id, seq, payload and vector."""

    seq: int
    crc: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """The points of two replicas.

    compared: points that must be the same; changed: written or removed since; untold: perhaps removed since, perhaps
    lost; differing: points that must be the same and are not; named: the first of them, each with its difference.
    """

    compared: int
    changed: int
    untold: int
    differing: int
    named: tuple[tuple[PointId, str], ...]


class Comparison:
    """Compares one replica, held in memory, with another one, read point by point: `see` for each, then `finish`."""

    def __init__(self, behind: dict[PointId, Version], behind_seq: int, since: Collection[PointId] | None) -> None:
        """behind: points of the replica that has applied behind_seq; the comparison empties it.

        since: ids in the records between the two replicas; None if they are not known.
        """
        self._behind, self._seq, self._since = behind, behind_seq, since
        self._compared = self._changed = self._differing = 0
        self._named: list[tuple[PointId, str]] = []

    def see(self, point_id: PointId, ahead: Version) -> None:
        """Compare one point of the replica that is ahead."""
        behind = self._behind.pop(point_id, None)
        if ahead.seq > self._seq:
            self._changed += 1
            return
        self._compared += 1
        if behind is None:
            self._differ(point_id, f"record {ahead.seq} wrote it, but only the replica ahead has it")
        elif behind.seq != ahead.seq:
            self._differ(point_id, f"record {behind.seq} wrote it in the replica behind, record {ahead.seq} in the replica ahead")
        elif behind.crc != ahead.crc:
            self._differ(point_id, f"record {ahead.seq} wrote it in both, but vector or payload differ")

    def finish(self) -> Agreement:
        """Return the result, including the points that only the replica behind has."""
        untold = 0
        for point_id, behind in self._behind.items():
            if self._since is None:
                untold += 1
            elif point_id in self._since:
                self._changed += 1
            else:
                self._compared += 1
                self._differ(point_id, f"record {behind.seq} wrote it, but only the replica behind has it")
        return Agreement(compared=self._compared, changed=self._changed, untold=untold, differing=self._differing, named=tuple(self._named))

    def _differ(self, point_id: PointId, how: str) -> None:
        self._differing += 1
        if len(self._named) < MOST_NAMED:
            self._named.append((point_id, how))
