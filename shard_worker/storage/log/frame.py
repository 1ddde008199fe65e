"""The encoding of one record in a log file: a frame that can be checked alone and in its chain.

    frame    magic (4)  payload length (4)  previous crc (4)  crc (4)  payload
    payload  seq (8)  term (8)  kind (1)  time_ms (8)  client length (2)  request number (8)  client (UTF-8)  body

All integers are little-endian. The crc covers seed, payload length, previous crc and payload. The seed is derived from
the cluster and the replica. So a frame of another log, or a frame forged inside a body, is not taken for a frame of
this log.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from shoal.core.errors import DataLoss, PreconditionFailed, ResourceExhausted
from shoal.core.ids import ClusterId, ReplicaId, RequestId, Seq, Term
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.storage.checksum import crc32c

MAX_PAYLOAD_BYTES = 128 * 1024 * 1024
"""Part of the format: a larger length in a file is damage, and a larger record is refused."""

_MAGIC = b"\xffSR\xfe"
_FRAME = struct.Struct("<4sIII")
_CHAINED = struct.Struct("<II")
_RECORD = struct.Struct("<QQBqHQ")
_NO_CLIENT = 0xFFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A frame whose crc is right. size_bytes: of the whole frame."""

    record: Record
    previous_crc: int
    crc: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedGroup:
    """Frames of consecutive records.

    pieces: their bytes, in order; size_bytes: of all pieces; last_crc: the crc that the next frame continues.
    """

    pieces: tuple[bytes, ...]
    size_bytes: int
    last_crc: int


def chain_seed(cluster_id: ClusterId, replica_id: ReplicaId) -> int:
    """Return the start value of every crc in one replica's log."""
    return crc32c(f"{cluster_id}\0{replica_id}".encode())


def encode_group(records: Sequence[Record], previous_crc: int, seed: int) -> EncodedGroup:
    """Encode the records as frames, chained after `previous_crc`. Their bodies are not copied.

    Raises ResourceExhausted if a record is too large.
    """
    parts: list[bytes] = []
    crc = previous_crc
    for record in records:
        head = _payload_head(record)
        length = len(head) + len(record.body)
        if length > MAX_PAYLOAD_BYTES:
            raise ResourceExhausted(f"record {record.seq} has {length} bytes, a log takes at most {MAX_PAYLOAD_BYTES}")
        previous, crc = crc, _crc(seed, length, crc, head, record.body)
        parts += (_FRAME.pack(_MAGIC, length, previous, crc), head, record.body)
    return EncodedGroup(pieces=tuple(parts), size_bytes=sum(map(len, parts)), last_crc=crc)


def read_frame(stream: BinaryIO, seed: int) -> Frame | None:
    """Read the frame at the stream's position and move behind it. Return None if there is no whole and valid frame.

    Raises DataLoss for a frame whose crc is right but whose content is not of this format, PreconditionFailed for a
    record of a kind that only a newer version knows, OSError from the stream.
    """
    head = stream.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    magic, length, previous_crc, crc = _FRAME.unpack(head)
    if magic != _MAGIC or not _RECORD.size <= length <= MAX_PAYLOAD_BYTES:
        return None
    payload = stream.read(length)
    if len(payload) < length or _crc(seed, length, previous_crc, payload) != crc:
        return None
    return Frame(record=_record(payload), previous_crc=previous_crc, crc=crc, size_bytes=_FRAME.size + length)


def holds_frame(data: bytes, seed: int) -> bool:
    """Return whether a valid frame begins anywhere in `data`."""
    stream = io.BytesIO(data)
    at = data.find(_MAGIC)
    while at >= 0:
        stream.seek(at)
        if read_frame(stream, seed) is not None:
            return True
        at = data.find(_MAGIC, at + 1)
    return False


def _crc(seed: int, length: int, previous_crc: int, *payload: bytes) -> int:
    crc = crc32c(_CHAINED.pack(length, previous_crc), seed)
    for part in payload:
        crc = crc32c(part, crc)
    return crc


def _payload_head(record: Record) -> bytes:
    request = record.request_id
    if request is None:
        return _RECORD.pack(record.seq, record.term, record.kind, record.time_ms, _NO_CLIENT, 0)
    client = request.client.encode("utf-8")
    if len(client) >= _NO_CLIENT:
        raise ResourceExhausted(f"client name of record {record.seq} has {len(client)} bytes, a log takes less than {_NO_CLIENT}")
    return _RECORD.pack(record.seq, record.term, record.kind, record.time_ms, len(client), request.number) + client


def _record(payload: bytes) -> Record:
    seq, term, kind, time_ms, client_bytes, number = _RECORD.unpack_from(payload)
    body_at = _RECORD.size + (0 if client_bytes == _NO_CLIENT else client_bytes)
    try:
        client = payload[_RECORD.size : body_at].decode("utf-8")
    except ValueError as error:
        raise DataLoss(f"record {seq} has a right crc but cannot be decoded: {error}") from None
    try:
        known_kind = RecordKind(kind)
    except ValueError:
        raise PreconditionFailed(
            f"record {seq} is of kind {kind}, which this version of Shoal does not know: a newer one wrote it; run that one again"
        ) from None
    return Record(
        term=Term(term),
        seq=Seq(seq),
        kind=known_kind,
        time_ms=time_ms,
        request_id=None if client_bytes == _NO_CLIENT else RequestId(client, number),
        body=payload[body_at:],
    )
