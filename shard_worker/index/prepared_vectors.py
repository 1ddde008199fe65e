"""The file of a segment's prepared vectors, for segments whose index does not hold them: mapped, so that the page cache
holds what is used.

An ordinary .npy file of (n, dim) little-endian float32. Owns writing it in blocks and mapping it read-only. Refuses to
verify it: the caller has checked its hash. A page that the disk cannot give ends the process (SIGBUS), as for every
mapped file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss, Internal
from shoal.core.points import Matrix

_TYPE = np.dtype("<f4")


def write_vectors(path: Path, blocks: Iterable[Matrix], *, rows: int, dim: int) -> None:
    """Write `rows` vectors that come in blocks (m, dim) float32.

    Raises OSError as the file does, Internal when they are not so many.
    """
    written = 0
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(_TYPE), "fortran_order": False, "shape": (rows, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=_TYPE).data)
            written += len(block)
    if written != rows:
        raise Internal(f"vector file {path.name} got {written} vectors where {rows} were announced")


def map_vectors(path: Path, *, rows: int, dim: int) -> Matrix:
    """The vectors of a file (rows, dim) float32, read-only; the file may be unlinked meanwhile.

    Raises DataLoss when the file holds something else, OSError when it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            found = _shape(file)
        except ValueError as error:
            raise DataLoss(f"vector file {path.name} cannot be read: {error}") from error
        start = file.tell()
        size = path.stat().st_size
        if found != (rows, dim) or size != start + rows * dim * _TYPE.itemsize:
            raise DataLoss(f"vector file {path.name} holds vectors {found} in {size} bytes where {(rows, dim)} are wanted")
        if rows == 0:
            return np.empty((0, dim), dtype=np.float32)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    vectors: npt.NDArray[np.float32] = np.frombuffer(mapped, dtype=_TYPE, count=rows * dim, offset=start).reshape(rows, dim)
    return vectors


def _shape(file: object) -> tuple[int, ...]:
    """Shape by the header of a .npy file. Raises ValueError for what is no such file of float32 in rows."""
    version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
    if version != (1, 0):
        raise ValueError(f"version {version}")
    shape, by_column, kind = np.lib.format.read_array_header_1_0(file)  # type: ignore[arg-type]
    if by_column or kind != _TYPE:
        raise ValueError(f"it holds {kind}, in columns: {by_column}")
    return shape
