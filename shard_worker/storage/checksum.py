"""crc32c (Castagnoli) of bytes and of table rows, sha256 of files. The only module that calls google_crc32c."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from shoal.core.points import IdArray, PointId

NO_PART = -1

_POINT = struct.Struct("<qqqqBq")
_KEY = struct.Struct("<qBq")
_INTEGER, _TEXT, _BYTES, _NULL = 0, 1, 2, 3
_VALUE = struct.Struct("<Bq")

_POINTS = np.dtype([("row", "<i8"), ("seq", "<i8"), ("payload_crc", "<i8"), ("vector_crc", "<i8"), ("kind", "u1"), ("id", "<i8")])
"""_POINT of many points at a time."""

_KEYS = np.dtype([("row", "<i8"), ("kind", "u1"), ("id", "<i8")])
"""_KEY of many points at a time."""


def crc32c(data: bytes, start: int = 0) -> int:
    """Return the crc32c of `data`, continued from the crc `start` of the preceding bytes. Unsigned 32 bits."""
    return int(google_crc32c.extend(start, data))


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, lower-case hex. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def part_crc(data: bytes | None) -> int:
    """Return the crc32c of a payload or a vector; NO_PART for None."""
    return NO_PART if data is None else int(google_crc32c.value(data))


def point_crc(row: int, point_id: PointId, seq: int, payload_crc: int, vector_crc: int) -> int:
    """Return the crc32c over everything that a row of `points` holds.

    Payload and vector enter with their own crcs, so that each of them can be read and checked alone.
    """
    if isinstance(point_id, str):
        text = point_id.encode("utf-8")
        return int(google_crc32c.value(_POINT.pack(row, seq, payload_crc, vector_crc, _TEXT, len(text)) + text))
    return int(google_crc32c.value(_POINT.pack(row, seq, payload_crc, vector_crc, _INTEGER, point_id)))


def part_crcs(parts: Iterable[bytes | None]) -> list[int]:
    """Return part_crc of each part."""
    crc = google_crc32c.value
    return [NO_PART if part is None else crc(part) for part in parts]


def point_crcs(rows: range, ids: IdArray, seq: int, payload_crcs: Sequence[int], vector_crcs: Sequence[int]) -> list[int]:
    """Return point_crc of each point of one record. ids: (n,); rows: n row numbers."""
    if ids.dtype == object:
        return list(map(point_crc, rows, ids.tolist(), repeat(seq), payload_crcs, vector_crcs))
    packed = np.empty(len(rows), dtype=_POINTS)
    packed["row"], packed["id"] = np.arange(rows.start, rows.stop), ids
    packed["seq"], packed["kind"] = seq, _INTEGER
    packed["payload_crc"], packed["vector_crc"] = payload_crcs, vector_crcs
    return _crcs(packed)


def key_crcs(rows: range, ids: IdArray) -> list[int]:
    """Return key_crc of each point. ids: (n,); rows: n row numbers."""
    if ids.dtype == object:
        return list(map(key_crc, rows, ids.tolist()))
    packed = np.empty(len(rows), dtype=_KEYS)
    packed["row"], packed["id"], packed["kind"] = np.arange(rows.start, rows.stop), ids, _INTEGER
    return _crcs(packed)


def _crcs(packed: npt.NDArray[np.void]) -> list[int]:
    """Return the crc of each element's bytes."""
    return list(map(google_crc32c.value, packed.view(f"V{packed.itemsize}").tolist()))


def key_crc(row: int, point_id: PointId) -> int:
    """Return the crc32c over a row number and the id of its point, the content of the index on id."""
    if isinstance(point_id, str):
        return int(google_crc32c.value(_KEY.pack(row, _TEXT, 0) + point_id.encode("utf-8")))
    return int(google_crc32c.value(_KEY.pack(row, _INTEGER, point_id)))


def values_crc(values: Iterable[int | str | bytes | None]) -> int:
    """Return the crc32c over the values of a row of a small table. Raises TypeError for a value of another type."""
    return crc32c(b"".join(_tagged(value) for value in values))


def _tagged(value: int | str | bytes | None) -> bytes:
    match value:
        case None:
            return _VALUE.pack(_NULL, 0)
        case int():
            return _VALUE.pack(_INTEGER, value)
        case str():
            text = value.encode("utf-8")
            return _VALUE.pack(_TEXT, len(text)) + text
        case bytes():
            return _VALUE.pack(_BYTES, len(value)) + value
        case _:
            raise TypeError(f"a value of type {type(value).__name__} has no checksum")
