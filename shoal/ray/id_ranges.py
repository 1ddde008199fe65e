"""Cut the points of a collection into ranges of ids that can be read at the same time. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shoal.core.points import PointId, id_order


@dataclass(frozen=True, kw_only=True, slots=True)
class IdRange:
    """The ids behind `after` and up to `last`, in the order of ids: integers before strings.

    None: from the first id, to the last one. points: how many were there when the ranges were cut.
    """

    after: PointId | None
    last: PointId | None
    points: int

    def ends_before(self, point_id: PointId) -> bool:
        """Return whether an id lies behind the range."""
        return self.last is not None and id_order(point_id) > id_order(self.last)


def ranges_of(ids: Iterable[PointId], count: int, parts: int) -> list[IdRange]:
    """Return at most `parts` ranges, at least one, of as many points each as can be; together they hold every id.

    ids: in their order; count: about how many there are. The ids are read once and not kept.
    """
    each = max(1, -(-count // max(1, parts)))
    ranges: list[IdRange] = []
    after: PointId | None = None
    last: PointId | None = None
    points = 0
    for point_id in ids:
        if points == each and len(ranges) < parts - 1:
            ranges.append(IdRange(after=after, last=last, points=points))
            after, points = last, 0
        last, points = point_id, points + 1
    return [*ranges, IdRange(after=after, last=None, points=points)]
