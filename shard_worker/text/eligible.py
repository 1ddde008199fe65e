"""Which rows of a part a search may return. Deaths and filters come from outside, as masks or as rows."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.table import Rows

Mask = npt.NDArray[np.bool_]

_LOOKED_UP = 24
"""To look one row up in a list costs about as much as to look at so many rows of a list."""

_MASKED = 32
"""To look at one row of a list costs about as much as to make a mask of so many rows."""


class Eligible:
    """Rows of a part of n rows: all, or those in `mask` (n,), or `among` (m,), ascending, or both. Safe in any thread.

    among_mask: the rows of `among` as a mask, if the caller has one.
    """

    def __init__(
        self, rows: int, *, mask: Mask | None = None, among: npt.NDArray[np.integer[Any]] | None = None, among_mask: Mask | None = None
    ) -> None:
        self.rows = rows
        self.among: Rows | None = None if among is None else among.astype(np.uint32, copy=False)
        self._mask = mask
        self._among_mask = among_mask

    @property
    def most(self) -> int:
        """Return a number that the eligible rows do not exceed."""
        return self.rows if self.among is None else len(self.among)

    def mask(self) -> Mask | None:
        """Return which rows are eligible, (n,); None: all."""
        if self.among is None:
            return self._mask
        mask = self._mask_of_among(self.among)
        return mask if self._mask is None else mask & self._mask

    def listed(self) -> Rows | None:
        """Return the eligible rows; None when they are not known as a list."""
        if self.among is None or self._mask is None:
            return self.among
        return self.among[self._mask.take(self.among)]

    def memory_bytes(self) -> int:
        """Return the size of its arrays, with the mask that may be made of `among`."""
        masks = self.rows if self._mask is not None else 0
        return masks if self.among is None else masks + self.among.nbytes + self.rows

    def within(self, found: Rows) -> Rows:
        """Return those of some ascending rows that are eligible."""
        if self._mask is not None:
            found = found.take(np.flatnonzero(self._mask.take(found)))
        if self.among is None:
            return found
        if _are_many(found, self.among, self.rows):
            return found.take(np.flatnonzero(self._mask_of_among(self.among).take(found)))
        return common(found, self.among)

    def within_mask(self, found: Mask) -> Rows:
        """Return the eligible rows of a mask (n,), ascending."""
        rows = self.listed()
        if rows is not None:
            return rows.take(np.flatnonzero(found.take(rows)))
        return np.flatnonzero(found if self._mask is None else found & self._mask).astype(np.uint32)

    def without(self, found: Rows) -> Eligible:
        """Return the eligible rows that are not in `found`."""
        if not len(found):
            return self
        mask = np.ones(self.rows, dtype=bool) if self._mask is None else self._mask.copy()
        mask[found.astype(np.intp)] = False
        return Eligible(self.rows, mask=mask, among=self.among, among_mask=self._among_mask)

    def _mask_of_among(self, among: Rows) -> Mask:
        # Threads share it: it is filled before others can see it.
        mask = self._among_mask
        if mask is None:
            mask = np.zeros(self.rows, dtype=bool)
            mask[among.astype(np.intp)] = True
            self._among_mask = mask
        return mask


Whole = TypeVar("Whole", bound=np.integer[Any])


def held_at(rows: npt.NDArray[Whole], wanted: npt.NDArray[Whole]) -> tuple[npt.NDArray[np.intp], Mask]:
    """Return for each of `wanted` (m,), ascending, its place in `rows` (not empty), and whether it is there."""
    at = rows.searchsorted(wanted)
    return at, rows.take(at, mode="clip") == wanted


def common(first: npt.NDArray[Whole], second: npt.NDArray[Whole]) -> npt.NDArray[Whole]:
    """Return the elements that are in both, ascending."""
    if len(first) > len(second):
        first, second = second, first
    if not len(first):
        return first
    return first[held_at(second, first)[1]]


def common_rows(first: Rows, second: Rows, all_rows: int) -> Rows:
    """Return the rows that are in both, ascending; each is below `all_rows`."""
    if not _are_many(first, second, all_rows):
        return common(first, second)
    fewer, more = (first, second) if len(first) <= len(second) else (second, first)
    mask = np.zeros(all_rows, dtype=bool)
    mask[fewer.astype(np.intp)] = True
    return more.take(np.flatnonzero(mask.take(more)))


def _are_many(first: Rows, second: Rows, all_rows: int) -> bool:
    """Return whether a mask tells sooner than to look up each row which rows two lists share."""
    return min(len(first), len(second)) * _LOOKED_UP > len(first) + len(second) + all_rows // _MASKED
