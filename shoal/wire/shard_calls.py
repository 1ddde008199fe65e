"""Converts calls on a shard, except searches, and their answers between values and messages."""

from __future__ import annotations

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.health import ReplicaRole
from shoal.core.ids import ReplicaId, Seq, ShardId, Term
from shoal.core.points import StoredColumns
from shoal.core.shard_calls import (
    HandOverTime,
    ReplicaStatus,
    ShardCount,
    ShardDelete,
    ShardDeleteMatching,
    ShardGet,
    ShardScroll,
    ShardStats,
    ShardUpdate,
    ShardUpsert,
    ShardWrite,
    SnapshotProgress,
    WorkerStatus,
    WriteAck,
)
from shoal.core.turns import FREE, Turn
from shoal.v1 import worker_pb2
from shoal.wire.call_parts import (
    optional_filter,
    request_id_from_message,
    request_id_to_message,
    shard_from_message,
    shard_to_message,
    terms_from_message,
    terms_to_message,
)
from shoal.wire.columns import (
    id_from_message,
    id_to_message,
    ids_from_message,
    ids_to_message,
    points_to_message,
    stored_from_message,
)
from shoal.wire.filters import filter_from_message, filter_to_message, optional_filter_to_message
from shoal.wire.point_bytes import POINTS_OF_WRITE, points_from_bytes, with_points
from shoal.wire.records import update_body, update_of_body


def write_to_bytes(call: ShardWrite, turn: Turn = FREE) -> bytes:
    """Return the bytes of a write's message. The points of an upsert are copied once."""
    message = worker_pb2.ShardWriteRequest(shard=shard_to_message(call.shard), request_id=request_id_to_message(call.request_id))
    match call:
        case ShardUpsert(points=points):
            return with_points(message, POINTS_OF_WRITE, points)
        case ShardDelete(ids=ids):
            message.delete.CopyFrom(ids_to_message(ids))
        case ShardDeleteMatching(filter=filter):
            message.delete_matching.CopyFrom(filter_to_message(filter, turn))
        case ShardUpdate():
            message.update = update_body(call.update, turn) if call.encoded is None else call.encoded
    return message.SerializeToString()


def write_from_message(message: worker_pb2.ShardWriteRequest, turn: Turn = FREE) -> ShardWrite:
    """Return the write of a message. Raises InvalidArgument if it holds no change or one that cannot be read."""
    shard, request_id = shard_from_message(message.shard), request_id_from_message(message.request_id)
    match message.WhichOneof("write"):
        case "upsert":
            return ShardUpsert(shard=shard, request_id=request_id, points=points_from_bytes(message.upsert))
        case "delete":
            return ShardDelete(shard=shard, request_id=request_id, ids=ids_from_message(message.delete))
        case "delete_matching":
            filter = filter_from_message(message.delete_matching, turn)
            return ShardDeleteMatching(shard=shard, request_id=request_id, filter=filter)
        case "update":
            update = update_of_body(message.update, turn)
            return ShardUpdate(
                shard=shard,
                request_id=request_id,
                ids=update.ids,
                change=update.change,
                filter=update.filter,
                encoded=message.update,
            )
        case _:
            raise InvalidArgument("a write needs an upsert, a delete or an update", ErrorDetails(field="write"))


def ack_to_message(ack: WriteAck) -> worker_pb2.ShardWriteResponse:
    """Return an acknowledgement as a message."""
    return worker_pb2.ShardWriteResponse(seq=ack.seq, affected=ack.affected, more=ack.more)


def ack_from_message(message: worker_pb2.ShardWriteResponse) -> WriteAck:
    """Return the acknowledgement of a message."""
    return WriteAck(seq=Seq(message.seq), affected=message.affected, more=message.more)


def get_to_message(call: ShardGet) -> worker_pb2.ShardGetRequest:
    """Return a get as a message."""
    return worker_pb2.ShardGetRequest(
        shard=shard_to_message(call.shard),
        ids=ids_to_message(call.ids),
        with_payload=call.with_payload,
        with_vectors=call.with_vectors,
        terms=terms_to_message(call.terms),
    )


def get_from_message(message: worker_pb2.ShardGetRequest) -> ShardGet:
    """Return the get of a message."""
    return ShardGet(
        shard=shard_from_message(message.shard),
        ids=ids_from_message(message.ids),
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        terms=terms_from_message(message.terms),
    )


def scroll_to_message(call: ShardScroll, turn: Turn = FREE) -> worker_pb2.ShardScrollRequest:
    """Return a scroll as a message."""
    return worker_pb2.ShardScrollRequest(
        shard=shard_to_message(call.shard),
        after=id_to_message(call.after),
        limit=call.limit,
        filter=optional_filter_to_message(call.filter, turn),
        with_payload=call.with_payload,
        with_vectors=call.with_vectors,
        terms=terms_to_message(call.terms),
    )


def scroll_from_message(message: worker_pb2.ShardScrollRequest, turn: Turn = FREE) -> ShardScroll:
    """Return the scroll of a message."""
    return ShardScroll(
        shard=shard_from_message(message.shard),
        after=id_from_message(message.after, "after"),
        limit=message.limit,
        filter=optional_filter(message, turn),
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        terms=terms_from_message(message.terms),
    )


def count_to_message(call: ShardCount, turn: Turn = FREE) -> worker_pb2.ShardCountRequest:
    """Return a count as a message."""
    return worker_pb2.ShardCountRequest(
        shard=shard_to_message(call.shard), filter=optional_filter_to_message(call.filter, turn), terms=terms_to_message(call.terms)
    )


def count_from_message(message: worker_pb2.ShardCountRequest, turn: Turn = FREE) -> ShardCount:
    """Return the count of a message."""
    return ShardCount(
        shard=shard_from_message(message.shard), filter=optional_filter(message, turn), terms=terms_from_message(message.terms)
    )


def points_to_reply(points: StoredColumns) -> worker_pb2.ShardPointsResponse:
    """Return the answer to a get or a scroll as a message."""
    return worker_pb2.ShardPointsResponse(points=points_to_message(points))


def points_from_reply(message: worker_pb2.ShardPointsResponse) -> StoredColumns:
    """Return the answer to a get or a scroll."""
    return stored_from_message(message.points)


def count_to_reply(count: int) -> worker_pb2.ShardCountResponse:
    """Return the answer to a count as a message."""
    return worker_pb2.ShardCountResponse(count=count)


def count_from_reply(message: worker_pb2.ShardCountResponse) -> int:
    """Return the answer to a count."""
    return message.count


def stats_request(shard: ShardId) -> worker_pb2.ShardStatsRequest:
    """Return the request for the figures of a replica as a message."""
    return worker_pb2.ShardStatsRequest(shard=shard_to_message(shard))


def optimize_request(shard: ShardId) -> worker_pb2.ShardOptimizeRequest:
    """Return the request to seal and merge everything as a message."""
    return worker_pb2.ShardOptimizeRequest(shard=shard_to_message(shard))


def shard_of_request(message: worker_pb2.ShardStatsRequest | worker_pb2.ShardOptimizeRequest) -> ShardId:
    """Return the shard of a request."""
    return shard_from_message(message.shard)


def optimized_to_message() -> worker_pb2.ShardOptimizeResponse:
    """Return the answer to a request to seal and merge everything as a message."""
    return worker_pb2.ShardOptimizeResponse()


def status_request() -> worker_pb2.WorkerStatusRequest:
    """Return the request for a worker's status as a message."""
    return worker_pb2.WorkerStatusRequest()


def stats_to_message(stats: ShardStats) -> worker_pb2.ShardStatsResponse:
    """Return the figures of a replica as a message."""
    return worker_pb2.ShardStatsResponse(
        role=stats.role,
        term=stats.term,
        applied_seq=stats.applied_seq,
        points=stats.points,
        growing_rows=stats.growing_rows,
        sealed_rows=stats.sealed_rows,
        segments=stats.segments,
        builds_pending=stats.builds_pending,
        bytes=stats.bytes,
        memory_bytes=stats.memory_bytes,
        waiting=stats.waiting,
    )


def stats_from_message(shard: ShardId, message: worker_pb2.ShardStatsResponse) -> ShardStats:
    """Return the figures of a shard's replica of a message."""
    return ShardStats(
        shard=shard,
        role=ReplicaRole(message.role),
        term=Term(message.term),
        applied_seq=Seq(message.applied_seq),
        points=message.points,
        growing_rows=message.growing_rows,
        sealed_rows=message.sealed_rows,
        segments=message.segments,
        builds_pending=message.builds_pending,
        bytes=message.bytes,
        memory_bytes=message.memory_bytes,
        waiting=message.waiting,
    )


def status_to_message(status: WorkerStatus) -> worker_pb2.WorkerStatusResponse:
    """Return a worker's status as a message."""
    return worker_pb2.WorkerStatusResponse(
        memory_bytes=status.memory_bytes,
        failed=dict(status.failed),
        serving=sorted(status.serving),
        disk=status.disk,
        memory_budget_bytes=status.memory_budget_bytes,
        memory_used_bytes=status.memory_used_bytes,
        file_limit=status.file_limit,
        files_open=status.files_open,
        replica_bytes=dict(status.replica_bytes),
        replicas={shard: _replica_to_message(each) for shard, each in status.replicas.items()},
        hand_overs={
            shard: worker_pb2.HandOverTime(seconds=each.seconds, ended_ms=each.ended_ms) for shard, each in status.hand_overs.items()
        },
    )


def status_from_message(message: worker_pb2.WorkerStatusResponse) -> WorkerStatus:
    """Return the worker's status of a message."""
    return WorkerStatus(
        memory_bytes=message.memory_bytes,
        failed=dict(message.failed),
        serving=frozenset(message.serving),
        disk=message.disk,
        memory_budget_bytes=message.memory_budget_bytes,
        memory_used_bytes=message.memory_used_bytes,
        file_limit=message.file_limit,
        files_open=message.files_open,
        replica_bytes=dict(message.replica_bytes),
        replicas={shard: _replica_from_message(each) for shard, each in message.replicas.items()},
        hand_overs={shard: HandOverTime(seconds=each.seconds, ended_ms=each.ended_ms) for shard, each in message.hand_overs.items()},
    )


def _replica_to_message(status: ReplicaStatus) -> worker_pb2.ReplicaStatus:
    snapshot = status.snapshot
    return worker_pb2.ReplicaStatus(
        replica=status.replica,
        role=status.role,
        applied_seq=status.applied_seq,
        memory_bytes=status.memory_bytes,
        disk_bytes=status.disk_bytes,
        builds_pending=status.builds_pending,
        snapshot=None
        if snapshot is None
        else worker_pb2.SnapshotProgress(
            done_bytes=snapshot.done_bytes, total_bytes=snapshot.total_bytes, bytes_per_s=snapshot.bytes_per_s
        ),
    )


def _replica_from_message(message: worker_pb2.ReplicaStatus) -> ReplicaStatus:
    fetched = message.snapshot
    return ReplicaStatus(
        replica=ReplicaId(message.replica),
        role=ReplicaRole(message.role),
        applied_seq=Seq(message.applied_seq),
        memory_bytes=message.memory_bytes,
        disk_bytes=message.disk_bytes,
        builds_pending=message.builds_pending,
        snapshot=SnapshotProgress(done_bytes=fetched.done_bytes, total_bytes=fetched.total_bytes, bytes_per_s=fetched.bytes_per_s)
        if message.HasField("snapshot")
        else None,
    )
