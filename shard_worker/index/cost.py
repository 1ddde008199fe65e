"""What a search will cost, so that the caller can decide where to run it. Refuses precision: a factor of two either way."""

from __future__ import annotations

from shard_worker.index.approximate import exact_is_cheaper
from shard_worker.index.exact import TOGETHER_QUERIES
from shard_worker.index.view import Part, View

_CALL_US = 40.0
_PART_US = 15.0
_ALONE_US_PER_FLOAT = 1.4e-4
_TOGETHER_US_PER_FLOAT = 4e-5
_SELECT_US_PER_ROW = 7e-3
_BREADTH_US = 0.7
_BREADTH_US_PER_DIM = 2.2e-3


def estimated_search_us(view: View, *, nq: int, k: int, exact: bool, ef: int, dim: int) -> float:
    """Estimated time of search_view in one thread, in microseconds."""
    return _CALL_US + sum(_part_us(part, nq, max(k, ef), dim, exact=exact) for part in view.parts if part.live)


def _part_us(part: Part, nq: int, breadth: int, dim: int, *, exact: bool) -> float:
    if exact or part.graph is None or exact_is_cheaper(len(part), breadth):
        per_float = _TOGETHER_US_PER_FLOAT if nq >= TOGETHER_QUERIES else _ALONE_US_PER_FLOAT
        return _PART_US + nq * len(part) * (per_float * dim + _SELECT_US_PER_ROW)
    return _PART_US + nq * breadth * (_BREADTH_US + _BREADTH_US_PER_DIM * dim)
