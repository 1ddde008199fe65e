"""Checks the log of a replica: chain, watermark, terms, and whether its records can be decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shoal.core.errors import DataLoss, ShoalError
from shoal.core.ids import ClusterId, ReplicaId, Seq, Term
from shoal.core.point_change import CHANGED_PAYLOADS, check_update
from shoal.shard_worker.fsck.finding import Findings
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.replica.packed_rows import check_packed_rows, check_vector_change
from shoal.shard_worker.storage.durable import TEMPORARY_SUFFIX
from shoal.shard_worker.storage.log.file import LogIdentity
from shoal.shard_worker.storage.log.opening import verify_log_files
from shoal.shard_worker.storage.log.watermark import Watermark, load_watermark
from shoal.shard_worker.storage.store.meta_table import StoreIdentity
from shoal.wire.point_bytes import points_from_bytes
from shoal.wire.records import exact_delete_of_body, ids_of_body, update_of_body

LOST = "acknowledged writes may be lost here: keep the folder, restore the replica from a copy"


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFigures:
    """Figures of the log. first, last: seqs; last_term: of the last record; bytes: of all files."""

    first: int = 0
    last: int = 0
    last_term: int = 0
    records: int = 0
    bytes: int = 0


class LogCheck:
    """Checks one log. applied_seq: of the store; store: tells of what its vectors are made. Both are None if it cannot
    be read."""

    def __init__(
        self,
        folder: Path,
        *,
        cluster_id: ClusterId,
        replica_id: ReplicaId,
        applied_seq: Seq | None,
        store: StoreIdentity | None,
        findings: Findings,
    ) -> None:
        self._folder = folder
        self._identity = LogIdentity(cluster_id=cluster_id, replica_id=replica_id)
        self._applied_seq, self._store = applied_seq, store
        self._findings = findings
        self._records = 0

    def run(self) -> LogFigures:
        """Read everything and note everything that is wrong."""
        for leftover in sorted((self._folder / "log").glob(f"*{TEMPORARY_SUFFIX}")):
            self._findings.warning(
                leftover, "", "a file that a crash left half written", "nothing: it is removed when the replica is opened"
            )
        watermark = self._watermark()
        if watermark is None:
            return LogFigures()
        # without a store, the log must only fit its own watermark
        applied_seq = Seq(watermark.kept_from - 1) if self._applied_seq is None else self._applied_seq
        try:
            log = verify_log_files(self._folder / "log", self._identity, watermark, applied_seq, self._see)
        except DataLoss as error:
            self._findings.damage(self._folder / "log", "", error.message, LOST)
            return LogFigures(records=self._records)
        except ShoalError as error:
            self._findings.unchecked(self._folder / "log", error.message, "see the message")
            return LogFigures(records=self._records)
        if log.torn_bytes:
            self._findings.warning(
                log.files[-1].path,
                f"offset {log.extents[-1].good_bytes}",
                f"{log.torn_bytes} bytes of a write that a crash interrupted before it was acknowledged",
                "nothing: they are cut when the replica is opened",
            )
        return LogFigures(
            first=log.files[0].first_seq if self._records else 0,
            last=log.end.seq,
            last_term=log.end.term,
            records=self._records,
            bytes=sum(extent.total_bytes for extent in log.extents),
        )

    def check_known_term(self, known: Term, log: LogFigures) -> None:
        """Note damage if a record has a higher term than `known`: a term is made durable before its first record."""
        if log.last_term > known:
            self._findings.damage(
                self._folder / "replica.json",
                "known_term",
                f"it says that term {known} is the highest seen, but the log has records of term {log.last_term}",
                "an older copy of the file was put back: keep the folder, restore the replica from a copy",
            )

    def _watermark(self) -> Watermark | None:
        path = self._folder / "watermark.json"
        try:
            return load_watermark(path)
        except DataLoss as error:
            self._findings.damage(path, "", error.message, "the log's end cannot be trusted without it: restore the replica from a copy")
        except ShoalError as error:
            self._findings.unchecked(path, error.message, "see the message")
        return None

    def _see(self, path: Path, record: Record) -> None:
        self._records += 1
        reason = _why_unreadable(record, self._store)
        if reason:
            self._findings.damage(path, f"seq {record.seq}", f"the record's crc is right but its content cannot be read: {reason}", LOST)


def _why_unreadable(record: Record, store: StoreIdentity | None) -> str:
    """Return why the record could not be applied, as text; "" if it can."""
    try:
        match record.kind:
            case RecordKind.NOOP:
                return "" if not record.body else f"a no-op has a body of {len(record.body)} bytes"
            case RecordKind.UPSERT:
                points = points_from_bytes(record.body)
                if store is not None and points.vectors.shape[1] != store.dim:
                    return f"its vectors have dimension {points.vectors.shape[1]}, the store has {store.dim}"
                if store is not None and store.vectors:
                    check_packed_rows(points.vectors, store.dims)
            case RecordKind.DELETE:
                ids_of_body(record.body)
            case RecordKind.DELETE_ROWS:
                exact_delete_of_body(record.body)
            case RecordKind.UPDATE:
                update = update_of_body(record.body)
                if store is not None:
                    check_update(update, store.dim, CHANGED_PAYLOADS)
                    check_vector_change(update.change, store.dims)
    except Exception as error:
        # any error of the decoders means that these bytes are not a record of this kind
        return f"{type(error).__name__}: {error}"
    return ""
