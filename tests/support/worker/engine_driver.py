"""Drives an engine step by step on one thread, as the writer of a replica would. A crash leaves the disk as it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ShoalError
from shoal.core.filter import Filter
from shoal.core.ids import ClusterId, Seq, Term
from shoal.core.point_change import PointChange, PointUpdate
from shoal.core.points import PointColumns, PointId, id_array
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.replica.engine import Engine, EngineSettings
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder, ReplicaRef, fill_replica_folder
from shoal.shard_worker.storage.store.meta_table import VectorDims
from shoal.wire.point_bytes import points_to_bytes
from shoal.wire.records import delete_body, exact_delete_body, update_body
from tests.support.worker.replica_bench import REPLICA, SHARD, SPEC

CLUSTER = ClusterId("cluster")
REF = ReplicaRef(SHARD, REPLICA)
SETTINGS = EngineSettings(growing_rows=8, log_file_bytes=600, checkpoint_bytes=0, readers=1)
"""Eight rows freeze a segment, a few records fill a log file, and a checkpoint is always due."""

ENOUGH = 10_000


def layout_of(spec: CollectionSpec) -> VectorDims:
    """Return the named vectors that the store of such a replica is created with."""
    return tuple((each.name, each.dim) for each in spec.vectors)


class Driven:
    """One open engine. Every record is committed as soon as it is durable, because the replica is alone."""

    def __init__(self, path: Path, spec: CollectionSpec = SPEC) -> None:
        """Open the replica in the folder `path`, created if it is missing, and apply the records that its log has after
        the store's applied seq.
        """
        self.path, self.spec = path, spec
        if not path.exists():
            path.mkdir(parents=True)
            fill_replica_folder(path, cluster_id=CLUSTER, ref=REF, dim=spec.point_dim, vectors=layout_of(spec))
        self.reopen()

    def reopen(self) -> None:
        """Open the replica again after it was closed."""
        self.folder = ReplicaFolder.load(self.path, cluster_id=CLUSTER, ref=REF)
        self.engine = Engine.open(self.folder, self.spec, SETTINGS)
        opened = self.engine.beginning().opened
        self.seq, self.term = opened.last_seq, opened.known_term
        if opened.tail:
            self.engine.apply(opened.tail)
        self.new_term()

    def rest(self) -> None:
        """Close the files and open them again."""
        assert self.engine.rest(may_write=True)
        assert self.engine.wake()

    def new_term(self) -> None:
        self.term = Term(self.term + 1)
        self.engine.save_term(self.term)

    def upsert(self, ids: Sequence[PointId], vectors: Sequence[Sequence[float]], payloads: Sequence[bytes | None]) -> None:
        self._write(RecordKind.UPSERT, self._upsert_body(ids, vectors, payloads))

    def delete(self, ids: Sequence[PointId]) -> None:
        self._write(RecordKind.DELETE, delete_body(id_array(ids)))

    def delete_rows(self, ids: Sequence[PointId], rows: Sequence[int]) -> None:
        self._write(RecordKind.DELETE_ROWS, exact_delete_body(id_array(ids), np.array(rows, dtype=np.int64)))

    def update(self, ids: Sequence[PointId], change: PointChange, filter: Filter | None = None) -> None:
        self._write(RecordKind.UPDATE, update_body(PointUpdate(ids=id_array(ids), change=change, filter=filter)))

    def build(self, *, everything: bool) -> bool:
        """Run one build, from its plan to the deletion of the replaced files. Return whether there was one to run."""
        if everything:
            self.engine.freeze()
        due = [(each, plan) for each in self.engine.indexes if (plan := each.next_build(everything=everything)) is not None]
        if not due:
            return False
        index, plan = due[0]
        job = index.begin_build(plan)
        try:
            sealed = job.run(lambda: False)
            assert sealed is not None
            written = index.write_segment(job, sealed)
        except ShoalError:
            index.abandon(job)
            raise
        index.swap(job, sealed, written)
        self.engine.sweep()
        return True

    def make_texts(self) -> bool:
        """Make the texts that one sealed segment lacks, from the store to the deletion of the file that they replace.

        Return whether a segment lacked any.
        """
        lacking = self.engine.texts.lacking()
        if not lacking:
            return False
        self.engine.texts.swap(self.engine.texts.write(lacking[0], lambda: False))
        self.engine.sweep()
        return True

    def checkpoint(self) -> None:
        self.engine.checkpoint_if_due()

    def close(self) -> None:
        self.engine.close()

    def copy_to(self, path: Path) -> None:
        """Copy the folder as it is on the disk now."""
        shutil.copytree(self.path, path)

    def append_only(self, ids: Sequence[PointId], vectors: Sequence[Sequence[float]], payloads: Sequence[bytes | None]) -> None:
        """Make an upsert durable without applying it."""
        record = self._record(RecordKind.UPSERT, self._upsert_body(ids, vectors, payloads))
        self.engine.append([record])
        self.seq = record.seq

    def _write(self, kind: RecordKind, body: bytes) -> None:
        # Advance only after the write has succeeded: after a failure, the log says which number is next.
        record = self._record(kind, body)
        self.engine.append([record])
        self.engine.apply([record])
        self.seq = record.seq

    def _record(self, kind: RecordKind, body: bytes) -> Record:
        return Record(term=self.term, seq=Seq(self.seq + 1), kind=kind, time_ms=1_000 + self.seq, request_id=None, body=body)

    def _upsert_body(self, ids: Sequence[PointId], vectors: Sequence[Sequence[float]], payloads: Sequence[bytes | None]) -> bytes:
        matrix = np.array(vectors, dtype=np.float32).reshape(len(ids), self.spec.point_dim)
        return points_to_bytes(PointColumns(ids=id_array(ids), vectors=matrix, payloads=tuple(payloads)))
