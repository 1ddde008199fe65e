"""Evaluate a filter over one segment: an index answers its tests, set algebra its connectives."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from pyroaring import BitMap

from shoal.core.filter import And, Filter, HasId, Not, Or
from shoal.core.points import INT64_MAX, INT64_MIN, IdArray, PointId
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.payload.field_index import Test
from shoal.shard_worker.payload.matched import Matched, all_of, none_of
from shoal.shard_worker.payload.positions import Positions, bitmap, bitmap_of


def evaluate(filter: Filter, answer: Callable[[Test], Matched], ids: IdArray, turn: Turn = FREE) -> Matched:
    """Return the rows that match.

    answer: returns the rows that pass a test of one field; ids: (n,) ids of exactly the rows. The turn may pause before
    each condition.
    """
    turn.pause()
    match filter:
        case And():
            return _all_of(filter.terms, answer, ids, turn)
        case Or():
            return _any_of(filter.terms, answer, ids, turn)
        case Not():
            return none_of(evaluate(filter.term, answer, ids, turn), len(ids))
        case HasId():
            return Matched(sure=_with_ids(filter.ids, ids), unsure=BitMap())
        case _:
            return answer(filter)


def _any_of(terms: Iterable[Filter], answer: Callable[[Test], Matched], ids: IdArray, turn: Turn) -> Matched:
    """Return the same as matched.any_of, without keeping the rows of each term."""
    sure, unsure = BitMap(), BitMap()
    for term in terms:
        found = evaluate(term, answer, ids, turn)
        sure |= found.sure
        unsure |= found.unsure
    return Matched(sure=sure, unsure=unsure - sure)


def _all_of(terms: Iterable[Filter], answer: Callable[[Test], Matched], ids: IdArray, turn: Turn) -> Matched:
    """Return the same as matched.all_of, but stop once no row is left."""
    asked: list[Matched] = []
    for term in terms:
        asked.append(evaluate(term, answer, ids, turn))
        if not asked[-1].sure and not asked[-1].unsure:
            return asked[-1]
    return all_of(asked, len(ids))


def _with_ids(wanted: tuple[PointId, ...], ids: IdArray) -> BitMap:
    """Return the positions of the wanted ids."""
    if ids.dtype == object:
        known = set(wanted)
        return bitmap_of(position for position, point_id in enumerate(ids.tolist()) if point_id in known)
    numbers = [point_id for point_id in wanted if isinstance(point_id, int) and INT64_MIN <= point_id <= INT64_MAX]
    if not numbers:
        return BitMap()
    found: Positions = np.flatnonzero(np.isin(ids, np.array(numbers, dtype=np.int64))).astype(np.uint32)
    return bitmap(found)
