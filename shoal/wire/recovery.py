"""Converts recoveries of shards, and their audit, between values and messages."""

from __future__ import annotations

from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import AuditEntry, LogEnd, Recovery, RecoveryRequest, ReplicaPlace
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.core.requests import DEFAULT_AUDIT_ENTRIES, ListAudit, RecoverShard
from shoal.v1 import collections_pb2
from shoal.wire.method import Method, Methods, serialized


def recover_to_message(request: RecoverShard) -> collections_pb2.RecoverShardRequest:
    """Return an operator's request for a recovery as a message."""
    asked = request.asked
    return collections_pb2.RecoverShardRequest(
        name=asked.name,
        shard=asked.number,
        worker=asked.worker or "",
        accept_data_loss=asked.accept_data_loss,
        reason=asked.reason,
        asked_by=asked.asked_by,
        request_id=asked.request_id,
    )


def recover_from_message(message: collections_pb2.RecoverShardRequest) -> RecoverShard:
    """Return an operator's request for a recovery."""
    asked = RecoveryRequest(
        name=message.name,
        number=message.shard,
        worker=WorkerId(message.worker) if message.worker else None,
        accept_data_loss=message.accept_data_loss,
        reason=message.reason,
        asked_by=message.asked_by,
        request_id=message.request_id,
    )
    return RecoverShard(asked=asked)


def recovered_to_message(recovered: ShardRecovery) -> collections_pb2.RecoverShardResponse:
    """Return the outcome of a recovery, or the plan of one, as a message."""
    return collections_pb2.RecoverShardResponse(done=recovered.done, recovery=recovery_to_message(recovered.recovery))


def recovered_from_message(message: collections_pb2.RecoverShardResponse) -> ShardRecovery:
    """Return the outcome of a recovery, or the plan of one."""
    return ShardRecovery(done=message.done, recovery=recovery_from_message(message.recovery))


def audit_request_to_message(request: ListAudit) -> collections_pb2.ListAuditRequest:
    """Return the request for a page of the audit as a message."""
    return collections_pb2.ListAuditRequest(limit=request.limit, before=request.before)


def audit_request_from_message(message: collections_pb2.ListAuditRequest) -> ListAudit:
    """Return the request for a page of the audit. A missing field gets its default."""
    return ListAudit(limit=message.limit or DEFAULT_AUDIT_ENTRIES, before=message.before)


def audit_page_to_message(page: AuditPage) -> collections_pb2.ListAuditResponse:
    """Return a page of the audit as a message."""
    return collections_pb2.ListAuditResponse(entries=map(audit_to_message, page.entries), next=page.following)


def audit_page_from_message(message: collections_pb2.ListAuditResponse) -> AuditPage:
    """Return a page of the audit."""
    return AuditPage(entries=tuple(map(audit_from_message, message.entries)), following=message.next)


def recovery_to_message(recovery: Recovery) -> collections_pb2.Recovery:
    """Return a recovery as a message."""
    return collections_pb2.Recovery(
        shard=recovery.shard.number,
        collection_id=recovery.shard.collection,
        term=recovery.term,
        chosen=_place_to_message(recovery.chosen),
        given_up=map(_place_to_message, recovery.given_up),
    )


def recovery_from_message(message: collections_pb2.Recovery) -> Recovery:
    """Return the recovery of a message."""
    return Recovery(
        shard=ShardId(CollectionId(message.collection_id), message.shard),
        term=Term(message.term),
        chosen=_place_from_message(message.chosen),
        given_up=tuple(map(_place_from_message, message.given_up)),
    )


def audit_to_message(entry: AuditEntry) -> collections_pb2.AuditEntry:
    """Return an audit entry as a message."""
    return collections_pb2.AuditEntry(
        time_ms=entry.time_ms,
        action=entry.action,
        collection=entry.collection,
        recovery=None if entry.recovery is None else recovery_to_message(entry.recovery),
        reason=entry.reason,
        asked_by=entry.asked_by,
        request_id=entry.request_id,
        subject=entry.subject,
    )


def audit_from_message(message: collections_pb2.AuditEntry) -> AuditEntry:
    """Return the audit entry of a message."""
    return AuditEntry(
        time_ms=message.time_ms,
        action=message.action,
        collection=message.collection,
        recovery=recovery_from_message(message.recovery) if message.HasField("recovery") else None,
        reason=message.reason,
        asked_by=message.asked_by,
        request_id=message.request_id,
        subject=message.subject,
    )


def _place_to_message(place: ReplicaPlace) -> collections_pb2.ReplicaPlace:
    term, seq = (None, None) if place.end is None else (place.end.term, place.end.seq)
    return collections_pb2.ReplicaPlace(replica=place.replica, worker=place.worker, role=place.role, term=term, seq=seq)


def _place_from_message(message: collections_pb2.ReplicaPlace) -> ReplicaPlace:
    end = LogEnd(term=Term(message.term), seq=Seq(message.seq)) if message.HasField("seq") else None
    return ReplicaPlace(replica=ReplicaId(message.replica), worker=WorkerId(message.worker), role=message.role, end=end)


METHODS: Methods = {
    RecoverShard: Method(
        path="/shoal.v1.Collections/RecoverShard",
        encode=serialized(recover_to_message),
        answer=collections_pb2.RecoverShardResponse,
        decode=recovered_from_message,
    ),
    ListAudit: Method(
        path="/shoal.v1.Collections/ListAudit",
        encode=serialized(audit_request_to_message),
        answer=collections_pb2.ListAuditResponse,
        decode=audit_page_from_message,
    ),
}
