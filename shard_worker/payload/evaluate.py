"""A filter over one segment: its tests are answered by an index, its connectives by set algebra."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from pyroaring import BitMap

from shard_worker.payload.field_index import Test
from shard_worker.payload.matched import Matched, all_of, any_of, none_of
from shard_worker.payload.positions import Positions, bitmap, bitmap_of
from shoal.core.filter import And, Filter, HasId, Not, Or
from shoal.core.points import INT64_MAX, INT64_MIN, IdArray, PointId


def evaluate(filter: Filter, answer: Callable[[Test], Matched], ids: IdArray) -> Matched:
    """Rows that match. answer: rows that pass a test of one field; ids: (n,) ids of exactly the rows."""
    match filter:
        case And():
            return _all_of(filter.terms, answer, ids)
        case Or():
            return any_of([evaluate(term, answer, ids) for term in filter.terms])
        case Not():
            return none_of(evaluate(filter.term, answer, ids), len(ids))
        case HasId():
            return Matched(sure=_with_ids(filter.ids, ids), unsure=BitMap())
        case _:
            return answer(filter)


def _all_of(terms: Iterable[Filter], answer: Callable[[Test], Matched], ids: IdArray) -> Matched:
    """As all_of, without asking further once no row is left."""
    asked: list[Matched] = []
    for term in terms:
        asked.append(evaluate(term, answer, ids))
        if not asked[-1].sure and not asked[-1].unsure:
            return asked[-1]
    return all_of(asked, len(ids))


def _with_ids(wanted: tuple[PointId, ...], ids: IdArray) -> BitMap:
    """Positions of the ids that are wanted."""
    if ids.dtype == object:
        known = set(wanted)
        return bitmap_of(position for position, point_id in enumerate(ids.tolist()) if point_id in known)
    numbers = [point_id for point_id in wanted if isinstance(point_id, int) and INT64_MIN <= point_id <= INT64_MAX]
    if not numbers:
        return BitMap()
    found: Positions = np.flatnonzero(np.isin(ids, np.array(numbers, dtype=np.int64))).astype(np.uint32)
    return bitmap(found)
