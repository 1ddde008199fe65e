"""The figures of one open replica."""

from __future__ import annotations

from shoal.core.ids import ShardId
from shoal.core.shard_calls import ReplicaStatus, ShardStats
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.roles import Leading
from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.replica.sealing import Sealing
from shoal.shard_worker.resources.memory import WorkerMemory


def status_of(shard: ShardId, machine: ReplicaMachine, engine: Engine, sealing: Sealing, memory: WorkerMemory) -> ReplicaStatus:
    """Return the status of a replica. It is asked for every few seconds, so nothing of it needs a look at the disk."""
    return ReplicaStatus(
        replica=machine.replica,
        role=machine.role_name,
        applied_seq=machine.applied_seq,
        memory_bytes=memory.lasting_bytes_of(shard),
        disk_bytes=engine.size_bytes(),
        builds_pending=sealing.unready,
    )


def figures_of(shard: ShardId, machine: ReplicaMachine, engine: Engine, sealing: Sealing) -> ShardStats:
    """Return the figures of a replica. May be called on any thread."""
    index = engine.index_stats()
    return ShardStats(
        shard=shard,
        role=machine.role_name,
        term=machine.known_term,
        applied_seq=machine.applied_seq,
        points=index.points,
        growing_rows=index.growing_rows,
        sealed_rows=index.sealed_rows,
        segments=index.segments,
        builds_pending=sealing.pending,
        bytes=engine.size_bytes(),
        memory_bytes=index.memory_bytes,
        waiting=sealing.waiting,
    )


def replication_of(machine: ReplicaMachine) -> tuple[int, int] | None:
    """Return the number of members in sync, and the records that the furthest behind lacks; None unless it leads.

    May be called on any thread.
    """
    role = machine.role
    return (len(role.config.isr), role.leadership.furthest_behind()) if isinstance(role, Leading) else None
