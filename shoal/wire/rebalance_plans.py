"""Converts plans of moves and hand-overs between values and messages."""

from __future__ import annotations

from shoal.core.ids import ClusterId, CollectionId, Revision, ShardId, WorkerId
from shoal.core.rebalance import PinnedShard, PlanKind, PlannedHandOver, PlannedMove, RebalancePlan, WorkerBalance
from shoal.v1 import operations_pb2


def plan_to_message(plan: RebalancePlan) -> operations_pb2.RebalancePlan:
    """Return a plan as a message."""
    return operations_pb2.RebalancePlan(
        id=plan.id,
        kind=plan.kind,
        subject=plan.subject,
        cluster_id=plan.cluster,
        revision=plan.revision,
        fingerprint=plan.fingerprint,
        tolerance=plan.tolerance,
        replicas=plan.replicas,
        workers=map(_worker_to_message, plan.workers),
        moves=map(_move_to_message, plan.moves),
        hand_overs=map(_hand_over_to_message, plan.hand_overs),
        bytes=plan.bytes,
        least_bytes=plan.least_bytes,
        seconds=plan.seconds,
        pinned=map(_pinned_to_message, plan.pinned),
        left=plan.left,
    )


def plan_from_message(message: operations_pb2.RebalancePlan, kind: PlanKind) -> RebalancePlan:
    """Return the plan of a message. kind: what its word means to the caller."""
    return RebalancePlan(
        id=message.id,
        kind=kind,
        subject=message.subject,
        cluster=ClusterId(message.cluster_id),
        revision=Revision(message.revision),
        fingerprint=message.fingerprint,
        tolerance=message.tolerance,
        replicas=message.replicas,
        workers=tuple(map(_worker_from_message, message.workers)),
        moves=tuple(map(_move_from_message, message.moves)),
        hand_overs=tuple(map(_hand_over_from_message, message.hand_overs)),
        bytes=message.bytes,
        least_bytes=message.least_bytes,
        seconds=message.seconds,
        pinned=tuple(map(_pinned_from_message, message.pinned)),
        left=tuple(message.left),
    )


def _worker_to_message(worker: WorkerBalance) -> operations_pb2.WorkerBalance:
    return operations_pb2.WorkerBalance(
        worker=worker.worker,
        zone=worker.zone,
        capacity_bytes=worker.capacity_bytes,
        bytes=worker.bytes,
        target_bytes=worker.target_bytes,
        after_bytes=worker.after_bytes,
        primaries=worker.primaries,
        primaries_after=worker.primaries_after,
        in_bytes=worker.in_bytes,
        out_bytes=worker.out_bytes,
        draining=worker.draining,
    )


def _worker_from_message(message: operations_pb2.WorkerBalance) -> WorkerBalance:
    return WorkerBalance(
        worker=WorkerId(message.worker),
        zone=message.zone,
        capacity_bytes=message.capacity_bytes,
        bytes=message.bytes,
        target_bytes=message.target_bytes,
        after_bytes=message.after_bytes,
        primaries=message.primaries,
        primaries_after=message.primaries_after,
        in_bytes=message.in_bytes,
        out_bytes=message.out_bytes,
        draining=message.draining,
    )


def _move_to_message(move: PlannedMove) -> operations_pb2.PlannedMove:
    return operations_pb2.PlannedMove(
        number=move.number,
        collection=move.collection,
        collection_id=move.shard.collection,
        shard=move.shard.number,
        source=move.source,
        target=move.target,
        memory_bytes=move.memory_bytes,
        disk_bytes=move.disk_bytes,
        why=move.why,
    )


def _move_from_message(message: operations_pb2.PlannedMove) -> PlannedMove:
    return PlannedMove(
        number=message.number,
        collection=message.collection,
        shard=ShardId(CollectionId(message.collection_id), message.shard),
        source=WorkerId(message.source),
        target=WorkerId(message.target),
        memory_bytes=message.memory_bytes,
        disk_bytes=message.disk_bytes,
        why=message.why,
    )


def _hand_over_to_message(hand_over: PlannedHandOver) -> operations_pb2.PlannedHandOver:
    return operations_pb2.PlannedHandOver(
        number=hand_over.number,
        collection=hand_over.collection,
        collection_id=hand_over.shard.collection,
        shard=hand_over.shard.number,
        source=hand_over.source,
        target=hand_over.target,
    )


def _hand_over_from_message(message: operations_pb2.PlannedHandOver) -> PlannedHandOver:
    return PlannedHandOver(
        number=message.number,
        collection=message.collection,
        shard=ShardId(CollectionId(message.collection_id), message.shard),
        source=WorkerId(message.source),
        target=WorkerId(message.target),
    )


def _pinned_to_message(pinned: PinnedShard) -> operations_pb2.PinnedShard:
    return operations_pb2.PinnedShard(
        collection=pinned.collection, collection_id=pinned.shard.collection, shard=pinned.shard.number, why=pinned.why
    )


def _pinned_from_message(message: operations_pb2.PinnedShard) -> PinnedShard:
    return PinnedShard(collection=message.collection, shard=ShardId(CollectionId(message.collection_id), message.shard), why=message.why)
