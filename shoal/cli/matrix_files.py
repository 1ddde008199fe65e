"""Files that hold a matrix: .npy, and the .fvecs and .bvecs of the TexMex data sets.

They are read piece by piece. Errors name the row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS

AnyArray = npt.NDArray[Any]

VECS: dict[str, np.dtype[Any]] = {"fvecs": np.dtype("<f4"), "bvecs": np.dtype("u1")}
"""dtype of the components, by kind.

A row of these files is its dimension (int32, little-endian) and then its components.
"""

_SCAN_BYTES = 32 * 1024 * 1024


class Matrix(Protocol):
    """A matrix in a file."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return (n, dim)."""
        ...

    def read(self, start: int, end: int) -> AnyArray:
        """Return rows [start, end) as an array (end - start, dim).

        Raises InvalidArgument that names the first bad row.
        """
        ...


def matrix_of(path: Path, kind: str = "") -> Matrix:
    """Open the matrix in a file. kind: "npy", "fvecs" or "bvecs"; "": by the ending of the file, else npy.

    Raises InvalidArgument for a file that is missing, unreadable, cut short or of another shape.
    """
    kind = kind or path.suffix.lower().removeprefix(".")
    return VecsMatrix(path, VECS[kind]) if kind in VECS else NpyMatrix(path)


def bad(message: str) -> InvalidArgument:
    """Return the error for a bad file."""
    return InvalidArgument(message, ErrorDetails(field="file"))


def unreadable(path: Path | str, error: OSError) -> InvalidArgument:
    """Return the error for a file that the operating system cannot open or read."""
    return bad(f"{path}: {error.strerror or error}")


def mapped(path: Path) -> AnyArray:
    """Return the array of an .npy file, memory-mapped. Raises InvalidArgument."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, EOFError) as error:
        raise bad(f"{path} is not a whole .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        raise bad(f"{path} is not an .npy file")
    return array


class NpyMatrix:
    """An .npy file of real numbers.

    Each read maps the file anew, so that pages of earlier reads do not stay in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        array = mapped(path)
        if array.ndim != 2 or array.dtype.kind not in "iuf" or 0 in array.shape:
            raise bad(f"{path} must hold a matrix (n, dim) of real numbers, not {array.dtype} of shape {array.shape}")
        self.shape = (array.shape[0], array.shape[1])

    def read(self, start: int, end: int) -> AnyArray:
        """See Matrix."""
        return np.array(mapped(self._path)[start:end])


class VecsMatrix:
    """An .fvecs or .bvecs file. All rows must have the dimension of the first row."""

    def __init__(self, path: Path, component: np.dtype[Any]) -> None:
        self._path = path
        size, dim = self._head()
        self._row = np.dtype([("dim", "<i4"), ("components", component, (dim,))])
        self.shape = (size // self._row.itemsize, dim)
        if size % self._row.itemsize:
            raise self._ragged(size)

    def read(self, start: int, end: int) -> AnyArray:
        """See Matrix."""
        try:
            rows = np.fromfile(self._path, dtype=self._row, count=end - start, offset=start * self._row.itemsize)
        except OSError as error:
            raise unreadable(self._path, error) from None
        dim = self.shape[1]
        if (rows["dim"] != dim).any():
            odd = int(np.argmax(rows["dim"] != dim))
            raise bad(f"{self._path} row {start + odd} has dimension {rows['dim'][odd]}, row 0 has {dim}")
        if len(rows) < end - start:
            raise bad(f"{self._path} row {start + len(rows)} is cut short: the file became shorter")
        return np.ascontiguousarray(rows["components"])

    def _head(self) -> tuple[int, int]:
        """Return the size of the file in bytes, and the dimension of its first row."""
        try:
            with self._path.open("rb") as file:
                head = file.read(4)
                size = file.seek(0, 2)
        except OSError as error:
            raise unreadable(self._path, error) from None
        if not head:
            raise bad(f"{self._path} is empty, it holds no points")
        dim = int.from_bytes(head, "little", signed=True)
        if len(head) < 4 or not 1 <= dim <= DEFAULT_LIMITS.dim:
            said = f"dimension {dim}, from 1 to {DEFAULT_LIMITS.dim} are allowed" if len(head) == 4 else "no whole dimension"
            raise bad(f"{self._path} row 0 says {said}: this is no .fvecs or .bvecs file")
        return size, dim

    def _ragged(self, size: int) -> InvalidArgument:
        """Return the error for a file whose size is not a whole number of rows.

        It names the first row with another dimension, else the last row as cut short.
        """
        count, step = self.shape[0], max(1, _SCAN_BYTES // self._row.itemsize)
        for start in range(0, count, step):
            try:
                self.read(start, min(start + step, count))
            except InvalidArgument as error:
                return error
        left = size % self._row.itemsize
        return bad(f"{self._path} row {count} is cut short: it has {left} of {self._row.itemsize} bytes")
