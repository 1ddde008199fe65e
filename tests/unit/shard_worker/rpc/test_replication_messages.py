"""Test that appends and snapshots are equal after a way through the messages between workers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.ids import CollectionId, ReplicaId, RequestId, Seq, ShardId, Term
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer, Diverged, LogMatches, LogSummary, NoRoom, Refused
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.rpc import replication_messages as messages
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotAsked, SnapshotFile, SnapshotManifest
from shoal.v1 import replication_pb2

texts = st.text(max_size=5)
uint64 = st.integers(0, 2**64 - 1)
terms, seqs = uint64.map(Term), st.integers(0, 2**63).map(Seq)
replicas = texts.map(ReplicaId)
shards = st.builds(ShardId, texts.map(CollectionId), st.integers(0, 2**32 - 1))


@st.composite
def appends(draw: st.DrawFn) -> Append:
    before = draw(seqs)
    records = [
        Record(
            term=draw(terms),
            seq=Seq(before + at),
            kind=draw(st.sampled_from(list(RecordKind))),
            time_ms=draw(st.integers(-(2**63), 2**63 - 1)),
            request_id=draw(st.none() | st.builds(RequestId, texts, uint64)),
            body=draw(st.binary(max_size=8)),
        )
        for at in range(1, draw(st.integers(0, 3)) + 1)
    ]
    return Append(
        shard=draw(shards),
        term=draw(terms),
        primary=draw(replicas),
        to=draw(replicas),
        prev_term=draw(terms),
        prev_seq=before,
        records=tuple(records),
        commit_seq=draw(seqs),
        behind=draw(st.booleans()),
    )


answers = st.one_of(
    st.builds(LogMatches, through=seqs, no_room=st.none() | st.builds(NoRoom, reason=st.text(min_size=1, max_size=5), limit=texts)),
    st.builds(
        Diverged,
        summary=st.builds(LogSummary, last_seq=seqs, commit_seq=seqs, runs=st.lists(st.tuples(terms, seqs), max_size=3).map(tuple)),
    ),
    st.builds(Refused, known_term=terms),
)
manifests = st.builds(
    SnapshotManifest,
    snapshot=texts,
    term=terms,
    seq=seqs,
    files=st.lists(st.builds(SnapshotFile, name=texts, size_bytes=uint64, sha256=texts), max_size=3).map(tuple),
    memory_bytes=uint64,
)


def over_the_wire(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


@settings(deadline=None)
@given(appends())
def test_an_append_comes_back(append: Append) -> None:
    assert messages.append_from_message(over_the_wire(messages.append_to_message(append))) == append


@settings(deadline=None)
@given(answers)
def test_the_answer_to_an_append_comes_back(answer: AppendAnswer) -> None:
    assert messages.answer_from_message(over_the_wire(messages.answer_to_message(answer))) == answer


@settings(deadline=None)
@given(manifests, st.builds(SnapshotAsked, shard=shards, replica=replicas, move=st.booleans(), tuning=st.booleans()))
def test_what_is_pinned_comes_back(manifest: SnapshotManifest, asked: SnapshotAsked) -> None:
    assert messages.manifest_from_message(over_the_wire(messages.manifest_to_message(manifest))) == manifest
    assert messages.begin_snapshot_from_message(over_the_wire(messages.begin_snapshot_to_message(asked))) == asked


def test_an_older_worker_wants_no_measurements_and_tells_no_memory() -> None:
    asked = messages.begin_snapshot_from_message(replication_pb2.BeginSnapshotRequest(replica="r"))
    assert (asked.move, asked.tuning) == (False, False)
    assert messages.manifest_from_message(replication_pb2.SnapshotManifest(snapshot="s")).memory_bytes == 0


def test_questions_about_a_snapshot_say_what_they_are_about() -> None:
    asked = over_the_wire(messages.read_snapshot_to_message("s", "store.db", 7, 9))
    assert (asked.snapshot, asked.name, asked.offset, asked.max_bytes) == ("s", "store.db", 7, 9)
    assert over_the_wire(messages.piece_to_message(b"x")).data == b"x"
    assert over_the_wire(messages.end_snapshot_to_message("s")).snapshot == "s"


def test_records_that_do_not_follow_each_other_and_empty_answers_are_refused() -> None:
    gap = replication_pb2.AppendRequest(prev_seq=4, records=[replication_pb2.LogRecord(seq=6, kind=1)])
    with pytest.raises(InvalidArgument, match="record 6 is in the place of record 5"):
        messages.append_from_message(gap)
    unknown = replication_pb2.AppendRequest(records=[replication_pb2.LogRecord(seq=1, kind=99)])
    with pytest.raises(InvalidArgument, match="kind 99"):
        messages.append_from_message(unknown)
    with pytest.raises(InvalidArgument, match="is empty"):
        messages.answer_from_message(replication_pb2.AppendResponse())
