"""A sealed segment: an immutable FAISS index, the row numbers behind its positions, and deaths, which alone still change.

Owned by a build until it is swapped in, then by the writer thread. Owns its two files. To callers outside this room it is
opaque but for `rows_held`, `write_index` and `write_rows`. Refuses files whose index and rows do not belong together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from shard_worker.index.growing import largest_length, squared_lengths, string_bytes
from shard_worker.index.lookup import Positions, RowLookup, Rows, find_ascending
from shard_worker.index.native import NativeIndex
from shard_worker.index.view import ALIVE, Part
from shoal.core.collection import Metric
from shoal.core.errors import DataLoss
from shoal.core.points import IdArray
from shoal.core.scoring import block_rows


class SealedSegment:
    """n rows: index over their prepared vectors, rows (n,) int64, ids (n,), deaths (n,) int64, all by position."""

    def __init__(self, *, native: NativeIndex, rows: Rows, ids: IdArray, deaths: npt.NDArray[np.int64]) -> None:
        self.key = 0
        self.name = ""
        self.dead = int(np.count_nonzero(deaths != ALIVE))
        self._native = native
        self._vectors = native.vectors()
        self._squares, self._reach = _lengths(self._vectors)
        self._rows = rows
        self._ids = ids
        self._deaths = deaths
        self._lookup = RowLookup(rows)
        self._string_bytes = string_bytes(ids)
        self._part: Part | None = None

    @classmethod
    def load(cls, *, index_path: Path, rows_path: Path, live_rows: Rows, ids: IdArray, dim: int, metric: Metric) -> SealedSegment:
        """The segment in two files whose hashes the caller has verified.

        live_rows: (m,) int64, all rows of the store, ascending; ids: (m,) theirs. Rows of the segment that are not among them
        are dead. Raises DataLoss when the files cannot be read or do not belong together, OSError when they cannot be opened.
        """
        rows = _read_rows(rows_path)
        native = NativeIndex.read(index_path, dim, metric)
        if len(native) != len(rows):
            raise DataLoss(f"{index_path.name} holds {len(native)} vectors, {rows_path.name} {len(rows)} rows")
        alive, at = find_ascending(live_rows, rows)
        held: IdArray = np.zeros(len(rows), dtype=ids.dtype)
        held[alive] = ids[at]
        return cls(native=native, rows=rows, ids=held, deaths=np.where(alive, ALIVE, 0))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows_held(self) -> int:
        """Rows in it, dead ones included. 0: nothing was left to seal, there is nothing to write."""
        return len(self._rows)

    @property
    def is_graph(self) -> bool:
        """Whether it is searched by a graph, and can be extended."""
        return self._native.is_graph

    def write_index(self, path: Path) -> None:
        """Write the FAISS index. Raises OSError as the file does; the caller syncs and hashes it."""
        self._native.write(path)

    def write_rows(self, path: Path) -> None:
        """Write the row numbers. Raises OSError as the file does; the caller syncs and hashes it."""
        with path.open("wb") as file:
            np.save(file, self._rows, allow_pickle=False)

    def find(self, rows: Rows) -> tuple[npt.NDArray[np.bool_], Positions]:
        """As RowLookup.find."""
        return self._lookup.find(rows)

    def deaths_at(self, positions: Positions) -> npt.NDArray[np.int64]:
        """Deaths of rows."""
        return self._deaths[positions]

    def kill(self, positions: Positions, seq: int) -> None:
        """Rows at `positions` are dead from `seq` on, which no published view has reached."""
        self._deaths[positions] = seq
        self.dead += len(positions)
        self._part = None

    def adopt_deaths(self, deaths: npt.NDArray[np.int64]) -> None:
        """Take over the deaths (n,) that its rows met elsewhere while it was built. Before it is published."""
        self._deaths = deaths
        self.dead = int(np.count_nonzero(deaths != ALIVE))
        self._part = None

    def part(self) -> Part:
        """Its rows as the next view sees them."""
        if self._part is None:
            self._part = Part(
                vectors=self._vectors,
                squares=self._squares,
                ids=self._ids,
                rows=self._rows,
                deaths=self._deaths,
                dead=self.dead,
                reach=self._reach,
                graph=self._native if self._native.is_graph else None,
            )
        return self._part

    def memory_bytes(self) -> int:
        """Memory it holds: vectors, links and columns."""
        arrays = (self._vectors, self._squares, self._ids, self._rows, self._deaths)
        return sum(array.nbytes for array in arrays) + self._native.link_bytes() + self._lookup.extra_bytes + self._string_bytes


def _lengths(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
    """Squared lengths (n,) and the largest length, in blocks."""
    squares: npt.NDArray[np.float64] = np.empty(len(vectors), dtype=np.float64)
    step = block_rows(vectors.shape[1])
    for start in range(0, len(vectors), step):
        squares[start : start + step] = squared_lengths(vectors[start : start + step])
    with np.errstate(over="ignore"):
        return squares.astype(np.float32), largest_length(squares)


def _read_rows(path: Path) -> Rows:
    try:
        with path.open("rb") as file:
            rows = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataLoss(f"row file {path.name} cannot be read: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.dtype != np.int64 or rows.ndim != 1:
        raise DataLoss(f"row file {path.name} does not hold a column of int64")
    return rows
