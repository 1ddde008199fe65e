"""Checks one replica from end to end: identity, log, store, segments, in this order. Only reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shoal.core.errors import DataLoss, PreconditionFailed, ShoalError
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, Seq, ShardId
from shoal.shard_worker.fsck.finding import Figures, Findings, Reference, ReplicaReport
from shoal.shard_worker.fsck.log_check import LogCheck
from shoal.shard_worker.fsck.segment_check import SegmentsCheck
from shoal.shard_worker.fsck.store_check import StoreCheck
from shoal.shard_worker.fsck.targets import Target
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder, ReplicaRef
from shoal.shard_worker.storage.sealed_json import read_sealed
from shoal.shard_worker.storage.store.inspection import StoreInspection
from shoal.shard_worker.storage.store.meta_table import Counters, StoreIdentity

IDENTITY = "the folder's files are not of one replica: restore the replica from a copy"
SEE = "see the message"

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Identity:
    cluster_id: ClusterId
    replica_id: ReplicaId


def check_worker(worker: Path) -> tuple[Findings, ClusterId | None]:
    """Check the identity of a data folder. Return the findings and its cluster, None if unknown."""
    findings, path = Findings(), worker / "worker.json"
    if not path.exists() and (worker / "lock").exists() and not any(worker.glob("*/*/*/replica.json")):
        return findings, None
    try:
        return findings, ClusterId(read_sealed(path, {"cluster_id": str, "worker_id": str})["cluster_id"])
    except DataLoss as error:
        findings.damage(path, "", error.message, "the worker does not start without it: restore the file from a copy")
    except ShoalError as error:
        findings.unchecked(path, error.message, SEE)
    return findings, None


def check_replica(target: Target, cluster_id: ClusterId | None, progress: Progress) -> ReplicaReport:
    """Check everything in one replica folder.

    cluster_id: of its worker, None if unknown. progress: called with a text about the progress.
    """
    findings = Findings()
    known = _load_identity(target.replica, cluster_id, findings)
    figures = Figures() if known is None else _checked(known, findings, progress)
    return ReplicaReport(
        path=str(target.replica),
        replica="/".join(target.replica.parts[-3:]),
        figures=figures,
        findings=tuple(findings),
        unshown=findings.unshown,
        ref=None if known is None else _reference(known),
    )


def _reference(known: ReplicaFolder) -> Reference:
    shard = known.ref.shard
    return Reference(cluster=known.cluster_id, shard=f"{shard.collection}/{shard.number}", replica=known.ref.replica_id)


def _checked(known: ReplicaFolder, findings: Findings, progress: Progress) -> Figures:
    folder = known.path
    figures = Figures(known_term=known.known_term)
    identity = _Identity(cluster_id=known.cluster_id, replica_id=known.ref.replica_id)
    try:
        with StoreInspection.opened(known.store_path) as store:
            meta, counters = store.identity(cluster_id=identity.cluster_id, replica_id=identity.replica_id), store.counters()
            figures = replace(figures, points=counters.points, applied_seq=counters.applied_seq)
            figures = _check_log(folder, known, identity, counters.applied_seq, meta, figures, findings, progress)
            return _check_store(known, store, meta, counters, figures, findings, progress)
    except (DataLoss, PreconditionFailed) as error:
        findings.damage(known.store_path, "", error.message, "restore the replica from a copy")
    except ShoalError as error:
        findings.unchecked(known.store_path, error.message, SEE)
    return _check_log(folder, known, identity, None, None, figures, findings, progress)


def _load_identity(folder: Path, cluster_id: ClusterId | None, findings: Findings) -> ReplicaFolder | None:
    path = folder / "replica.json"
    try:
        document = read_sealed(path, {"cluster_id": str, "collection": str, "shard": int, "replica_id": str, "known_term": int})
        found = ReplicaRef(ShardId(CollectionId(document["collection"]), document["shard"]), ReplicaId(document["replica_id"]))
        return ReplicaFolder.load(folder, cluster_id=cluster_id or ClusterId(document["cluster_id"]), ref=_ref_of(folder, found))
    except (DataLoss, PreconditionFailed) as error:
        findings.damage(path, "", error.message, IDENTITY)
    except ShoalError as error:
        findings.unchecked(path, error.message, SEE)
    return None


def _ref_of(folder: Path, found: ReplicaRef) -> ReplicaRef:
    """Return the replica that the folder's path names; for a folder that was copied elsewhere, return `found`."""
    shard, collection = folder.parent, folder.parent.parent
    if not shard.name.isdecimal() or not (collection.parent / "worker.json").exists():
        return found
    return ReplicaRef(ShardId(CollectionId(collection.name), int(shard.name)), ReplicaId(folder.name))


def _check_log(
    folder: Path,
    known: ReplicaFolder,
    identity: _Identity,
    applied_seq: Seq | None,
    store: StoreIdentity | None,
    figures: Figures,
    findings: Findings,
    progress: Progress,
) -> Figures:
    progress("reading the log")
    check = LogCheck(
        folder, cluster_id=identity.cluster_id, replica_id=identity.replica_id, applied_seq=applied_seq, store=store, findings=findings
    )
    log = check.run()
    check.check_known_term(known.known_term, log)
    return replace(figures, log_first=log.first, log_last=log.last, log_records=log.records, bytes=figures.bytes + log.bytes)


def _check_store(
    known: ReplicaFolder,
    store: StoreInspection,
    meta: StoreIdentity,
    counters: Counters,
    figures: Figures,
    findings: Findings,
    progress: Progress,
) -> Figures:
    check = StoreCheck(known.store_path, store, meta, counters, findings, progress)
    check.tables()
    segments = SegmentsCheck(known.segments_path, meta, findings)
    entries = check.segments()
    if entries is not None:
        progress("hashing and loading segments")
        segments.files(entries)
    digests = check.points(segments.see)
    held = segments.finish()
    return replace(
        figures,
        requests=check.requests(),
        segments=held.segments,
        sealed_rows=held.sealed_rows,
        growing_rows=held.growing_rows,
        bytes=figures.bytes + held.bytes + known.store_path.stat().st_size,
        digest=digests.digest,
        content=digests.content,
    )
