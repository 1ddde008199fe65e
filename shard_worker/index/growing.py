"""The segment that takes new rows. When full it is frozen, and searched exactly until a build has taken its rows.

Owned by the writer thread. Nothing that a view can see moves: arrays that must grow are replaced, and older views keep
the old arrays. These lack only deaths that are later than the views.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shoal.core.joined_json import groups_of
from shoal.core.payload import stored_values
from shoal.core.points import IdArray, Matrix
from shoal.core.sizing import FIRST_ROWS, growing_code_bytes
from shoal.runtime.interpreter import give_way
from shoal.shard_worker.index.lookup import Positions, Rows, find_ascending
from shoal.shard_worker.index.row_codes import GrowingCodes
from shoal.shard_worker.index.ties import Ties
from shoal.shard_worker.index.tuning import Tuning, TuningSlot
from shoal.shard_worker.index.view import ALIVE, SegmentView
from shoal.shard_worker.logic.memory_ledger import GrowingSize
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.payload.growing import GrowingPayloads
from shoal.shard_worker.payload.matched import PayloadBounds
from shoal.shard_worker.text.field_texts import FieldTexts
from shoal.shard_worker.text.growing import GrowingTexts
from shoal.shard_worker.text.part import TextPart

Scalar = TypeVar("Scalar", bound=np.generic)

OWN_MAPPING_BYTES = 16 * 1024 * 1024
"""An array of this size gets pages of the system only where it is written.

So vectors that fill so much when the segment is full get all their room at once, and are not copied as it grows.
"""

_MANY_ROWS = 1_024
"""Only a segment that had to grow beyond this many rows gets all its room: the system gives pages of up to 2 MiB."""


_TEXTS_BYTES = 512 * 1024
"""Payloads whose texts are indexed at once. Other threads get the interpreter between two pieces of a large batch."""


class GrowingSegment:
    """At most `capacity` rows of prepared vectors, row numbers ascending. Its arrays begin with its first rows.

    texts: the text fields, whose words are indexed as rows come; None without any.
    maps_unused: memory that is mapped and not touched counts nowhere, so that room may be mapped before it is needed.
    """

    def __init__(
        self, *, key: int, dim: int, capacity: int, bounds: PayloadBounds, texts: FieldTexts | None = None, maps_unused: bool = False
    ) -> None:
        self.key = key
        self.dead = 0
        self.state = SegmentState.GROWING
        self._capacity = capacity
        self._maps_whole = maps_unused and 4 * dim * capacity >= OWN_MAPPING_BYTES
        self._count = 0
        self._reach = 0.0
        self._string_bytes = 0
        self._vectors: Matrix = np.empty((0, dim), dtype=np.float32)
        self._squares: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._codes = GrowingCodes(dim) if growing_code_bytes(dim) else None
        self._ids: IdArray = np.empty(0, dtype=np.int64)
        self._rows: Rows = np.empty(0, dtype=np.int64)
        self._deaths: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._payloads = GrowingPayloads(bounds)
        self._texts_from = self._wanted_texts = texts
        self._texts = None if texts is None else GrowingTexts(texts.names, texts.fingerprint)
        self._tuning = TuningSlot(Tuning.untuned(breadth_name="", max_breadth=0, quantised=False, rows=capacity, dim=dim))
        self._ties = Ties()
        self._part: SegmentView | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def room(self) -> int:
        """Return how many rows it can still take."""
        return self._capacity - self._count

    @property
    def last_row(self) -> int:
        """Return the row number of its last row, -1 when it is empty."""
        return int(self._rows[self._count - 1]) if self._count else -1

    def append(self, rows: Rows, ids: IdArray, vectors: Matrix, payloads: Sequence[bytes | None] | None) -> None:
        """Append rows, at most `room`. They are invisible until a new part is published. vectors: (n, dim) prepared."""
        start, end = self._count, self._count + len(rows)
        self._reserve(end, object if ids.dtype == object else self._ids.dtype)
        squares = squared_lengths(vectors)
        self._vectors[start:end] = vectors
        with np.errstate(over="ignore"):
            self._squares[start:end] = squares
        if self._codes is not None:
            self._codes.extend(self._vectors, start, end, reserved=len(self._rows))
        self._ids[start:end] = ids
        self._rows[start:end] = rows
        self._deaths[start:end] = ALIVE
        self._reach = max(self._reach, largest_length(squares))
        self._string_bytes += string_bytes(ids)
        self._append_payloads(payloads or (None,) * len(rows))
        self._count = end
        self._part = None

    def find(self, rows: Rows) -> tuple[npt.NDArray[np.bool_], Positions]:
        """Find rows as RowLookup.find does."""
        return find_ascending(self._rows[: self._count], rows)

    def deaths_at(self, positions: Positions) -> npt.NDArray[np.int64]:
        """Return the deaths of the rows at `positions`."""
        return self._deaths[positions]

    def kill(self, positions: Positions, seq: int) -> None:
        """Mark the rows at `positions` dead from `seq` on. No published view may have reached `seq`."""
        self._deaths[positions] = seq
        self.dead += len(positions)
        self._part = None

    def freeze(self) -> None:
        """Stop taking rows: the segment waits to be sealed."""
        self.state = SegmentState.FROZEN
        self._part = None

    def want_texts(self, texts: FieldTexts | None) -> None:
        """Show those of its text fields that are among these. Its rows to come are indexed as before: freeze it."""
        self._wanted_texts = texts
        self._part = None

    def part(self) -> SegmentView:
        """Return all its rows as the next view sees them."""
        if self._part is None:
            count = self._count
            self._part = SegmentView(
                key=self.key,
                state=self.state,
                vectors=self._vectors[:count],
                squares=self._squares[:count],
                ids=self._ids[:count],
                rows=self._rows[:count],
                deaths=self._deaths[:count],
                dead=self.dead,
                reach=self._reach,
                native=None,
                payloads=self._payloads.part(),
                texts=self._shown_texts(),
                codes=None if self._codes is None else self._codes.part(count, self._reach),
                tuning=self._tuning,
                ties=self._ties,
            )
        return self._part

    def size(self) -> GrowingSize:
        """Return the size of its arrays, for the memory account."""
        vector_bytes = self._vectors.shape[1] * 4
        return GrowingSize(
            rows=self._count,
            reserved=len(self._rows),
            capacity=self._capacity,
            row_bytes=vector_bytes + growing_code_bytes(self._vectors.shape[1]) + self._column_bytes(),
            vector_bytes=vector_bytes,
            has_texts=self._texts is not None,
        )

    def payload_bytes(self) -> int:
        """Return the part of its memory that the payload index holds."""
        return self._payloads.memory_bytes()

    def text_bytes(self) -> int:
        """Return the part of its memory that the index of texts holds."""
        return 0 if self._texts is None else self._texts.memory_bytes()

    def memory_bytes(self) -> int:
        """Return the memory it holds, reserved rows included; of vectors, as much as their pages may take."""
        vector_bytes: int = len(self._rows) * self._vectors.shape[1] * self._vectors.itemsize
        code_bytes = 0 if self._codes is None else self._codes.nbytes
        columns: int = sum(array.nbytes for array in (self._squares, self._ids, self._rows, self._deaths))
        beside = self._string_bytes + self._ties.memory_bytes() + self._payloads.memory_bytes() + self.text_bytes()
        return vector_bytes + code_bytes + columns + beside

    def passing_bytes(self) -> int:
        """Return the part of its memory that is gone when its rows are sealed: room for rows to come, dead rows, codes,
        and the index of texts, which is mapped then.
        """
        row_bytes: int = self._vectors.shape[1] * 4 + self._column_bytes()
        with_rows = self._count * row_bytes + self._string_bytes + self._payloads.memory_bytes()
        lasting = with_rows * (self._count - self.dead) // max(1, self._count) + self._ties.memory_bytes()
        return max(0, self.memory_bytes() - lasting)

    def _column_bytes(self) -> int:
        """Return the bytes of one row in the arrays beside its vector and codes."""
        row_bytes: int = self._squares.itemsize + self._ids.itemsize + self._rows.itemsize + self._deaths.itemsize
        return row_bytes

    def _append_payloads(self, payloads: Sequence[bytes | None]) -> None:
        """Index payloads and their texts. Each payload is parsed once."""
        if self._texts is None or self._texts_from is None:
            self._payloads.append(payloads, len(payloads))
            return
        for start, end in groups_of([text or b"" for text in payloads], _TEXTS_BYTES):
            here = payloads[start:end]
            values = list(stored_values(here))
            self._payloads.append(here, len(here), values)
            self._texts.append(self._texts_from.indexed(values, give_way), len(here))

    def _shown_texts(self) -> TextPart | None:
        if self._texts is None or self._wanted_texts is None:
            return None
        part = self._texts.part()
        return part if self._wanted_texts is self._texts_from else self._wanted_texts.usable_part(part)

    def _reserve(self, count: int, id_type: npt.DTypeLike) -> None:
        """Replace the arrays that are too short for `count` rows, and the array of ids when it needs another type."""
        size = len(self._rows)
        if count > size:
            size = min(self._capacity, max(count, 2 * size, FIRST_ROWS))
            if size > len(self._vectors):
                self._vectors = self._enlarged(self._vectors, self._vector_rows(size))
            self._squares = self._enlarged(self._squares, size)
            self._ids = self._enlarged(self._ids, size)
            self._rows = self._enlarged(self._rows, size)
            self._deaths = self._enlarged(self._deaths, size)
        if self._ids.dtype != id_type:
            self._ids = self._ids.astype(id_type)

    def _vector_rows(self, size: int) -> int:
        """Return for how many rows the array of vectors is made when `size` rows are needed."""
        return self._capacity if self._maps_whole and size > _MANY_ROWS else size

    def _enlarged(self, array: npt.NDArray[Scalar], size: int) -> npt.NDArray[Scalar]:
        longer: npt.NDArray[Scalar] = np.empty((size, *array.shape[1:]), dtype=array.dtype)
        longer[: self._count] = array[: self._count]
        return longer


def squared_lengths(vectors: Matrix) -> npt.NDArray[np.float64]:
    """Return the squared lengths of vectors (n, dim). (n,)."""
    squares: npt.NDArray[np.float64] = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return squares


def largest_length(squares: npt.NDArray[np.float64]) -> float:
    """Return the largest length, from squared lengths; 0 when there are none."""
    return float(np.sqrt(squares.max(initial=0.0)))


def string_bytes(ids: IdArray) -> int:
    """Return the memory of ids that are Python objects, without the array that points to them."""
    return sum(map(sys.getsizeof, ids.tolist())) if ids.dtype == object else 0
