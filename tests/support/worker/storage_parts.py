"""Records, logs, stores and rows for tests of the storage room and of rooms that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from shoal.core.ids import ClusterId, ReplicaId, RequestId, Seq, Term
from shoal.core.points import PointColumns, PointId, id_array
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.storage.log.log import LogSettings, ReplicaLog
from shoal.shard_worker.storage.log.watermark import Watermark, save_watermark
from shoal.shard_worker.storage.store.mutation import PutRows, RemoveRows, RequestEntry
from shoal.shard_worker.storage.store.points_store import PointsStore, StoreSettings

CLUSTER, REPLICA = ClusterId("cluster-a"), ReplicaId("replica-a")
DIM = 3


def record(seq: int, *, term: int = 1, body: bytes | None = None, request: RequestId | None = None) -> Record:
    return Record(
        term=Term(term),
        seq=Seq(seq),
        kind=RecordKind.UPSERT,
        time_ms=1_700_000_000_000 + seq,
        request_id=request,
        body=f"body {seq}".encode() if body is None else body,
    )


def records(first: int, last: int, *, term: int = 1) -> list[Record]:
    return [record(seq, term=term, request=RequestId("client", seq) if seq % 2 else None) for seq in range(first, last + 1)]


def create_log(folder: Path, settings: LogSettings | None = None) -> ReplicaLog:
    return ReplicaLog.create(folder, cluster_id=CLUSTER, replica_id=REPLICA, settings=settings or LogSettings())


def open_log(folder: Path, *, applied_seq: int = 0, settings: LogSettings | None = None) -> ReplicaLog:
    return ReplicaLog.open(folder, cluster_id=CLUSTER, replica_id=REPLICA, applied_seq=Seq(applied_seq), settings=settings or LogSettings())


def take_back_watermark(folder: Path, *, cluster_id: ClusterId, replica_id: ReplicaId) -> None:
    """Let the watermark of a closed replica cover no record of the log's last file, as after a kill: these records are
    made durable anew when the log is opened.
    """
    with closing(PointsStore.open(folder / "store.db", cluster_id=cluster_id, replica_id=replica_id)) as store:
        applied_seq = store.applied_seq
    with closing(ReplicaLog.open(folder, cluster_id=cluster_id, replica_id=replica_id, applied_seq=applied_seq)) as log:
        before, kept_from = log._state.parts[-1].file.before, log.first_seq
    save_watermark(folder / "watermark.json", Watermark(seq=before.seq, crc=before.crc, kept_from=kept_from))


def seqs_of(log: ReplicaLog) -> list[int]:
    return [each.seq for each in log.read(log.first_seq)]


def log_files(folder: Path) -> list[Path]:
    return sorted((folder / "log").glob("*.log"))


def files_under(folder: Path) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def new_store(folder: Path, *, dim: int = DIM, settings: StoreSettings | None = None) -> PointsStore:
    PointsStore.create(folder / "store.db", cluster_id=CLUSTER, replica_id=REPLICA, dim=dim)
    return open_store(folder, settings=settings)


def open_store(folder: Path, *, settings: StoreSettings | None = None) -> PointsStore:
    return PointsStore.open(folder / "store.db", cluster_id=CLUSTER, replica_id=REPLICA, settings=settings or StoreSettings(readers=2))


def columns(ids: Sequence[PointId], *, salt: float = 0.0, payloads: Sequence[bytes | None] | None = None, dim: int = DIM) -> PointColumns:
    vectors = np.array([[salt + at + step / 10 for step in range(dim)] for at in range(len(ids))], dtype=np.float32)
    return PointColumns(ids=id_array(ids), vectors=vectors.reshape(len(ids), dim), payloads=None if payloads is None else tuple(payloads))


def upsert(seq: int, ids: Sequence[PointId], *, salt: float = 0.0, request: RequestId | None = None) -> PutRows:
    payloads = [f'{{"salt":{salt}}}'.encode() if at % 2 == 0 else None for at in range(len(ids))]
    return PutRows(seq=Seq(seq), columns=columns(ids, salt=salt, payloads=payloads), request=_entry(request))


def delete(seq: int, ids: Sequence[PointId], *, request: RequestId | None = None) -> RemoveRows:
    return RemoveRows(seq=Seq(seq), ids=id_array(ids), request=_entry(request))


def _entry(request: RequestId | None) -> RequestEntry | None:
    return None if request is None else RequestEntry(request_id=request, time_ms=1_700_000_000_000)
