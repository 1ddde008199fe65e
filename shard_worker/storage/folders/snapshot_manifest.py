"""The manifest of a snapshot: the list of its files, sent to the receiver.

Owns the file names that a snapshot may have, so that neither side uses a path that the other one invented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from shoal.core.errors import PreconditionFailed
from shoal.core.ids import ReplicaId, Seq, ShardId, Term

STORE_FILE = "store.db"
SEGMENTS_FOLDER = "segments"
TUNING_FOLDER = "tuning"

MOST_TUNING_BYTES = 32 * 1024 * 1024
"""The largest file of measurements that travels with a snapshot."""

_TUNED = ("queries", "kinds", "given", "recall")
_SNAPSHOT = re.compile(r"[A-Za-z0-9-]{1,64}")
_SEGMENT = re.compile(rf"{SEGMENTS_FOLDER}/[A-Za-z0-9][A-Za-z0-9._@-]{{0,127}}")
_TUNING = re.compile(rf"{TUNING_FOLDER}/(?:[A-Za-z0-9_-]{{1,64}}/)?(?:{'|'.join(_TUNED)})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotFile:
    """One immutable file.

    name: STORE_FILE, or SEGMENTS_FOLDER/ and a segment file's name, or a name as is_tuning knows it; sha256: lower-case
    hex.
    """

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotAsked:
    """The request for a snapshot of a replica.

    move: it is for a move, not for repair: it has a rate of its own; tuning: measurements of searches are wanted, too.
    """

    shard: ShardId
    replica: ReplicaId
    move: bool = False
    tuning: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotManifest:
    """The applied state of a replica.

    snapshot: id of this copy; term, seq: of the last record in it; memory_bytes: that the replica takes at its source,
    0 if unknown.
    """

    snapshot: str
    term: Term
    seq: Seq
    files: tuple[SnapshotFile, ...]
    memory_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size_bytes for file in self.files)


def is_tuning(name: str) -> bool:
    """Return whether a file of this name holds measurements of searches. They can be made again."""
    return _TUNING.fullmatch(name) is not None


def without_odd_tuning(manifest: SnapshotManifest) -> SnapshotManifest:
    """Return the manifest without the files below TUNING_FOLDER that are not used here: of an unknown name, or too
    large. A snapshot is whole without them.
    """
    folders = {file.name.rpartition("/")[0] for file in manifest.files}
    below = f"{TUNING_FOLDER}/"
    files = tuple(file for file in manifest.files if not file.name.startswith(below) or (_is_usable(file) and file.name not in folders))
    return manifest if len(files) == len(manifest.files) else replace(manifest, files=files)


def _is_usable(tuning: SnapshotFile) -> bool:
    sound = is_tuning(tuning.name) and _SHA256.fullmatch(tuning.sha256) is not None
    return sound and 0 <= tuning.size_bytes <= MOST_TUNING_BYTES


def check_keeps_applied(manifest: SnapshotManifest, replica: object, applied_seq: Seq) -> None:
    """Raise PreconditionFailed if the replica has applied a record that the snapshot lacks. replica: for the text."""
    if applied_seq > manifest.seq:
        raise PreconditionFailed(f"replica {replica} has applied seq {applied_seq}, the snapshot ends with {manifest.seq}")


def check_keeps_promises(manifest: SnapshotManifest, replica: object, log_end: tuple[Term, Seq]) -> None:
    """Raise PreconditionFailed if the replica may have acknowledged a record that the snapshot lacks.

    log_end: term and seq of the last record of the replica's log. The replica was open during the download, so it may
    have caught up from another log and be in sync by now.
    """
    term, seq = log_end
    # A committed record after the snapshot follows the snapshot's last record, so its term is not lower. Later records
    # of lower terms were never committed and never will be.
    if seq > manifest.seq and term >= manifest.term:
        raise PreconditionFailed(
            f"the log of replica {replica} ends with seq {seq} of term {term}, the snapshot with {manifest.seq} of term {manifest.term}"
        )


def check_manifest(manifest: SnapshotManifest) -> None:
    """Raise PreconditionFailed for a manifest that no worker of this format sends.

    Names, sizes and hashes are used unchanged, so they are checked here.
    """
    names = [file.name for file in manifest.files]
    if not _SNAPSHOT.fullmatch(manifest.snapshot):
        raise PreconditionFailed(f"{manifest.snapshot!r} cannot name a snapshot")
    if len(set(names)) != len(names) or STORE_FILE not in names:
        raise PreconditionFailed(f"snapshot {manifest.snapshot} names a file twice, or does not name {STORE_FILE}: {names}")
    for file in manifest.files:
        if file.name != STORE_FILE and not _SEGMENT.fullmatch(file.name) and not is_tuning(file.name):
            raise PreconditionFailed(f"{file.name!r} cannot name a file of snapshot {manifest.snapshot}")
        if file.size_bytes < 0 or not _SHA256.fullmatch(file.sha256):
            raise PreconditionFailed(f"{file.name} of snapshot {manifest.snapshot} has {file.size_bytes} bytes and hash {file.sha256!r}")
