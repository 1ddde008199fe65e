"""Plans writes: which points go to which shard. An id belongs to a slot, and a slot to a shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, Unavailable
from shoal.core.points import IdArray, PointColumns
from shoal.core.shard_config import ShardEntry
from shoal.core.slots import owners_of_slots, slots_of


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPart:
    """The points of one shard. positions: (n,) ascending positions in the call; None for all points. Then nothing is
    copied, and the points keep the bytes in which they came.
    """

    number: int
    positions: npt.NDArray[np.intp] | None

    def of_points(self, points: PointColumns) -> PointColumns:
        """Return the points of this shard out of all points of the call."""
        return points if self.positions is None else points.take(self.positions)

    def of_ids(self, ids: IdArray) -> IdArray:
        """Return the ids of this shard out of all ids of the call."""
        return ids if self.positions is None else ids[self.positions]


def parts_of(ids: IdArray, shards: Sequence[ShardEntry], collection: str) -> list[ShardPart]:
    """Return one part for each shard that owns some of the ids, by number. ids: (n,), n > 0. collection: its name, for
    errors.

    Raises Unavailable if no shard owns the slot of an id.
    """
    owners = owners_of_slots([(entry.config.shard.number, entry.config.slots) for entry in shards])[slots_of(ids)]
    lowest = int(owners.min())
    if lowest < 0:
        index = int(owners.argmin())
        raise Unavailable(
            f"no shard of collection {collection!r} owns the slot of ids[{index}] ({ids[index]!r})", ErrorDetails(field="ids", index=index)
        )
    if lowest == owners.max():
        return [ShardPart(number=lowest, positions=None)]
    order = np.argsort(owners, kind="stable")
    numbers, starts = np.unique(owners[order], return_index=True)
    return [ShardPart(number=int(number), positions=run) for number, run in zip(numbers, np.split(order, starts[1:]), strict=True)]
