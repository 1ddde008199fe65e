"""A sealed segment: an immutable FAISS index, the row numbers of its positions, and deaths, which alone still change.

A build owns it until it is swapped in; then the writer thread owns it. It owns its files: `files` writes them, `load`
reads them. Files that do not belong together are refused.

If the index does not hold the vectors themselves, in row order, they are in a file of their own, for exact comparison
of hits: an ordinary .npy file of (n, dim) little-endian float32. The file is mapped read-only, so its memory belongs to
the page cache. Mapping does not verify it: the caller has checked its hash. As for every mapped file, a page that
cannot be read from the disk ends the process (SIGBUS).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss, Internal
from shoal.core.index_spec import FLAT, IndexSpec
from shoal.core.metric import Metric
from shoal.core.points import IdArray, Matrix
from shoal.core.scoring import block_rows
from shoal.shard_worker.index.growing import largest_length, squared_lengths, string_bytes
from shoal.shard_worker.index.lookup import Positions, RowLookup, Rows, find_ascending
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.ties import Ties
from shoal.shard_worker.index.tuning import Tuning, TuningSlot
from shoal.shard_worker.index.view import ALIVE, SegmentView
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.sealed import TextMerge

INDEX_SUFFIX, ROWS_SUFFIX, VECTORS_SUFFIX, PAYLOAD_SUFFIX, TEXT_SUFFIX = ".faiss", ".rows", ".vectors", ".payload", ".text"

Blocks = Callable[[], Iterable[Matrix]]
"""Returns all prepared vectors of a segment, in blocks (m, dim), at every call."""

NO_BLOCKS: Blocks = tuple

_USUAL_HITS = 10
"""Number of hits by which an index is judged."""


class SealedSegment:
    """n rows, by position: index over their prepared vectors, rows (n,) int64, ids (n,), deaths (n,) int64, payloads.

    vectors: source of the vectors until they are mapped; not needed when `native` holds them. trained_rows: rows the
    index was trained for, 0 when it was not trained. text_merge: index of their texts, not yet written; None: there is
    none, or it is made from payloads. Once it is a file, `hold_texts` takes it. key and name: set by the ReplicaIndex
    that it is swapped into.
    """

    def __init__(
        self,
        *,
        native: NativeIndex,
        dim: int,
        rows: Rows,
        ids: IdArray,
        deaths: npt.NDArray[np.int64],
        payloads: SealedPayloads,
        vectors: Blocks,
        trained_rows: int = 0,
        text_merge: TextMerge | None = None,
    ) -> None:
        self.key = 0
        self.name = ""
        self.dead = int(np.count_nonzero(deaths != ALIVE))
        self.trained_rows = trained_rows
        self.form = native.label
        self._native = native
        self._dim = dim
        self._rows = rows
        self._ids = ids
        self._deaths = deaths
        self._payloads = payloads
        self._text_merge = text_merge
        self._texts: TextPart | None = None
        self._shown_texts: TextPart | None = None
        self._wanted_texts: FieldTexts | None = None
        self._blocks = vectors
        self._lookup = RowLookup(rows)
        self._string_bytes = string_bytes(ids)
        self._tuning = TuningSlot(_untuned(native, dim))
        self._ties = Ties()
        self._part: SegmentView | None = None
        self._vectors: Matrix | None = None
        self._squares: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._reach = 0.0
        if native.holds_vectors or not len(rows):
            self._hold(native.vectors() if native.holds_vectors else np.empty((0, dim), dtype=np.float32))

    @classmethod
    def load(
        cls,
        paths: Mapping[str, Path],
        *,
        live_rows: Rows,
        ids: IdArray,
        dim: int,
        metric: Metric,
        payloads: Callable[[Rows], SealedPayloads],
    ) -> SealedSegment:
        """Load the segment from files, by suffix, whose hashes the caller has verified.

        live_rows: (m,) int64, all rows of the store, ascending; ids: (m,) their ids. Rows of the segment that are not
        in live_rows are dead. payloads: returns the index over the payloads of the segment's rows (n,), read from its
        file or made anew. Raises DataLoss when files cannot be read or do not belong together, OSError when they cannot
        be opened.
        """
        index_path, rows_path = _path(paths, INDEX_SUFFIX), _path(paths, ROWS_SUFFIX)
        rows, trained_rows = _read_rows(rows_path)
        native = NativeIndex.read(index_path, dim, metric)
        if len(native) != len(rows):
            raise DataLoss(f"{index_path.name} holds {len(native)} vectors, {rows_path.name} {len(rows)} rows")
        vectors = None if native.holds_vectors else map_vectors(_path(paths, VECTORS_SUFFIX), rows=len(rows), dim=dim)
        indexed = payloads(rows)
        if len(indexed) != len(rows):
            raise DataLoss(f"{rows_path.name} holds {len(rows)} rows, their payload index {len(indexed)}")
        alive, at = find_ascending(live_rows, rows)
        held: IdArray = np.zeros(len(rows), dtype=ids.dtype)
        held[alive] = ids[at]
        segment = cls(
            native=native,
            dim=dim,
            rows=rows,
            ids=held,
            deaths=np.where(alive, ALIVE, 0),
            payloads=indexed,
            vectors=NO_BLOCKS,
            trained_rows=trained_rows,
        )
        if vectors is not None:
            segment._hold(vectors)
        return segment

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows_held(self) -> int:
        """Return the number of its rows, dead rows included. 0: nothing was left to seal, so nothing is to be
        written."""
        return len(self._rows)

    @property
    def rows(self) -> Rows:
        """Return its row numbers of the store, by position (n,)."""
        return self._rows

    @property
    def spec(self) -> IndexSpec:
        """Return the spec of its index."""
        return self._native.spec

    @property
    def extendable(self) -> bool:
        """Return whether a copy of its index can take in more rows for less than building anew."""
        return self._native.extendable

    def files(self) -> Mapping[str, Callable[[Path], None]]:
        """Return a writer by suffix for each file. A writer takes the path and raises OSError of the file.

        The caller syncs and hashes the files.
        """
        writers = {INDEX_SUFFIX: self._native.write, ROWS_SUFFIX: self._write_rows, PAYLOAD_SUFFIX: self._payloads.write}
        if not self._native.holds_vectors:
            writers[VECTORS_SUFFIX] = self._write_vectors
        if self._text_merge is not None:
            writers[TEXT_SUFFIX] = self._text_merge.write
        return writers

    def map_vectors(self, path: Path) -> None:
        """Take the vectors from the file that was written for VECTORS_SUFFIX. In the build thread: it reads them once.

        Call it before the segment is swapped in, and only when files() has this file. Raises Internal otherwise, and
        the errors of load.
        """
        if self._native.holds_vectors:
            raise Internal(f"a segment of {self.form} has no file of vectors")
        self._hold(map_vectors(path, rows=len(self._rows), dim=self._dim))

    def hold_texts(self, texts: TextPart) -> None:
        """Use this index of the texts of its rows from now on. Raises Internal when it has another number of rows."""
        if len(texts) != len(self._rows):
            raise Internal(f"segment {self.name!r} has {len(self._rows)} rows, the index of their texts {len(texts)}")
        self._texts, self._text_merge = texts, None
        self.want_texts(self._wanted_texts)

    def want_texts(self, texts: FieldTexts | None) -> None:
        """Show these text fields, as far as it has them."""
        self._shown_texts = None if texts is None else texts.usable_part(self._texts)
        self._wanted_texts, self._part = texts, None

    def lacks_texts(self) -> bool:
        """Return whether it has no index of a text field that is wanted."""
        wanted, shown = self._wanted_texts, self._shown_texts
        return wanted is not None and (shown is None or len(shown.fields) < len(wanted))

    def find(self, rows: Rows) -> tuple[npt.NDArray[np.bool_], Positions]:
        """Find rows as RowLookup.find does."""
        return self._lookup.find(rows)

    def deaths_at(self, positions: Positions) -> npt.NDArray[np.int64]:
        """Return the deaths of the rows at `positions`."""
        return self._deaths[positions]

    def kill(self, positions: Positions, seq: int) -> None:
        """Mark the rows at `positions` dead from `seq` on. No published view may have reached `seq`."""
        self._deaths[positions] = seq
        self.dead += len(positions)
        self._part = None

    def adopt_deaths(self, deaths: npt.NDArray[np.int64]) -> None:
        """Take over the deaths (n,) of its rows that happened while it was built. Before it is published."""
        self._deaths = deaths
        self.dead = int(np.count_nonzero(deaths != ALIVE))
        self._part = None

    def part(self) -> SegmentView:
        """Return its rows as the next view sees them. Raises Internal while its vectors are not mapped."""
        if self._vectors is None:
            raise Internal(f"the vectors of segment {self.name!r} ({self.form}) are not mapped yet")
        if self._part is None or (self._part.key, self._part.name) != (self.key, self.name):
            self._part = SegmentView(
                key=self.key,
                state=SegmentState.SEALED,
                name=self.name,
                index=self.form,
                vectors=self._vectors,
                squares=self._squares,
                ids=self._ids,
                rows=self._rows,
                deaths=self._deaths,
                dead=self.dead,
                reach=self._reach,
                native=None if self._native.spec == FLAT else self._native,
                payloads=self._payloads,
                texts=self._shown_texts,
                tuning=self._tuning,
                ties=self._ties,
            )
        return self._part

    def unable(self, recall: float) -> bool:
        """Return whether its index was found to miss this recall at any breadth that pays."""
        return self._tuning.now.unable(_USUAL_HITS, recall)

    def payload_bytes(self) -> int:
        """Return the part of its memory that the payload index holds."""
        return self._payloads.memory_bytes()

    def text_bytes(self) -> int:
        """Return the size of the index of its texts, which is mapped: it is no part of its memory."""
        return 0 if self._texts is None else self._texts.memory_bytes()

    def memory_bytes(self) -> int:
        """Return the memory it holds: the index, columns, payloads; without the vectors and texts it has mapped."""
        arrays = (self._squares, self._ids, self._rows, self._deaths)
        columns = sum(array.nbytes for array in arrays) + self._lookup.extra_bytes + self._string_bytes + self._ties.memory_bytes()
        return columns + self._native.memory_bytes() + self._payloads.memory_bytes()

    def _hold(self, vectors: Matrix) -> None:
        """Use these vectors from now on."""
        self._squares, self._reach = _lengths(vectors)
        self._vectors = vectors
        self._blocks = NO_BLOCKS
        self._part = None

    def _write_rows(self, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, self._rows, allow_pickle=False)
            np.save(file, np.array([self.trained_rows], dtype=np.int64), allow_pickle=False)

    def _write_vectors(self, path: Path) -> None:
        blocks = self._blocks() if self._vectors is None else (self._vectors,)
        write_vectors(path, blocks, rows=len(self._rows), dim=self._dim)


def _untuned(native: NativeIndex, dim: int) -> Tuning:
    return Tuning.untuned(
        breadth_name=native.breadth_name, max_breadth=native.max_breadth, quantised=native.quantised, rows=len(native), dim=dim
    )


def _lengths(vectors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
    """Return the squared lengths (n,) and the largest length. Works in blocks."""
    squares: npt.NDArray[np.float64] = np.empty(len(vectors), dtype=np.float64)
    step = block_rows(vectors.shape[1])
    for start in range(0, len(vectors), step):
        squares[start : start + step] = squared_lengths(vectors[start : start + step])
    with np.errstate(over="ignore"):
        return squares.astype(np.float32), largest_length(squares)


def _path(paths: Mapping[str, Path], suffix: str) -> Path:
    """Return the path of the file with this suffix. Raises DataLoss when there is none."""
    path = paths.get(suffix)
    if path is None:
        raise DataLoss(f"a segment lacks its {suffix} file, there are {', '.join(sorted(paths)) or 'none'}")
    return path


def _read_rows(path: Path) -> tuple[Rows, int]:
    """Return the row numbers, and the number of rows that the index was trained for.

    Older files lack the second number; their indexes were not trained, so it is 0.
    """
    try:
        with path.open("rb") as file:
            columns = [np.load(file, allow_pickle=False)]
            if file.tell() < path.stat().st_size:
                columns.append(np.load(file, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise DataLoss(f"row file {path.name} cannot be read: {error}") from error
    for column in columns:
        if not isinstance(column, np.ndarray) or column.dtype != np.int64 or column.ndim != 1:
            raise DataLoss(f"row file {path.name} does not hold columns of int64")
    if len(columns) > 1 and len(columns[1]) != 1:
        raise DataLoss(f"row file {path.name} holds {len(columns[1])} numbers instead of one, the number of trained rows")
    return columns[0], int(columns[1][0]) if len(columns) > 1 else 0


_TYPE = np.dtype("<f4")


def write_vectors(path: Path, blocks: Iterable[Matrix], *, rows: int, dim: int) -> None:
    """Write `rows` vectors that come in blocks (m, dim) float32.

    Raises OSError of the file, Internal when their number is not `rows`.
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
    """Map the vectors of a file (rows, dim) float32, read-only. The file may be unlinked afterwards.

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
    """Return the shape in the header of a .npy file. Raises ValueError unless it is float32, in rows."""
    version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
    if version != (1, 0):
        raise ValueError(f"version {version}")
    shape, by_column, kind = np.lib.format.read_array_header_1_0(file)  # type: ignore[arg-type]
    if by_column or kind != _TYPE:
        raise ValueError(f"it holds {kind}, in columns: {by_column}")
    return shape
