"""One file of a log: its name, its header, and reading its frames in order.

    header   magic (8)  format (4)  header length (4)  first seq (8)  previous term (8)  previous crc (4)
             cluster id length (2)  replica id length (2)  cluster id  replica id  crc (4)

All integers are little-endian. Magic, format, length and the crc at the header's end keep their places in every format,
so a newer format can be distinguished from damage.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.core.ids import ClusterId, ReplicaId, Seq, Term
from shoal.shard_worker.storage.checksum import crc32c
from shoal.shard_worker.storage.durable import flush, write_durably
from shoal.shard_worker.storage.log.frame import Frame, chain_seed, read_frame
from shoal.shard_worker.storage.sealed_json import check_cluster, check_format

LOG_FORMAT = 1

_MAGIC = b"SHOALLOG"
_PREFIX = struct.Struct("<8sII")
_FIXED = struct.Struct("<QQIHH")
_CRC = struct.Struct("<I")
_MAX_HEADER_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class LogIdentity:
    """The cluster and the replica that a log belongs to."""

    cluster_id: ClusterId
    replica_id: ReplicaId

    @property
    def seed(self) -> int:
        """Return the start value of every crc in this log."""
        return chain_seed(self.cluster_id, self.replica_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainEnd:
    """Where a chain of records ends: term, seq and crc of its last record."""

    term: Term
    seq: Seq
    crc: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFile:
    """One file of a log.

    before: end of the chain that this file continues; header_bytes: offset of its first frame.
    """

    path: Path
    before: ChainEnd
    header_bytes: int

    @property
    def first_seq(self) -> Seq:
        """Return the seq of the file's first record, even if the file holds no record yet."""
        return Seq(self.before.seq + 1)


def create_log_file(folder: Path, identity: LogIdentity, before: ChainEnd) -> LogFile:
    """Create a durable file without records.

    The file appears with its whole header, so a crash cannot leave a damaged header. Raises OSError.
    """
    path = folder / f"{before.seq + 1:020d}.log"
    header = _encode_header(identity, before)
    write_durably(path, header)
    return LogFile(path=path, before=before, header_bytes=len(header))


def log_paths(folder: Path) -> list[Path]:
    """Return the files of a log, in order. Raises DataLoss if a file has a wrong name; OSError."""
    paths = sorted(folder.glob("*.log"))
    for path in paths:
        if not path.stem.isdecimal() or len(path.stem) != 20:
            raise DataLoss(f"{path} is not named as a file of a log")
    return paths


def read_log_file(path: Path, stream: BinaryIO, identity: LogIdentity) -> LogFile:
    """Read and check the header; the stream then stands at the first frame.

    Raises DataLoss for a damaged header, PreconditionFailed for a newer format or another cluster's or replica's log.
    """
    prefix = stream.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise DataLoss(f"{path}: the header is damaged at offset 0")
    magic, version, header_bytes = _PREFIX.unpack(prefix)
    if magic != _MAGIC or not _PREFIX.size + _CRC.size <= header_bytes <= _MAX_HEADER_BYTES:
        raise DataLoss(f"{path}: the header is damaged at offset 0")
    rest = stream.read(header_bytes - _PREFIX.size)
    if len(rest) < header_bytes - _PREFIX.size or _CRC.pack(crc32c(prefix + rest[: -_CRC.size])) != rest[-_CRC.size :]:
        raise DataLoss(f"{path}: the header is damaged at offset 0")
    check_format(path, version, LOG_FORMAT)
    before = _decode_header(path, rest, identity)
    if path.stem != f"{before.seq + 1:020d}":
        raise DataLoss(f"{path}: the header says that it begins with seq {before.seq + 1}")
    return LogFile(path=path, before=before, header_bytes=header_bytes)


def walk_frames(stream: BinaryIO, end: ChainEnd, seed: int) -> Iterator[Frame]:
    """Yield frames from the stream's position on, as long as each is valid and continues the chain after `end`.

    Raises OSError.
    """
    while (frame := read_frame(stream, seed)) is not None and continues(frame, end):
        yield frame
        end = end_of(frame)


def continues(frame: Frame, end: ChainEnd) -> bool:
    """Return whether the frame is the next one of the chain."""
    return frame.previous_crc == end.crc and frame.record.seq == end.seq + 1 and frame.record.term >= end.term


def end_of(frame: Frame) -> ChainEnd:
    """Return the end of a chain whose last frame is `frame`."""
    return ChainEnd(term=frame.record.term, seq=frame.record.seq, crc=frame.crc)


def make_tail_durable(path: Path, proven_bytes: int, good_bytes: int) -> None:
    """Cut the file after `good_bytes` and make the bytes from `proven_bytes` on durable. Raises OSError.

    These bytes are written again before the flush: after a failed flush, the kernel may mark pages as clean that never
    reached the disk. A flush alone would then report success for lost bytes.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, good_bytes)
        for at in range(proven_bytes, good_bytes, 1 << 20):
            data = os.pread(descriptor, min(1 << 20, good_bytes - at), at)
            if os.pwrite(descriptor, data, at) != min(1 << 20, good_bytes - at):
                raise OSError(f"short write at offset {at}")
        flush(descriptor)
    finally:
        os.close(descriptor)


def _encode_header(identity: LogIdentity, before: ChainEnd) -> bytes:
    cluster, replica = identity.cluster_id.encode("utf-8"), identity.replica_id.encode("utf-8")
    fixed = _FIXED.pack(before.seq + 1, before.term, before.crc, len(cluster), len(replica))
    header_bytes = _PREFIX.size + len(fixed) + len(cluster) + len(replica) + _CRC.size
    checked = _PREFIX.pack(_MAGIC, LOG_FORMAT, header_bytes) + fixed + cluster + replica
    return checked + _CRC.pack(crc32c(checked))


def _decode_header(path: Path, rest: bytes, identity: LogIdentity) -> ChainEnd:
    first_seq, previous_term, previous_crc, cluster_bytes, replica_bytes = _FIXED.unpack_from(rest)
    cluster_at, replica_at = _FIXED.size, _FIXED.size + cluster_bytes
    check_cluster(path, rest[cluster_at:replica_at].decode("utf-8"), identity.cluster_id)
    replica = rest[replica_at : replica_at + replica_bytes].decode("utf-8")
    if replica != identity.replica_id:
        raise PreconditionFailed(f"{path} belongs to replica {replica}, not to {identity.replica_id}")
    return ChainEnd(term=Term(previous_term), seq=Seq(first_seq - 1), crc=previous_crc)
