"""The replicas of this worker, and calls on them.

Implements ShardService, so that a router in the same process calls it directly.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from shoal.core.errors import DataLoss, ErrorDetails, ShoalError, Unavailable
from shoal.core.file_budget import UNBOUNDED_FILES, FileBudget
from shoal.core.fused_search import FieldSpans
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, ShardId
from shoal.core.points import Matrix, StoredColumns
from shoal.core.shard_calls import (
    ReplicaStatus,
    ShardCount,
    ShardFound,
    ShardGet,
    ShardScroll,
    ShardSearch,
    ShardService,
    ShardsFound,
    ShardsSearch,
    ShardStats,
    ShardWrite,
    SnapshotProgress,
    WorkerStatus,
    WriteAck,
)
from shoal.core.text_calls import TextFound, TextMarksCall, TextSearchCall, TextStatsCall, TextStatsFound
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.shard_worker.hosting.hand_over_times import HandOverTimes
from shoal.shard_worker.hosting.shards_search import search_replicas
from shoal.shard_worker.hosting.texts_search import count_texts, mark_texts, search_text_replicas
from shoal.shard_worker.replica.express import ReplicasSearch, prepared_search
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.resources.memory import WorkerMemory, unbounded_memory
from shoal.shard_worker.resources.os_limits import open_files


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedReplica:
    """A replica that cannot be opened, or has stopped working.

    broke: it was open, and is not opened again in this process.
    """

    replica: ReplicaId
    reason: ShoalError
    broke: bool = False


@dataclass
class Host(ShardService):
    """The replicas by shard. Filled by Assignments; called by the service and by a router in the same process."""

    open: dict[ShardId, Replica] = field(default_factory=dict)
    failed: dict[ShardId, FailedReplica] = field(default_factory=dict)
    unmade: dict[ShardId, str] = field(default_factory=dict)
    """Why replicas that are placed here cannot be created yet."""

    fetches: dict[ReplicaId, Callable[[], SnapshotProgress]] = field(default_factory=dict)
    """How far the snapshots are that replicas fetch now. Filled by SnapshotFetch."""

    hand_overs: HandOverTimes = field(default_factory=HandOverTimes)
    """Filled by Assignments."""

    memory: WorkerMemory = field(default_factory=unbounded_memory)
    files: FileBudget = UNBOUNDED_FILES
    disk: str = ""
    """See WorkerStatus."""

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """See ShardService."""
        return await self.replica(call.shard, writing=True).write(call, timeout_s)

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        """See ShardService."""
        return await self.replica(call.shard).search(call, timeout_s)

    def ready(self, call: ShardsSearch, queries: Matrix) -> ReplicasSearch | None:
        """See ExpressService."""
        try:
            replicas = [self.open[shard] for shard in call.shards]
        except KeyError:
            return None
        return prepared_search(replicas, call, queries)

    async def search_shards(self, call: ShardsSearch, timeout_s: float) -> ShardsFound:
        """See ShardService."""
        return await search_replicas(self.replica, call, timeout_s, self.ready(call, call.queries))

    async def text_stats(self, call: TextStatsCall, timeout_s: float) -> TextStatsFound:
        """See ShardService."""
        return await count_texts(self.replica, call, timeout_s)

    async def text_search(self, call: TextSearchCall, timeout_s: float) -> TextFound:
        """See ShardService."""
        return await search_text_replicas(self.replica, call, timeout_s)

    async def text_marks(self, call: TextMarksCall, timeout_s: float) -> tuple[tuple[FieldSpans, ...], ...]:
        """See ShardService."""
        return await mark_texts(self.replica(call.shard), call, timeout_s)

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return await self.replica(call.shard).get(call, timeout_s)

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return await self.replica(call.shard).scroll(call, timeout_s)

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """See ShardService."""
        return await self.replica(call.shard).count(call, timeout_s)

    async def stats(self, shard: ShardId, timeout_s: float) -> ShardStats:
        """See ShardService."""
        return await self.replica(shard).stats()

    async def optimize(self, shard: ShardId, timeout_s: float) -> None:
        """See ShardService."""
        await self.replica(shard).optimize(timeout_s)

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """See ShardService."""
        return await self.replica(call.shard).tune(call, timeout_s)

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """See ShardService."""
        return await self.replica(call.shard).measure_recall(call, timeout_s)

    async def status(self, timeout_s: float) -> WorkerStatus:
        """See ShardService."""
        replicas = {str(shard): self._status_of(replica) for shard, replica in self.open.items()}
        return WorkerStatus(
            memory_bytes=resident_bytes(),
            failed=self.failures() | {str(shard): reason for shard, reason in self.unmade.items()},
            serving=frozenset(shard for shard, each in replicas.items() if each.role is ReplicaRole.PRIMARY),
            disk=self.disk,
            memory_budget_bytes=self.memory.budget_bytes,
            memory_used_bytes=self.memory.used_bytes,
            file_limit=self.files.limit,
            files_open=open_files(),
            replica_bytes={str(shard): held for shard, held in self.memory.replica_bytes().items()},
            replicas=replicas,
            hand_overs=self.hand_overs.newest(),
        )

    def _status_of(self, replica: Replica) -> ReplicaStatus:
        fetch = self.fetches.get(replica.id) if self.fetches else None
        return replica.status if fetch is None else replace(replica.status, snapshot=fetch())

    def failures(self) -> dict[str, str]:
        """Return why replicas do not work, by shard."""
        unopened = {str(shard): each.reason.message for shard, each in self.failed.items()}
        broken = {str(shard): each.failure.message for shard, each in self.open.items() if each.failure is not None}
        return unopened | broken

    def replica(self, shard: ShardId, *, writing: bool = False) -> Replica:
        """Return the open replica of a shard. Raises Unavailable if there is none here, DataLoss if it has FAILED."""
        found = self.open.get(shard)
        if found is not None:
            return found
        details = ErrorDetails(shard=str(shard), applied={str(shard): "no"} if writing else {})
        failed = self.failed.get(shard)
        if failed is not None:
            kind = type(failed.reason) if failed.broke or isinstance(failed.reason, DataLoss) else Unavailable
            raise kind(f"the replica of shard {shard} on this worker has FAILED: {failed.reason.message}", details)
        raise Unavailable(f"shard {shard} is not open on this worker", details)


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
