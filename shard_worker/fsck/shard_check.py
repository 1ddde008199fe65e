"""Compares the replicas of a shard, if several were checked. Only reads, and only files that were found whole before.

Compares the applied state of each replica: later records in its log may not be committed. The replicas are sorted by
their applied seq, and each is compared with the next one: a difference between two replicas shows between some two
neighbours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from shoal.core.errors import DataLoss, ShoalError
from shoal.core.ids import ClusterId, ReplicaId, Seq
from shoal.core.points import PointId
from shoal.shard_worker.fsck.agreement import Agreement, Comparison
from shoal.shard_worker.fsck.finding import Findings, Reference, ReplicaReport
from shoal.shard_worker.fsck.store_check import version_of
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.storage.log.file import LogIdentity
from shoal.shard_worker.storage.log.opening import verify_log_files
from shoal.shard_worker.storage.log.watermark import load_watermark
from shoal.shard_worker.storage.store.inspection import StoredPoint, StoreInspection
from shoal.wire.point_bytes import points_from_bytes
from shoal.wire.records import exact_delete_of_body, ids_of_body, update_of_body

DIFFER = (
    "replicas of one shard must not differ: report it and keep the folders. `shoal status` names the replicas that count; a replica "
    "that --accept-data-loss left behind does not count, and may differ"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """The comparison of the replicas of one shard. shard: collection id/number; lines: results as text."""

    shard: str
    lines: tuple[str, ...]


def compare_replicas(reports: Sequence[ReplicaReport]) -> tuple[list[Compared], Findings]:
    """Compare the replicas of each shard that has several among the reports."""
    findings, found = Findings(), list[Compared]()
    for (_, shard), replicas in sorted(_by_shard(reports).items()):
        if len(replicas) > 1:
            found.append(Compared(shard=shard, lines=tuple(_compare(shard, replicas, findings))))
    return found, findings


@dataclass(frozen=True, kw_only=True, slots=True)
class _Replica:
    """A checked replica. name: its name in the comparison."""

    name: str
    ref: Reference
    report: ReplicaReport

    @property
    def applied(self) -> int:
        return self.report.figures.applied_seq


def _by_shard(reports: Sequence[ReplicaReport]) -> dict[tuple[str, str], list[_Replica]]:
    refs = [report.ref.replica for report in reports if report.ref is not None]
    shards: dict[tuple[str, str], list[_Replica]] = {}
    for report in reports:
        if report.ref is not None:
            name = report.ref.replica if refs.count(report.ref.replica) == 1 else report.path
            shards.setdefault((report.ref.cluster, report.ref.shard), []).append(_Replica(name=name, ref=report.ref, report=report))
    return shards


def _compare(shard: str, replicas: Sequence[_Replica], findings: Findings) -> Iterator[str]:
    for each in replicas:
        if not each.report.figures.digest:
            yield f"{each.name} is not compared: not every point of it can be read"
    whole = sorted((each for each in replicas if each.report.figures.digest), key=lambda each: (each.applied, each.name))
    for behind, ahead in pairwise(whole):
        try:
            yield _said(behind, ahead, _pair(shard, behind, ahead, findings))
        except ShoalError as error:
            findings.unchecked(ahead.report.path, f"it could not be compared with {behind.name}: {error.message}", "see the message")


def _pair(shard: str, behind: _Replica, ahead: _Replica, findings: Findings) -> Agreement:
    one, other = behind.report.figures, ahead.report.figures
    if (one.applied_seq, one.content) == (other.applied_seq, other.content):
        return Agreement(compared=one.points, changed=0, untold=0, differing=0, named=())
    held = {point.id: version_of(point) for point in _points(behind)}
    comparison = Comparison(held, behind.applied, _named_since(ahead, behind.applied))
    for point in _points(ahead):
        comparison.see(point.id, version_of(point))
    agreement = comparison.finish()
    if agreement.differing:
        named = "; ".join(f"id {point_id!r}: {how}" for point_id, how in agreement.named)
        findings.damage(
            ahead.report.path,
            f"shard {shard}",
            f"replica {_at(ahead)} differs from {_at(behind)} ({behind.report.path}) in {agreement.differing} points: {named}",
            DIFFER,
        )
    return agreement


def _said(behind: _Replica, ahead: _Replica, agreement: Agreement) -> str:
    verb = f"differ in {agreement.differing} of" if agreement.differing else "agree in"
    parts = [f"{_at(behind)} and {_at(ahead)} {verb} {agreement.compared} points"]
    if agreement.changed:
        parts.append(f"{agreement.changed} were written or removed after record {behind.applied} and are not compared")
    if agreement.untold:
        parts.append(
            f"{agreement.untold} that only {behind.name} has were removed since or are lost; it is unknown which, since the log of "
            f"{ahead.name} no longer has the records after {behind.applied}"
        )
    return "; ".join(parts)


def _at(replica: _Replica) -> str:
    return f"{replica.name} (applied {replica.applied})"


def _points(replica: _Replica) -> Iterator[StoredPoint]:
    path = Path(replica.report.path) / "store.db"
    with StoreInspection.opened(path) as store:
        identity = store.identity(cluster_id=ClusterId(replica.ref.cluster), replica_id=ReplicaId(replica.ref.replica))
        for chunk in store.points(identity, store.counters()):
            for point in chunk:
                if not isinstance(point, StoredPoint):
                    raise DataLoss(f"row {point.row} of {path} can no longer be read: {point.reason}")
                yield point


def _named_since(replica: _Replica, seq: int) -> Collection[PointId] | None:
    """Return the ids in the applied records after `seq`; None if the log does not have all of these records."""
    figures, folder = replica.report.figures, Path(replica.report.path)
    if seq == figures.applied_seq:
        return frozenset()
    if not figures.log_records or figures.log_first > seq + 1 or figures.log_last < figures.applied_seq:
        return None
    named: set[PointId] = set()

    def see(_: Path, record: Record) -> None:
        if seq < record.seq <= figures.applied_seq:
            named.update(_ids_of(record))

    identity = LogIdentity(cluster_id=ClusterId(replica.ref.cluster), replica_id=ReplicaId(replica.ref.replica))
    verify_log_files(folder / "log", identity, load_watermark(folder / "watermark.json"), Seq(figures.applied_seq), see)
    return named


def _ids_of(record: Record) -> Sequence[PointId]:
    match record.kind:
        case RecordKind.NOOP:
            return []
        case RecordKind.UPSERT:
            ids = points_from_bytes(record.body).ids
        case RecordKind.DELETE:
            ids = ids_of_body(record.body)
        case RecordKind.DELETE_ROWS:
            ids, _ = exact_delete_of_body(record.body)
        case RecordKind.UPDATE:
            ids = update_of_body(record.body).ids
    found: list[PointId] = ids.tolist()
    return found
