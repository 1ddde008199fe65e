"""Which of the stored rows an index of a replica holds, and which of their numbers (ADR 36).

Without named vectors, the one index holds every row whole. With them, the index of the points holds number 0 of every
packed row, and the index of a named vector holds this vector of the rows that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.named_vectors import check_packed, having, slices
from shoal.core.point_change import PointChange, UpdatePacked, UpdateVectors
from shoal.core.points import Matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class RowPart:
    """What an index holds of stored rows. columns: these numbers of each; bit: only of rows that have the named vector
    of this number, None: of all rows."""

    columns: slice
    bit: int | None = None

    def of(self, rows: Matrix) -> Matrix:
        """Return its numbers of rows (n, d), as a view."""
        return rows[:, self.columns]

    def width(self, dim: int) -> int:
        """Return how many numbers it holds of a row of `dim` numbers."""
        return len(range(dim)[self.columns])

    def held(self, rows: Matrix) -> npt.NDArray[np.intp] | None:
        """Return the positions of the rows (n, d) that it holds, None for all."""
        return None if self.bit is None else np.flatnonzero(having(rows, self.bit))


WHOLE_ROWS = RowPart(columns=slice(None))


def row_parts(dims: Sequence[int]) -> tuple[RowPart, list[RowPart]]:
    """Return the part of the index of the points, and that of each named vector. dims: of the named vectors, in their
    order; empty: points have one vector."""
    if not dims:
        return WHOLE_ROWS, []
    return RowPart(columns=slice(0, 1)), [RowPart(columns=part, bit=bit) for bit, part in enumerate(slices(dims))]


def check_packed_rows(rows: Matrix, dims: Sequence[int]) -> None:
    """Raise InvalidArgument unless rows (n, d) are packed rows of vectors with these dimensions, with zeros for those
    that a point lacks: all replicas must store the same bits."""
    check_packed(dims, rows)
    for bit, part in enumerate(slices(dims)):
        filled = np.flatnonzero(~having(rows, bit) & rows[:, part].any(axis=1))
        if len(filled):
            message = f"a packed row has numbers of vector {bit}, and says that it does not have this vector"
            raise InvalidArgument(message, ErrorDetails(field="vectors", index=int(filled[0])))


def check_vector_change(change: PointChange, dims: Sequence[int]) -> None:
    """Raise InvalidArgument for vectors that points cannot have. dims: of their named vectors, empty if they have one
    vector; the number and length of the rows are right."""
    match change:
        case UpdateVectors() if dims:
            raise InvalidArgument("an update must name the vectors that it replaces", ErrorDetails(field="vectors"))
        case UpdatePacked(rows, given):
            if tuple(given) != tuple(dims):
                told = f"an update has named vectors of dimensions {list(given)}, the collection has {list(dims) or 'one without a name'}"
                raise InvalidArgument(told, ErrorDetails(field="vectors"))
            check_packed_rows(rows, dims)
        case _:
            pass
