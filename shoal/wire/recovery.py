"""Recoveries and audit entries between messages and domain values."""

from __future__ import annotations

from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import AuditEntry, LogEnd, Recovery, RecoveryRequest, ReplicaPlace
from shoal.v1 import collections_pb2


def request_to_message(request: RecoveryRequest) -> collections_pb2.RecoverShardRequest:
    """What an operator asks for, as a message."""
    return collections_pb2.RecoverShardRequest(
        name=request.name,
        shard=request.number,
        worker=request.worker or "",
        accept_data_loss=request.accept_data_loss,
        reason=request.reason,
        asked_by=request.asked_by,
        request_id=request.request_id,
    )


def request_from_message(message: collections_pb2.RecoverShardRequest) -> RecoveryRequest:
    """What an operator asks for, from a message."""
    return RecoveryRequest(
        name=message.name,
        number=message.shard,
        worker=WorkerId(message.worker) if message.worker else None,
        accept_data_loss=message.accept_data_loss,
        reason=message.reason,
        asked_by=message.asked_by,
        request_id=message.request_id,
    )


def recovery_to_message(recovery: Recovery) -> collections_pb2.Recovery:
    """A recovery as a message."""
    return collections_pb2.Recovery(
        shard=recovery.shard.number,
        collection_id=recovery.shard.collection,
        term=recovery.term,
        chosen=_place_to_message(recovery.chosen),
        given_up=map(_place_to_message, recovery.given_up),
    )


def recovery_from_message(message: collections_pb2.Recovery) -> Recovery:
    """A recovery from a message."""
    return Recovery(
        shard=ShardId(CollectionId(message.collection_id), message.shard),
        term=Term(message.term),
        chosen=_place_from_message(message.chosen),
        given_up=tuple(map(_place_from_message, message.given_up)),
    )


def audit_to_message(entry: AuditEntry) -> collections_pb2.AuditEntry:
    """An audit entry as a message."""
    return collections_pb2.AuditEntry(
        time_ms=entry.time_ms,
        action=entry.action,
        collection=entry.collection,
        recovery=recovery_to_message(entry.recovery),
        reason=entry.reason,
        asked_by=entry.asked_by,
        request_id=entry.request_id,
    )


def audit_from_message(message: collections_pb2.AuditEntry) -> AuditEntry:
    """An audit entry from a message."""
    return AuditEntry(
        time_ms=message.time_ms,
        action=message.action,
        collection=message.collection,
        recovery=recovery_from_message(message.recovery),
        reason=message.reason,
        asked_by=message.asked_by,
        request_id=message.request_id,
    )


def _place_to_message(place: ReplicaPlace) -> collections_pb2.ReplicaPlace:
    term, seq = (None, None) if place.end is None else (place.end.term, place.end.seq)
    return collections_pb2.ReplicaPlace(replica=place.replica, worker=place.worker, role=place.role, term=term, seq=seq)


def _place_from_message(message: collections_pb2.ReplicaPlace) -> ReplicaPlace:
    end = LogEnd(term=Term(message.term), seq=Seq(message.seq)) if message.HasField("seq") else None
    return ReplicaPlace(replica=ReplicaId(message.replica), worker=WorkerId(message.worker), role=message.role, end=end)
