"""Calls on a shard but for searches, and what every call names, between messages and domain values."""

from __future__ import annotations

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Filter
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ReplicaId, RequestId, Revision, Seq, ShardId, Term
from shoal.core.points import INT64_MAX
from shoal.core.shard_calls import (
    Consistency,
    ReadTerms,
    ReplicaStatus,
    ShardCount,
    ShardDelete,
    ShardDeleteMatching,
    ShardGet,
    ShardScroll,
    ShardStats,
    ShardUpsert,
    ShardWrite,
    WorkerStatus,
    WriteAck,
)
from shoal.core.turns import FREE, Turn
from shoal.v1 import common_pb2, worker_pb2
from shoal.wire.columns import (
    id_from_message,
    id_to_message,
    ids_from_message,
    ids_to_message,
    points_from_message,
    points_to_message,
)
from shoal.wire.filters import filter_from_message, filter_to_message, optional_filter_to_message

_CONSISTENCY = {
    Consistency.ANY: common_pb2.CONSISTENCY_ANY,
    Consistency.SESSION: common_pb2.CONSISTENCY_SESSION,
    Consistency.PRIMARY: common_pb2.CONSISTENCY_PRIMARY,
}
_FROM_CONSISTENCY = {message: value for value, message in _CONSISTENCY.items()}


def consistency_to_message(value: Consistency) -> common_pb2.Consistency:
    """Consistency as its enum value."""
    return _CONSISTENCY[value]


def consistency_from_message(value: int) -> Consistency:
    """Consistency from its enum value; unspecified is session. Raises InvalidArgument for an unknown one."""
    if value == common_pb2.CONSISTENCY_UNSPECIFIED:
        return Consistency.SESSION
    found = _FROM_CONSISTENCY.get(value)  # type: ignore[call-overload]
    if found is None:
        raise InvalidArgument(f"consistency is {value}, known are 0 to 3", ErrorDetails(field="consistency"))
    return Consistency(found)


def shard_to_message(shard: ShardId) -> worker_pb2.ShardRef:
    """Shard id as a message."""
    return worker_pb2.ShardRef(collection_id=shard.collection, number=shard.number)


def shard_from_message(message: worker_pb2.ShardRef) -> ShardId:
    """Shard id from a message."""
    return ShardId(CollectionId(message.collection_id), message.number)


def request_id_to_message(request_id: RequestId) -> common_pb2.RequestId:
    """Request id as a message."""
    return common_pb2.RequestId(client=request_id.client, number=request_id.number)


def request_id_from_message(message: common_pb2.RequestId) -> RequestId:
    """Request id from a message. Raises InvalidArgument for a client name that is empty or too long."""
    if not 1 <= len(message.client) <= 64:
        raise InvalidArgument(f"request_id.client has {len(message.client)} characters, 1-64 are allowed", ErrorDetails(field="request_id"))
    if message.number > INT64_MAX:
        raise InvalidArgument(f"request_id.number is {message.number}, at most {INT64_MAX} is allowed", ErrorDetails(field="request_id"))
    return RequestId(message.client, message.number)


def terms_to_message(terms: ReadTerms) -> worker_pb2.ReadTerms:
    """Conditions on a read as a message."""
    return worker_pb2.ReadTerms(consistency=consistency_to_message(terms.consistency), min_seq=terms.min_seq, caller=terms.caller)


def terms_from_message(message: worker_pb2.ReadTerms) -> ReadTerms:
    """Conditions on a read from a message. Raises InvalidArgument for an unknown consistency."""
    return ReadTerms(consistency=consistency_from_message(message.consistency), min_seq=Seq(message.min_seq), caller=message.caller)


def write_to_message(call: ShardWrite, turn: Turn = FREE) -> worker_pb2.ShardWriteRequest:
    """Write as a message."""
    message = worker_pb2.ShardWriteRequest(
        shard=shard_to_message(call.shard), epoch=call.epoch, request_id=request_id_to_message(call.request_id)
    )
    match call:
        case ShardUpsert(points=points):
            message.upsert.CopyFrom(points_to_message(points))
        case ShardDelete(ids=ids):
            message.delete.CopyFrom(ids_to_message(ids))
        case ShardDeleteMatching(filter=filter):
            message.delete_matching.CopyFrom(filter_to_message(filter, turn))
    return message


def write_from_message(message: worker_pb2.ShardWriteRequest, turn: Turn = FREE) -> ShardWrite:
    """Write from a message. Raises InvalidArgument when it carries no change."""
    shard, epoch = shard_from_message(message.shard), Revision(message.epoch)
    request_id = request_id_from_message(message.request_id)
    match message.WhichOneof("write"):
        case "upsert":
            return ShardUpsert(shard=shard, epoch=epoch, request_id=request_id, points=points_from_message(message.upsert))
        case "delete":
            return ShardDelete(shard=shard, epoch=epoch, request_id=request_id, ids=ids_from_message(message.delete))
        case "delete_matching":
            filter = filter_from_message(message.delete_matching, turn)
            return ShardDeleteMatching(shard=shard, epoch=epoch, request_id=request_id, filter=filter)
        case _:
            raise InvalidArgument("a write needs an upsert or a delete", ErrorDetails(field="write"))


def ack_to_message(ack: WriteAck) -> worker_pb2.ShardWriteResponse:
    """Acknowledgement as a message."""
    return worker_pb2.ShardWriteResponse(seq=ack.seq, affected=ack.affected, more=ack.more)


def ack_from_message(message: worker_pb2.ShardWriteResponse) -> WriteAck:
    """Acknowledgement from a message."""
    return WriteAck(seq=Seq(message.seq), affected=message.affected, more=message.more)


def get_to_message(call: ShardGet) -> worker_pb2.ShardGetRequest:
    """Get as a message."""
    return worker_pb2.ShardGetRequest(
        shard=shard_to_message(call.shard),
        ids=ids_to_message(call.ids),
        with_payload=call.with_payload,
        with_vectors=call.with_vectors,
        terms=terms_to_message(call.terms),
    )


def get_from_message(message: worker_pb2.ShardGetRequest) -> ShardGet:
    """Get from a message."""
    return ShardGet(
        shard=shard_from_message(message.shard),
        ids=ids_from_message(message.ids),
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        terms=terms_from_message(message.terms),
    )


def scroll_to_message(call: ShardScroll, turn: Turn = FREE) -> worker_pb2.ShardScrollRequest:
    """Scroll as a message."""
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
    """Scroll from a message."""
    return ShardScroll(
        shard=shard_from_message(message.shard),
        after=id_from_message(message.after, "after"),
        limit=message.limit,
        filter=_filter_of(message, turn),
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        terms=terms_from_message(message.terms),
    )


def count_to_message(call: ShardCount, turn: Turn = FREE) -> worker_pb2.ShardCountRequest:
    """Count as a message."""
    return worker_pb2.ShardCountRequest(
        shard=shard_to_message(call.shard), filter=optional_filter_to_message(call.filter, turn), terms=terms_to_message(call.terms)
    )


def count_from_message(message: worker_pb2.ShardCountRequest, turn: Turn = FREE) -> ShardCount:
    """Count from a message."""
    return ShardCount(shard=shard_from_message(message.shard), filter=_filter_of(message, turn), terms=terms_from_message(message.terms))


def stats_to_message(stats: ShardStats) -> worker_pb2.ShardStatsResponse:
    """What a replica holds, as a message."""
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
    """What a replica holds, from a message."""
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
    """A worker about itself, as a message."""
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
        replicas={
            shard: worker_pb2.ReplicaStatus(replica=each.replica, role=each.role, applied_seq=each.applied_seq)
            for shard, each in status.replicas.items()
        },
    )


def status_from_message(message: worker_pb2.WorkerStatusResponse) -> WorkerStatus:
    """A worker about itself, from a message."""
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
        replicas={
            shard: ReplicaStatus(replica=ReplicaId(each.replica), role=ReplicaRole(each.role), applied_seq=Seq(each.applied_seq))
            for shard, each in message.replicas.items()
        },
    )


def _filter_of(message: worker_pb2.ShardScrollRequest | worker_pb2.ShardCountRequest, turn: Turn) -> Filter | None:
    return filter_from_message(message.filter, turn) if message.HasField("filter") else None
