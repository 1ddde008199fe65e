"""The folders of two workers: one holds a replica with points, index files and a log; the other holds an empty replica
that takes its snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shoal.core.ids import CollectionId, ReplicaId, RequestId, Seq, ShardId, Term
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder, ReplicaRef
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.folders.snapshot_export import PinnedSnapshot, pin_snapshot, read_piece
from shoal.shard_worker.storage.folders.snapshot_import import SnapshotDownload
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.log.log import ReplicaLog
from shoal.shard_worker.storage.store.points_store import PointsStore
from shoal.shard_worker.storage.store.small_tables import SegmentEntry
from tests.support.worker.storage_parts import CLUSTER, DIM, record, upsert

SHARD = ShardId(CollectionId("c1"), 3)
SOURCE, HERE = ReplicaRef(SHARD, ReplicaId("source")), ReplicaRef(SHARD, ReplicaId("here"))
SEQ, TERM = Seq(20), Term(4)


class CopiedReplica:
    """The replica of the primary: SEQ records applied, two index files."""

    def __init__(self, path: Path) -> None:
        self.worker = WorkerFolder.open(path, CLUSTER)
        self.folder = self.worker.create(SOURCE, dim=DIM)
        self.store = PointsStore.open(self.folder.store_path, cluster_id=CLUSTER, replica_id=SOURCE.replica_id)
        self.files = SegmentFiles(self.folder.segments_path)
        self.store.apply([upsert(seq, range(seq, seq + 5), salt=seq, request=RequestId("client", seq)) for seq in range(1, SEQ + 1)])
        self.add("one.index", b"graph" * 3_000)
        self.add("one.rows", b"rows" * 10)

    def add(self, name: str, data: bytes) -> None:
        written = self.files.write_bytes(name, data)
        entry = SegmentEntry(name=name, size_bytes=written.size_bytes, sha256=written.sha256, rows=9, applied_seq=SEQ)
        self.store.replace_segments([entry], [])

    def pin(self) -> PinnedSnapshot:
        return pin_snapshot(self.folder, self.store, lambda seq: TERM, self.folder.path.parent)

    def close(self) -> None:
        self.store.close()
        self.worker.close()


@contextmanager
def source_in(path: Path) -> Iterator[CopiedReplica]:
    made = CopiedReplica(path)
    try:
        yield made
    finally:
        made.close()


def fetch(pinned: PinnedSnapshot, download: SnapshotDownload, *, piece: int = 4096, most: int = 1_000_000) -> int:
    """Fetch missing pieces, at most `most`. Return how many were fetched."""
    for number in range(most):
        wanted = download.missing()
        if wanted is None:
            return number
        download.write(wanted.name, wanted.offset, read_piece(pinned, wanted.name, wanted.offset, piece))
    return most


def begun(folder: ReplicaFolder, pinned: PinnedSnapshot) -> SnapshotDownload:
    return SnapshotDownload.open(folder, pinned.manifest, source=SOURCE.replica_id)


def contents(folder: ReplicaFolder) -> dict[object, tuple[list[float], bytes | None]]:
    """Return every point of a replica that no process has open."""
    store = PointsStore.open(folder.store_path, cluster_id=CLUSTER, replica_id=folder.ref.replica_id)
    try:
        found = store.scroll(None, 10_000, with_vectors=True, with_payloads=True)
        assert found.vectors is not None
        assert found.payloads is not None
        return dict(zip(found.ids.tolist(), zip(found.vectors.tolist(), found.payloads, strict=True), strict=True))
    finally:
        store.close()


def is_a_copy(folder: ReplicaFolder, source: CopiedReplica, *, known_term: int = TERM) -> None:
    """Assert that a replica that took the snapshot holds all of it and can go on."""
    assert folder.known_term == known_term
    store = PointsStore.open(folder.store_path, cluster_id=CLUSTER, replica_id=folder.ref.replica_id)
    log = ReplicaLog.open(folder.path, cluster_id=CLUSTER, replica_id=folder.ref.replica_id, applied_seq=store.applied_seq)
    try:
        assert (store.applied_seq, log.base, log.last) == (SEQ, (TERM, SEQ), (TERM, SEQ))
        assert store.requests() == source.store.requests()
        assert store.segments() == source.store.segments()
        for entry in store.segments():
            assert SegmentFiles(folder.segments_path).verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256)
        mine, theirs = (each.scroll(None, 10_000, with_vectors=True, with_payloads=True) for each in (store, source.store))
        assert mine.ids.tolist() == theirs.ids.tolist()
        assert mine.payloads == theirs.payloads
        assert mine.vectors is not None
        assert theirs.vectors is not None
        assert np.array_equal(mine.vectors, theirs.vectors)
        log.append([record(SEQ + 1, term=TERM)])
        store.apply([upsert(SEQ + 1, ["new"])])
    finally:
        log.close()
        store.close()
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"log", "replica.json", "segments", "store.db", "watermark.json"}
