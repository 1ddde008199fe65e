"""Rows of a segment that tie: which rows have equal vectors, and the order of their ids. Computed when a search meets
many ties.

Equal vectors have equal scores, so only one of them is scored. numpy compares integer ranks that sort as the ids do:
sorting ten thousand strings for each query would take longer than the search. Knows all rows of a segment, whether or
not they count in a search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shoal.core.points import IdArray, Matrix, id_ranks
from shoal.core.scoring import block_rows

Numbers = npt.NDArray[np.int64]

_FEW_EQUAL = 4
"""When more than one row in this many has a vector of its own, knowing the equal ones saves nothing."""


MOST_KINDS = 256
"""Up to this many different vectors, a search compares vectors instead of rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """The different vectors of a segment.

    first: (kinds,) position of one row with each; rows: (n,) positions of all rows, kind by kind, in the order of their
    ids; starts: (kinds + 1,) where each kind begins in `rows`; count: number of rows covered. With more than MOST_KINDS
    kinds only `first` and `count` are valid.
    """

    first: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class _Learnt:
    """What is known of the first n rows.

    ranks: (n,) integers that sort as the ids, or None; hashes: (n,) of the vectors, or None; firsts: (n,) position of
    the first row with an equal vector, None where hardly any are equal; kinds: the different vectors, once computed.
    """

    ranks: npt.NDArray[np.int32] | None = None
    hashes: npt.NDArray[np.uint64] | None = None
    firsts: npt.NDArray[np.int32] | None = None
    kinds: Kinds | None = None


class Ties:
    """The ties of one segment, for all its parts. Any thread may call it.

    What was computed for more rows is valid for fewer: rows are only appended.
    """

    def __init__(self) -> None:
        self._learnt = _Learnt()

    def ranks(self, ids: IdArray) -> npt.NDArray[np.integer]:
        """Return integers that sort as the ids of a part (n,) do; for integer ids the ids themselves. (n,)."""
        if ids.dtype == np.int64:
            return ids
        known = self._learnt.ranks
        if known is None or len(known) < len(ids):
            known = id_ranks(ids).astype(np.int32)
            self._learnt = replace(self._learnt, ranks=known)
        return known[: len(ids)]

    def firsts(self, vectors: Matrix) -> npt.NDArray[np.int32] | None:
        """Return, for each row of a part's vectors (n, dim), the position of the first row with an equal vector. (n,).

        Return None where hardly any are equal.
        """
        known = self._learnt.hashes
        if known is None or len(known) < len(vectors):
            known = _hashed(vectors, known)
            firsts = _first_equal(vectors, known)
            self._learnt = replace(self._learnt, hashes=known, firsts=firsts, kinds=None)
        else:
            firsts = self._learnt.firsts
        return None if firsts is None else firsts[: len(vectors)]

    def kinds(self, ids: IdArray) -> Kinds | None:
        """Return the different vectors of the part with these ids (n,).

        Return None where there are many, or when `firsts` of all n rows was not called yet.
        """
        learnt = self._learnt
        if learnt.firsts is None or len(learnt.firsts) != len(ids):
            return None
        kinds = learnt.kinds
        # Another thread may have computed them for more or fewer rows meanwhile.
        if kinds is None or kinds.count != len(ids):
            kinds = _kinds(learnt.firsts, self.ranks(ids))
            self._learnt = replace(self._learnt, kinds=kinds)
        return kinds if len(kinds.first) <= MOST_KINDS else None

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        learnt = self._learnt
        ordered = None if learnt.kinds is None else learnt.kinds.rows
        return sum(column.nbytes for column in (learnt.ranks, learnt.hashes, learnt.firsts, ordered) if column is not None)


def first_by_rank(
    query: Numbers, scores: npt.NDArray[np.float32], ranks: npt.NDArray[np.integer], k: int, *, smaller_is_better: bool
) -> npt.NDArray[np.intp]:
    """Return the positions of the k best of each query by (score, rank), in no order; all hits of a query with at most
    k.

    NaN scores come last. query: (hits,) ascending; scores, ranks: (hits,). Takes linear time.
    """
    keys = scores if smaller_is_better else -scores
    bounds = np.flatnonzero(np.diff(query)) + 1
    kept: list[npt.NDArray[np.intp]] = []
    for start, end in zip([0, *bounds.tolist()], [*bounds.tolist(), len(query)], strict=True):
        kept.append(start + _first_of(keys[start:end], ranks[start:end], k))
    return np.concatenate(kept) if kept else np.empty(0, dtype=np.intp)


def _first_of(keys: npt.NDArray[np.float32], ranks: npt.NDArray[np.integer], k: int) -> npt.NDArray[np.intp]:
    if len(keys) <= k:
        return np.arange(len(keys))
    last = np.partition(keys, k - 1)[k - 1]
    number = ~np.isnan(keys)
    better, tied = (number, ~number) if np.isnan(last) else (keys < last, keys == last)
    at = np.flatnonzero(tied)
    wanted = k - np.count_nonzero(better)
    if wanted < len(at):
        at = at[np.argpartition(ranks[at], wanted - 1)[:wanted]]
    return np.concatenate([np.flatnonzero(better), at])


def _kinds(firsts: npt.NDArray[np.int32], ranks: npt.NDArray[np.integer]) -> Kinds:
    first, starts = np.unique(np.sort(firsts), return_index=True)
    if len(first) > MOST_KINDS:
        return Kinds(first=first.astype(np.int64), rows=np.empty(0, dtype=np.int32), starts=starts, count=len(firsts))
    rows = np.lexsort((ranks, firsts)).astype(np.int32)
    return Kinds(first=first.astype(np.int64), rows=rows, starts=np.append(starts, len(firsts)).astype(np.int64), count=len(firsts))


def _hashed(vectors: Matrix, known: npt.NDArray[np.uint64] | None) -> npt.NDArray[np.uint64]:
    """Return a number for each vector; equal vectors have equal numbers. known: the numbers of the first rows."""
    start = 0 if known is None else len(known)
    hashes: npt.NDArray[np.uint64] = np.empty(len(vectors), dtype=np.uint64)
    if known is not None:
        hashes[:start] = known
    odd = np.random.default_rng(0).integers(1 << 63, size=vectors.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    step = block_rows(vectors.shape[1])
    for begin in range(start, len(vectors), step):
        words = np.ascontiguousarray(vectors[begin : begin + step]).view(np.uint32)
        hashes[begin : begin + step] = words @ odd
    return hashes


def _first_equal(vectors: Matrix, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32] | None:
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    if len(first) * _FEW_EQUAL > len(hashes):
        return None
    firsts = first.astype(np.int32)[which]
    step = block_rows(vectors.shape[1])
    for begin in range(0, len(vectors), step):
        part = slice(begin, begin + step)
        # Compare bits: NaN then equals itself, and zeros of both signs differ.
        same = (vectors[part].view(np.uint32) == vectors.take(firsts[part], axis=0).view(np.uint32)).all(axis=1)
        if not same.all():
            at = np.flatnonzero(~same) + begin
            firsts[at] = at
    return firsts
