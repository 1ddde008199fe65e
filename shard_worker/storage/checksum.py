"""crc32c (Castagnoli) of bytes and of table rows: the only place that calls google_crc32c."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import google_crc32c

from shoal.core.points import PointId

_POINT = struct.Struct("<qqBqq")
_KEY = struct.Struct("<qBq")
_INTEGER, _TEXT, _BYTES, _NULL = 0, 1, 2, 3
_VALUE = struct.Struct("<Bq")


def crc32c(data: bytes, start: int = 0) -> int:
    """crc32c of `data`, continuing from the crc `start` of what precedes it. Unsigned 32 bits."""
    return int(google_crc32c.extend(start, data))


def point_crc(row: int, point_id: PointId, seq: int, payload: bytes | None, vector: bytes) -> int:
    """crc32c over everything a row of `points` holds. Lengths and the kind of the id are part of it."""
    payload_bytes = -1 if payload is None else len(payload)
    if isinstance(point_id, str):
        text = point_id.encode("utf-8")
        head = _POINT.pack(row, seq, _TEXT, len(text), payload_bytes) + text
    else:
        head = _POINT.pack(row, seq, _INTEGER, point_id, payload_bytes)
    return int(google_crc32c.value(b"".join((head, payload or b"", vector))))


def key_crc(row: int, point_id: PointId) -> int:
    """crc32c over a row number and the id of its point: what the index on id holds."""
    if isinstance(point_id, str):
        return int(google_crc32c.value(_KEY.pack(row, _TEXT, 0) + point_id.encode("utf-8")))
    return int(google_crc32c.value(_KEY.pack(row, _INTEGER, point_id)))


def values_crc(values: Iterable[int | str | bytes | None]) -> int:
    """crc32c over the values of a row of a small table. Raises TypeError for a value of another type."""
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
