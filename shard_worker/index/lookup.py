"""Find where a row number lies within a segment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]


class RowLookup:
    """Positions of the distinct row numbers `rows` (n,)."""

    def __init__(self, rows: Rows) -> None:
        ascending = bool((rows[1:] > rows[:-1]).all())
        self._order = None if ascending else np.argsort(rows)
        self._sorted = rows if self._order is None else rows[self._order]

    def find(self, rows: Rows) -> tuple[npt.NDArray[np.bool_], Positions]:
        """Return (found, positions): which of `rows` (m,) are here, as a mask (m,), and where these are
        (found.sum(),)."""
        found, positions = find_ascending(self._sorted, rows)
        return found, positions if self._order is None else self._order[positions]

    @property
    def extra_bytes(self) -> int:
        """Return the memory in addition to the row numbers themselves."""
        return 0 if self._order is None else self._order.nbytes + self._sorted.nbytes


def find_ascending(held: Rows, rows: Rows) -> tuple[npt.NDArray[np.bool_], Positions]:
    """Return the same as RowLookup.find, when `held` (n,) ascends strictly."""
    if not len(held):
        return np.zeros(len(rows), dtype=bool), np.empty(0, dtype=np.int64)
    at = np.searchsorted(held, rows).clip(max=len(held) - 1)
    found = held[at] == rows
    return found, at[found]
