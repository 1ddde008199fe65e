"""Positions of rows as bitmaps and as numpy arrays, in bulk."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

Positions = npt.NDArray[np.uint32]
Mapping = npt.NDArray[np.int64]
"""New position by old position; -1 for a row that is left out."""

NO_POSITIONS: Positions = np.empty(0, dtype=np.uint32)

_BITMAP_BYTES = 192
"""Of an empty bitmap with the Python object around it; each container then has about as much as a header."""

_CONTAINER_BYTES = 64

_MANY_POSITIONS = 4_096
_DENSE = 64
"""So many positions, at least one in so many rows, are sorted by a mask when they are not in order: insertion would be
far slower.
"""


def bitmap(positions: Positions) -> BitMap:
    """Positions (m,), in any order and perhaps repeated, as a set."""
    if len(positions) >= _MANY_POSITIONS and not (positions[1:] >= positions[:-1]).all():
        positions = _ordered(positions)
    # An array.array is taken in whole; a numpy array is walked element by element, eight times slower.
    return BitMap(array("I", positions.tobytes())) if len(positions) else BitMap()


def bitmap_of(positions: Iterable[int]) -> BitMap:
    """The same from Python integers."""
    return BitMap(array("I", positions))


def positions_of(bits: BitMap) -> Positions:
    """The set as an ascending array (m,)."""
    return np.frombuffer(bits.to_array(), dtype=np.uint32) if bits else NO_POSITIONS


def moved(bits: BitMap, mapping: Mapping) -> BitMap:
    """The rows of a set that are kept, under their new positions."""
    return bitmap(kept(mapping[positions_of(bits)])) if bits else BitMap()


def kept(positions: Mapping) -> Positions:
    """New positions without those of rows that are left out."""
    return positions[positions >= 0].astype(np.uint32)


def join_positions(parts: Sequence[Positions]) -> Positions:
    """All positions of `parts`."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else NO_POSITIONS


def ranges(starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """All indexes of the half-open ranges starts[i]:ends[i] (m,), one range after the other."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.intp)


def bitmap_bytes(bits: BitMap) -> int:
    """Memory of a bitmap, about."""
    if not bits:
        return _BITMAP_BYTES
    shape = bits.get_statistics()
    data = shape["n_bytes_array_containers"] + shape["n_bytes_run_containers"] + shape["n_bytes_bitset_containers"]
    return _BITMAP_BYTES + _CONTAINER_BYTES * shape["n_containers"] + data


def _ordered(positions: Positions) -> Positions:
    """The set in ascending order, or as it came when it is thinly spread."""
    rows = int(positions.max()) + 1
    if rows > _DENSE * len(positions):
        return positions
    mask = np.zeros(rows, dtype=np.bool_)
    mask[positions] = True
    return np.flatnonzero(mask).astype(np.uint32)
