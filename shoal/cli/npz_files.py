"""Read .npz files of points: an array for each column, all with as many rows, read side by side piece by piece.

A matrix (n, dim) holds vectors; a row of it that is NaN throughout says that the point lacks this named vector. Ids are
in an array (n,), in a file of their own, or the row numbers. Other arrays form the payload, unless it has a file.
"""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from shoal.cli import point_files
from shoal.cli.guessing import ID, Columns
from shoal.cli.matrix_files import AnyArray, bad, mapped, unreadable
from shoal.cli.parquet_files import batch_of_columns, check_columns
from shoal.cli.point_files import AnyColumns, PayloadFile, settled
from shoal.client.batch_pipeline import PointBatch

_KINDS = "iufbU"
_NPY = ".npy"
_ROWS = ""
"""Stands for the column of ids where these are not in the file."""


def npz_batches(path: Path, columns: AnyColumns, ids: Path | None, payloads: Path | None) -> Iterator[PointBatch]:
    """Yield the rows of an .npz file in batches. ids: an .npy file of n ids; payloads: a .jsonl file of n objects or
    nulls.

    Raises InvalidArgument that names the array or the first bad row.
    """
    with ExitStack() as stack:
        arrays = _opened(path, stack)
        count = _count(path, arrays)
        own_ids = None if ids is None else _ids(ids, path, count)
        texts = None if payloads is None else PayloadFile(payloads, path, count)
        if own_ids is not None and ID in arrays:
            raise bad(f"{path} has an array {ID!r}, and --ids names {ids}: one of them holds the ids")
        first = {name: array.first for name, array in arrays.items()}
        found = settled(columns, first, str(path))
        if own_ids is not None or (found.id == ID and ID not in arrays):
            found = dataclasses.replace(found, id=_ROWS)
        found = check_columns([*arrays, *((_ROWS,) if found.id == _ROWS else ())], found, path)
        _check_all_are_used(arrays, found, payloads, path)
        step = max(1, min(point_files.BATCH_POINTS, point_files.BATCH_BYTES // max(1, sum(array.row_bytes for array in arrays.values()))))
        for start in range(0, count, step):
            end = min(start + step, count)
            given: dict[str, Any] = {name: _values(array.read(end - start), name, found) for name, array in arrays.items()}
            if found.id == _ROWS:
                given[_ROWS] = np.arange(start, end) if own_ids is None else np.array(own_ids[start:end])
            batch = batch_of_columns(given, found, path, start, count)
            yield batch if texts is None else dataclasses.replace(batch, payloads=texts.take(end - start))
        if texts is not None:
            texts.end()


def _values(rows: AnyArray, name: str, columns: Columns) -> Any:
    """Return the rows of an array as batch_of_columns takes them."""
    if name == columns.id:
        return rows
    if name not in columns.of_vectors:
        return rows.tolist()
    if columns.named is None or rows.ndim != 2 or rows.dtype.kind != "f":
        return rows
    lacking = np.logical_and.reduce(np.isnan(rows), axis=1)
    if not lacking.any():
        return rows
    return [None if lacks else row for lacks, row in zip(lacking.tolist(), rows, strict=True)]


def _check_all_are_used(names: Iterable[str], columns: Columns, payloads: Path | None, path: Path) -> None:
    left = [name for name in names if name not in (columns.id, *columns.of_vectors)]
    if payloads is not None and left:
        raise bad(f"{path} has the array {left[0]!r} beside vectors and ids, and --payloads names {payloads}: one of them is the payload")


def _ids(ids: Path, path: Path, count: int) -> AnyArray:
    array = mapped(ids)
    if array.ndim != 1 or len(array) != count:
        raise bad(f"{ids} must hold a list of {count} ids, as many as {path} has rows, not an array of shape {array.shape}")
    return array


class _NpzArray:
    """An array of an .npz file, read from its begin to its end. first: its first row."""

    def __init__(self, place: str, stream: IO[bytes]) -> None:
        self._place, self._stream = place, stream
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read_header is None:
            raise bad(f"{place} is in version {version} of the .npy format, 1.0 and 2.0 are read")
        shape, is_fortran, self._dtype = read_header(stream)
        if len(shape) not in (1, 2) or self._dtype.kind not in _KINDS or 0 in shape[1:]:
            raise bad(f"{place} must hold numbers or texts in the shape (n,) or (n, dim), not {self._dtype} of shape {shape}")
        self.shape = shape
        self.row_bytes = self._dtype.itemsize * (shape[1] if len(shape) == 2 else 1)
        self._whole = self._read_all() if is_fortran and len(shape) == 2 else None
        self._at = 0
        self._ahead: AnyArray | None = None

    @property
    def first(self) -> Any:
        """Return the first row; None if there is none. Call it before anything is read."""
        if not self.shape[0]:
            return None
        self._ahead = self._read(1)
        return self._ahead[0]

    def read(self, rows: int) -> AnyArray:
        """Return the next rows. Raises InvalidArgument for a file that is cut short."""
        if self._ahead is None:
            return self._read(rows)
        ahead, self._ahead = self._ahead, None
        return np.concatenate([ahead, self._read(rows - 1)])

    def _read(self, rows: int) -> AnyArray:
        self._at += rows
        if self._whole is not None:
            return self._whole[self._at - rows : self._at]
        return self._numbers(rows).reshape((rows, *self.shape[1:]))

    def _read_all(self) -> AnyArray:
        return self._numbers(self.shape[0]).reshape(self.shape[::-1]).T

    def _numbers(self, rows: int) -> AnyArray:
        wanted = rows * self.row_bytes
        try:
            data = self._stream.read(wanted)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise bad(f"{self._place} is damaged: {error}") from None
        if len(data) < wanted:
            raise bad(f"{self._place} is cut short")
        return np.frombuffer(data, dtype=self._dtype)


def _opened(path: Path, stack: ExitStack) -> dict[str, _NpzArray]:
    """Return the arrays of a file by name, open until the stack ends."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = [name for name in archive.namelist() if name.endswith(_NPY)]
        return {
            name.removesuffix(_NPY): _NpzArray(f"{path} array {name.removesuffix(_NPY)!r}", stack.enter_context(archive.open(name)))
            for name in members
        }
    except OSError as error:
        raise unreadable(path, error) from None
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise bad(f"{path} is not a whole .npz file: {error}") from None


def _count(path: Path, arrays: Mapping[str, _NpzArray]) -> int:
    """Return the rows of all arrays. Raises InvalidArgument unless all have as many."""
    counts = {name: array.shape[0] for name, array in arrays.items()}
    if not counts:
        raise bad(f"{path} holds no arrays")
    name, count = next(iter(counts.items()))
    other = next((each for each in counts if counts[each] != count), None)
    if other is not None:
        raise bad(f"{path}: array {other!r} has {counts[other]} rows, {name!r} has {count}")
    return count
