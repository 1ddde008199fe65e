"""Converts appends and snapshots between values of the worker and the messages between workers."""

from __future__ import annotations

from shoal.core.errors import InvalidArgument
from shoal.core.ids import ReplicaId, RequestId, Seq, Term
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer, Diverged, LogMatches, LogSummary, NoRoom, Refused
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotAsked, SnapshotFile, SnapshotManifest
from shoal.v1 import replication_pb2
from shoal.wire.call_parts import request_id_to_message, shard_from_message, shard_to_message


def append_to_message(append: Append) -> replication_pb2.AppendRequest:
    """Return an append as a message."""
    return replication_pb2.AppendRequest(
        shard=shard_to_message(append.shard),
        term=append.term,
        primary=append.primary,
        to=append.to,
        prev_term=append.prev_term,
        prev_seq=append.prev_seq,
        records=map(_record_to_message, append.records),
        commit_seq=append.commit_seq,
        behind=append.behind,
    )


def append_from_message(message: replication_pb2.AppendRequest) -> Append:
    """Return the append of a message.

    Raises InvalidArgument for records that are not consecutive, or of an unknown kind.
    """
    records = tuple(map(_record_from_message, message.records))
    for at, record in enumerate(records, start=1):
        if record.seq != message.prev_seq + at:
            raise InvalidArgument(f"record {record.seq} is in the place of record {message.prev_seq + at}")
    return Append(
        shard=shard_from_message(message.shard),
        term=Term(message.term),
        primary=ReplicaId(message.primary),
        to=ReplicaId(message.to),
        prev_term=Term(message.prev_term),
        prev_seq=Seq(message.prev_seq),
        records=records,
        commit_seq=Seq(message.commit_seq),
        behind=message.behind,
    )


def answer_to_message(answer: AppendAnswer) -> replication_pb2.AppendResponse:
    """Return the answer to an append as a message."""
    match answer:
        case LogMatches(through=through, no_room=no_room):
            reason, limit = ("", "") if no_room is None else (no_room.reason, no_room.limit)
            return replication_pb2.AppendResponse(matched=replication_pb2.Matched(through=through, no_room=reason, no_room_limit=limit))
        case Diverged(summary=summary):
            runs = [replication_pb2.TermRun(term=term, first_seq=seq) for term, seq in summary.runs]
            diverged = replication_pb2.Diverged(last_seq=summary.last_seq, commit_seq=summary.commit_seq, runs=runs)
            return replication_pb2.AppendResponse(diverged=diverged)
        case Refused(known_term=term):
            return replication_pb2.AppendResponse(refused=term)


def answer_from_message(message: replication_pb2.AppendResponse) -> AppendAnswer:
    """Return the answer to an append. Raises InvalidArgument for an empty message."""
    match message.WhichOneof("answer"):
        case "matched":
            found = message.matched
            no_room = NoRoom(reason=found.no_room, limit=found.no_room_limit) if found.no_room else None
            return LogMatches(through=Seq(found.through), no_room=no_room)
        case "diverged":
            parted = message.diverged
            runs = tuple((Term(run.term), Seq(run.first_seq)) for run in parted.runs)
            return Diverged(summary=LogSummary(last_seq=Seq(parted.last_seq), commit_seq=Seq(parted.commit_seq), runs=runs))
        case "refused":
            return Refused(known_term=Term(message.refused))
        case _:
            raise InvalidArgument("the answer to an append is empty")


def begin_snapshot_to_message(asked: SnapshotAsked) -> replication_pb2.BeginSnapshotRequest:
    """Return the request to pin a replica as a message."""
    return replication_pb2.BeginSnapshotRequest(
        shard=shard_to_message(asked.shard), replica=asked.replica, move=asked.move, tuning=asked.tuning
    )


def begin_snapshot_from_message(message: replication_pb2.BeginSnapshotRequest) -> SnapshotAsked:
    """Return the request to pin a replica."""
    return SnapshotAsked(
        shard=shard_from_message(message.shard), replica=ReplicaId(message.replica), move=message.move, tuning=message.tuning
    )


def manifest_to_message(manifest: SnapshotManifest) -> replication_pb2.SnapshotManifest:
    """Return the files of a pinned replica as a message."""
    files = [replication_pb2.SnapshotFile(name=each.name, size_bytes=each.size_bytes, sha256=each.sha256) for each in manifest.files]
    return replication_pb2.SnapshotManifest(
        snapshot=manifest.snapshot, term=manifest.term, seq=manifest.seq, files=files, memory_bytes=manifest.memory_bytes
    )


def manifest_from_message(message: replication_pb2.SnapshotManifest) -> SnapshotManifest:
    """Return the files of a pinned replica."""
    files = tuple(SnapshotFile(name=each.name, size_bytes=each.size_bytes, sha256=each.sha256) for each in message.files)
    return SnapshotManifest(
        snapshot=message.snapshot, term=Term(message.term), seq=Seq(message.seq), files=files, memory_bytes=message.memory_bytes
    )


def read_snapshot_to_message(snapshot: str, name: str, offset: int, max_bytes: int) -> replication_pb2.ReadSnapshotRequest:
    """Return the request for a piece of a file as a message."""
    return replication_pb2.ReadSnapshotRequest(snapshot=snapshot, name=name, offset=offset, max_bytes=max_bytes)


def piece_to_message(data: bytes) -> replication_pb2.ReadSnapshotResponse:
    """Return a piece of a file as a message."""
    return replication_pb2.ReadSnapshotResponse(data=data)


def end_snapshot_to_message(snapshot: str) -> replication_pb2.EndSnapshotRequest:
    """Return the request to release a pinned replica as a message."""
    return replication_pb2.EndSnapshotRequest(snapshot=snapshot)


def ended_to_message() -> replication_pb2.EndSnapshotResponse:
    """Return the answer to that request as a message."""
    return replication_pb2.EndSnapshotResponse()


def _record_to_message(record: Record) -> replication_pb2.LogRecord:
    return replication_pb2.LogRecord(
        term=record.term,
        seq=record.seq,
        kind=record.kind,
        time_ms=record.time_ms,
        request_id=request_id_to_message(record.request_id),
        body=record.body,
    )


def _record_from_message(message: replication_pb2.LogRecord) -> Record:
    try:
        kind = RecordKind(message.kind)
    except ValueError:
        raise InvalidArgument(f"record {message.seq} is of kind {message.kind}, which this version does not know") from None
    request = RequestId(message.request_id.client, message.request_id.number) if message.HasField("request_id") else None
    return Record(term=Term(message.term), seq=Seq(message.seq), kind=kind, time_ms=message.time_ms, request_id=request, body=message.body)
