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
"""Size of an empty bitmap with its Python object. Each container adds a header of about _CONTAINER_BYTES."""

_CONTAINER_BYTES = 64

_MANY_POSITIONS = 4_096
_DENSE = 64
"""At least _MANY_POSITIONS unordered positions, of at least one in _DENSE rows, are sorted with a mask. Inserting them
one by one would be far slower."""


def bitmap(positions: Positions) -> BitMap:
    """Return the positions (m,), in any order and perhaps repeated, as a set."""
    if len(positions) >= _MANY_POSITIONS and not (positions[1:] >= positions[:-1]).all():
        positions = _ordered(positions)
    # BitMap takes an array.array as a whole. It iterates over a numpy array, which is eight times slower.
    return BitMap(array("I", positions.tobytes())) if len(positions) else BitMap()


def bitmap_of(positions: Iterable[int]) -> BitMap:
    """Return a set of positions given as Python integers."""
    return BitMap(array("I", positions))


def positions_of(bits: BitMap) -> Positions:
    """Return the set as an ascending array (m,)."""
    return np.frombuffer(bits.to_array(), dtype=np.uint32) if bits else NO_POSITIONS


def moved(bits: BitMap, mapping: Mapping) -> BitMap:
    """Return the rows of a set that are kept, under their new positions."""
    return bitmap(kept(mapping[positions_of(bits)])) if bits else BitMap()


def kept(positions: Mapping) -> Positions:
    """Return the new positions without those of rows that are left out."""
    return positions[positions >= 0].astype(np.uint32)


def join_positions(parts: Sequence[Positions]) -> Positions:
    """Return all positions of `parts`."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else NO_POSITIONS


def ranges(starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return all indexes of the half-open ranges starts[i]:ends[i] (m,), one range after the other."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()), dtype=np.intp)


def bitmap_bytes(bits: BitMap) -> int:
    """Estimate the memory of a bitmap."""
    if not bits:
        return _BITMAP_BYTES
    shape = bits.get_statistics()
    data = shape["n_bytes_array_containers"] + shape["n_bytes_run_containers"] + shape["n_bytes_bitset_containers"]
    return _BITMAP_BYTES + _CONTAINER_BYTES * shape["n_containers"] + data


def _ordered(positions: Positions) -> Positions:
    """Return the set in ascending order, or unchanged when it is sparse."""
    rows = int(positions.max()) + 1
    if rows > _DENSE * len(positions):
        return positions
    mask = np.zeros(rows, dtype=np.bool_)
    mask[positions] = True
    return np.flatnonzero(mask).astype(np.uint32)
