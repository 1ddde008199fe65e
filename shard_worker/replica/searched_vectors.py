"""The vectors of one open replica that searches name: the reads and the tuner of each.

A collection whose points have one vector has it under the name "".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from shoal.core.collection import CollectionSpec
from shoal.core.deadline import Deadline
from shoal.core.ids import ShardId
from shoal.core.points import check_dim
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.runtime.clock import boot_s
from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.replica.reading import ReplicaReading
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.tuning.tuner import Tuner


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SearchedVector:
    """One vector: its name, the reads that use its index, and what keeps its recall tables up to date."""

    name: str
    reading: ReplicaReading
    tuner: Tuner


class SearchedVectors:
    """All vectors of one replica. Make it on the replica's event loop, and `close` it before the engine closes."""

    def __init__(self, *, shard: ShardId, spec: CollectionSpec, engine: Engine, pools: Pools) -> None:
        self._spec = spec
        self._by_name: dict[str, SearchedVector] = {}
        for name, index in engine.searched.items():
            folder = engine.tuning_folder / name if name else engine.tuning_folder
            tuner = Tuner(shard=shard, reading=index.reading, pools=pools, spec=spec, folder=folder, vector=name)
            self._by_name[name] = SearchedVector(name=name, reading=index.reading, tuner=tuner)

    def get(self, name: str) -> SearchedVector | None:
        """Return the vector of this name, None if there is none."""
        return self._by_name.get(name)

    def of(self, name: str) -> SearchedVector:
        """Return the vector of this name. Raises InvalidArgument that tells the names there are."""
        found = self._by_name.get(name)
        return self._by_name[self._spec.vector_of(name).name] if found is None else found

    @property
    def measurements_due(self) -> int:
        """Return the number of segments that are searched with more effort than necessary until they are measured."""
        return sum(each.tuner.measurements_due for each in self._by_name.values())

    def aim(self, recall: float) -> None:
        """Set another recall target for searches that name none."""
        for each in self._by_name.values():
            each.tuner.aim(recall)

    def after_measuring(self, then: Callable[[], object]) -> None:
        """Call `then` on the event loop after each measurement: it may show that a segment is to be built anew."""
        for each in self._by_name.values():
            each.tuner.after_measuring(then)

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """Measure the segments of the vector that the call names, of all vectors if it names none and they have names.

        Raises as Tuner.tune, and InvalidArgument for queries without the name of their vector.
        """
        if call.vector or not self._spec.vectors or call.queries is not None:
            vector = self.of(call.vector)
            if call.queries is not None:
                check_dim(call.queries, vector.reading.dim, field="queries")
            return await vector.tuner.tune(call, timeout_s)
        deadline = Deadline.after(timeout_s, boot_s)
        curves: list[SegmentCurve] = []
        for name, each in self._by_name.items():
            curves += await each.tuner.tune(replace(call, vector=name), deadline.left_s)
        return tuple(curves)

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """Measure the recall of searches by one vector. Raises as Tuner.measure_recall."""
        return await self.of(call.vector).tuner.measure_recall(call, timeout_s)

    async def measure_pending(self, deadline: Deadline) -> None:
        """Measure now each segment that is searched with more effort than necessary. See Tuner."""
        for each in self._by_name.values():
            await each.tuner.measure_pending(deadline.left_s)

    async def save(self) -> None:
        """Write to the disk what was learnt since it was last written."""
        for each in self._by_name.values():
            await each.tuner.save()

    async def close(self) -> None:
        """Stop running work, save what was learnt, and end."""
        for each in self._by_name.values():
            await each.tuner.close()
