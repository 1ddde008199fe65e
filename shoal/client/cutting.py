"""Cut a write into messages: which points are sent, and in which pieces. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shoal.client.named_columns import bytes_of_row
from shoal.core.points import IdArray, PointColumns

MESSAGE_BYTES = 4 * 1024 * 1024
"""Target size of a message: large enough that the cost of a call is small, small enough that several travel at once."""

_FRAME_BYTES = 12
"""Bytes for the length and type tags around one id and one payload."""


def last_of_each(ids: IdArray) -> npt.NDArray[np.intp] | None:
    """Return the ascending positions of the last point of each id; None if all ids differ already."""
    if ids.dtype == np.int64 and (ids[1:] > ids[:-1]).all():
        return None
    latest = {value: position for position, value in enumerate(ids.tolist())}
    if len(latest) == len(ids):
        return None
    last: npt.NDArray[np.intp] = np.fromiter(sorted(latest.values()), dtype=np.intp, count=len(latest))
    return last


def point_sizes(points: PointColumns) -> npt.NDArray[np.int64]:
    """Return the bytes of each point in a message, rounded up a little. (n,) int64.

    With named vectors also a point that lacks some: shards have room for all of them.
    """
    sizes: npt.NDArray[np.int64] = id_sizes(points.ids) + 4 * points.vectors.shape[1]
    if points.named is not None:
        sizes += bytes_of_row(points.named)
    if points.payloads is not None:
        sizes += np.fromiter((0 if text is None else len(text) for text in points.payloads), dtype=np.int64, count=len(points))
    return sizes


def id_sizes(ids: IdArray) -> npt.NDArray[np.int64]:
    """Return the bytes of each id in a message, rounded up a little. (n,) int64."""
    if ids.dtype == np.int64:
        return np.full(len(ids), _FRAME_BYTES, dtype=np.int64)
    lengths = (_FRAME_BYTES + (len(value.encode("utf-8")) if isinstance(value, str) else 0) for value in ids.tolist())
    return np.fromiter(lengths, dtype=np.int64, count=len(ids))


def cut(sizes: npt.NDArray[np.int64], *, max_bytes: int, max_count: int) -> list[tuple[int, int]]:
    """Return consecutive pieces [start, end) of at most max_count items and at most max_bytes.

    An item larger than max_bytes is a piece of its own.
    """
    ends = np.cumsum(sizes)
    pieces, start, used = [], 0, 0
    while start < len(sizes):
        fitting = int(np.searchsorted(ends, used + max_bytes, side="right"))
        end = min(max(fitting, start + 1), start + max_count)
        pieces.append((start, end))
        start, used = end, int(ends[end - 1])
    return pieces
