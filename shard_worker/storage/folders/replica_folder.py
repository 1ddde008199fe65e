"""The folder of one replica: its identity, its known term, and the places of its log, store and index files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.core.errors import DataLoss, Internal
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, ShardId, Term
from shoal.runtime.fault_points import fault_point
from shoal.shard_worker.storage.durable import make_folder
from shoal.shard_worker.storage.failure import write_failure
from shoal.shard_worker.storage.log.log import ReplicaLog
from shoal.shard_worker.storage.sealed_json import check_cluster, read_sealed, write_sealed
from shoal.shard_worker.storage.store.meta_table import VectorDims
from shoal.shard_worker.storage.store.points_store import PointsStore

_FIELDS: dict[str, type[int] | type[str]] = {
    "cluster_id": str,
    "collection": str,
    "shard": int,
    "replica_id": str,
    "known_term": int,
}


@dataclass(frozen=True, order=True, slots=True)
class ReplicaRef:
    """Names one replica folder of a worker."""

    shard: ShardId
    replica_id: ReplicaId

    def __str__(self) -> str:
        return f"{self.shard}/{self.replica_id}"


class ReplicaFolder:
    """An existing replica folder. Only one writer may save the known term."""

    def __init__(self, *, path: Path, cluster_id: ClusterId, ref: ReplicaRef, known_term: Term) -> None:
        self.path = path
        self.cluster_id = cluster_id
        self.ref = ref
        self._known_term = known_term

    @classmethod
    def load(cls, path: Path, *, cluster_id: ClusterId, ref: ReplicaRef) -> ReplicaFolder:
        """Read and check `replica.json`.

        Raises DataLoss if it is missing, damaged or of another replica; PreconditionFailed for a newer format or
        another cluster.
        """
        file = path / "replica.json"
        document = read_sealed(file, _FIELDS)
        check_cluster(file, document["cluster_id"], cluster_id)
        found = ReplicaRef(ShardId(CollectionId(document["collection"]), document["shard"]), ReplicaId(document["replica_id"]))
        if found != ref:
            raise DataLoss(f"{file} belongs to replica {found}, its folder to {ref}")
        return cls(path=path, cluster_id=cluster_id, ref=ref, known_term=Term(document["known_term"]))

    @property
    def known_term(self) -> Term:
        """Return the highest term that this replica has seen and made durable."""
        return self._known_term

    @property
    def store_path(self) -> Path:
        """Return the path of the store (PointsStore.open)."""
        return self.path / "store.db"

    @property
    def segments_path(self) -> Path:
        """Return the folder of the index files (SegmentFiles)."""
        return self.path / "segments"

    def save_known_term(self, term: Term) -> None:
        """Make a term durable. Raises Internal if it is lower than the known one, StorageFailed."""
        if term < self._known_term:
            raise Internal(f"replica {self.ref} knows term {self._known_term} and cannot go back to {term}")
        fault_point("term.save")
        write_identity(self.path, cluster_id=self.cluster_id, ref=self.ref, known_term=term)
        fault_point("term.saved")
        self._known_term = term


def fill_replica_folder(path: Path, *, cluster_id: ClusterId, ref: ReplicaRef, dim: int, vectors: VectorDims = ()) -> None:
    """Create the content of an empty replica folder at `path`, durable file by file. dim, vectors: see StoreIdentity.

    Raises StorageFailed.
    """
    try:
        make_folder(path / "segments")
    except OSError as error:
        raise write_failure(error, f"replica folder {path}") from error
    ReplicaLog.create(path, cluster_id=cluster_id, replica_id=ref.replica_id).close()
    PointsStore.create(path / "store.db", cluster_id=cluster_id, replica_id=ref.replica_id, dim=dim, vectors=vectors)
    write_identity(path, cluster_id=cluster_id, ref=ref, known_term=Term(0))


def write_identity(path: Path, *, cluster_id: ClusterId, ref: ReplicaRef, known_term: Term) -> None:
    """Durably write the identity of the replica into the folder at `path`. Raises StorageFailed."""
    write_sealed(path / "replica.json", _document(cluster_id, ref, known_term))


def _document(cluster_id: ClusterId, ref: ReplicaRef, known_term: Term) -> dict[str, Any]:
    return {
        "cluster_id": cluster_id,
        "collection": ref.shard.collection,
        "shard": ref.shard.number,
        "replica_id": ref.replica_id,
        "known_term": known_term,
    }
