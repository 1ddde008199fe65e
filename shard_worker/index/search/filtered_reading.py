"""Count the points of a view that match a filter, page through them in id order, and name rows to delete.

Reads no vectors.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shoal.core.filter import Filter
from shoal.core.points import IdArray, PointId, id_order
from shoal.core.topk import concat_ids
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import Positions
from shoal.shard_worker.index.search.matching import Sought, matching
from shoal.shard_worker.index.view import IndexView, SegmentView

Rows = npt.NDArray[np.int64]

_TEXTS_AT_ONCE = 1 << 15
"""When a segment has text ids, at most this many of its ids are ordered at once."""


def count_view(view: IndexView, filter: Filter | None, context: SearchContext, turn: Turn = FREE) -> int:
    """Return the number of points that match the filter, of all points for None.

    Raises ViewOutdated when the caller must take a newer view.
    """
    if filter is None:
        return view.points
    return sum(len(positions) for _, positions in _matches(view, filter, context, turn))


def ids_page(
    view: IndexView, filter: Filter | None, after: PointId | None, limit: int, context: SearchContext, turn: Turn = FREE
) -> tuple[Rows, IdArray]:
    """Return (rows, ids) of the first `limit` matching points whose ids follow `after`, in id order: integers before
    strings.

    Raises ViewOutdated when the caller must take a newer view.
    """
    pages = [_first(part, positions, after, limit, turn) for part, positions in _matches(view, filter, context, turn)]
    rows = np.concatenate([np.empty(0, dtype=np.int64), *(rows for rows, _ in pages)])
    ids = concat_ids([ids for _, ids in pages])
    order = _id_order(ids, limit)
    return rows.take(order), ids.take(order)


def rows_matching(view: IndexView, filter: Filter, limit: int, context: SearchContext, turn: Turn = FREE) -> tuple[IdArray, Rows, bool]:
    """Return (ids, rows, more): at most `limit` points that match, in no order, and whether more points match.

    Raises ViewOutdated when the caller must take a newer view.
    """
    ids: list[IdArray] = []
    rows: list[Rows] = []
    room, more = limit, False
    for part, positions in _matches(view, filter, context, turn):
        taken = positions[:room]
        ids.append(part.ids.take(taken))
        rows.append(part.rows.take(taken))
        room -= len(taken)
        more = len(taken) < len(positions)
        if more:
            break
    return concat_ids(ids), np.concatenate([np.empty(0, dtype=np.int64), *rows]), more


def _matches(view: IndexView, filter: Filter | None, context: SearchContext, turn: Turn) -> Iterator[tuple[SegmentView, Positions]]:
    """Yield each part with the positions of its visible rows that match."""
    sought = None if filter is None else Sought.of(filter)
    for part in view.parts:
        if not part.live:
            continue
        turn.pause()
        if sought is None:
            yield part, np.flatnonzero(part.deaths > view.seq)
        else:
            hot, _ = matching(part, sought, view.seq, context, turn)
            yield part, hot.among(part, view.seq).positions


def _first(part: SegmentView, positions: Positions, after: PointId | None, limit: int, turn: Turn) -> tuple[Rows, IdArray]:
    """Return (rows, ids) of the `limit` smallest ids after `after`, in no order."""
    if part.ids.dtype == np.int64 or len(positions) <= _TEXTS_AT_ONCE:
        return _first_at_once(part, positions, after, limit)
    # Texts are compared in Python, which is slow. So select from one piece at a time, together with the best so far.
    firsts = np.empty(0, dtype=np.int64)
    for start in range(0, len(positions), _TEXTS_AT_ONCE):
        turn.pause()
        piece = np.concatenate([firsts, positions[start : start + _TEXTS_AT_ONCE]])
        ids = part.ids.take(piece)
        following = np.ones(len(ids), dtype=bool) if after is None else _following(ids, after)
        piece, ids = piece[following], ids[following]
        firsts = piece.take(_id_order(ids, limit))
    return part.rows.take(firsts), part.ids.take(firsts)


def _first_at_once(part: SegmentView, positions: Positions, after: PointId | None, limit: int) -> tuple[Rows, IdArray]:
    ids = part.ids.take(positions)
    if after is not None:
        following = _following(ids, after)
        ids, positions = ids[following], positions[following]
    if ids.dtype == np.int64 and len(ids) > limit:
        order = np.argpartition(ids, limit - 1)[:limit]
        return part.rows.take(positions.take(order)), ids.take(order)
    order = _id_order(ids, limit)
    return part.rows.take(positions.take(order)), ids.take(order)


def _following(ids: IdArray, after: PointId) -> npt.NDArray[np.bool_]:
    """Return a mask of the ids that come after `after`."""
    if ids.dtype == np.int64:
        return np.zeros(len(ids), dtype=bool) if isinstance(after, str) else ids > after
    bound = id_order(after)
    return np.fromiter((id_order(point_id) > bound for point_id in ids.tolist()), dtype=bool, count=len(ids))


def _id_order(ids: IdArray, limit: int) -> npt.NDArray[np.intp]:
    """Return the positions of the `limit` smallest ids, ascending."""
    if ids.dtype == np.int64:
        return np.argsort(ids, kind="stable")[:limit]
    listed = ids.tolist()
    return np.array(heapq.nsmallest(limit, range(len(listed)), key=lambda at: id_order(listed[at])), dtype=np.intp)
