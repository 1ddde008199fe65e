"""Find the rows of a part that match a filter: by its payload index where this is certain, else by reading payloads.

Owns the way from a filter to positions. Does not guess: when the index is unsure of a row, its payload is read; when
this payload has been replaced since, the view is outdated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from shoal.core.filter import Filter, filter_key
from shoal.core.filter_predicate import Predicate, predicate_of
from shoal.core.payload import payload_from_json
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.search.ask import SearchContext, ViewOutdated
from shoal.shard_worker.index.search.hot_filters import HotFilter, Positions
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.read_pace import ReadPace


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """A filter and its key, which equal filters share. Made once per search."""

    filter: Filter
    key: str

    @classmethod
    def of(cls, filter: Filter) -> Sought:
        """Return the filter with its key."""
        return cls(filter=filter, key=filter_key(filter))


def matching(part: SegmentView, sought: Sought, seq: int, context: SearchContext, turn: Turn = FREE) -> tuple[HotFilter, bool]:
    """Return the rows of the part that match, and whether they were known before.

    Raises ViewOutdated when the payload of a row that lives at `seq` has been replaced meanwhile, and the errors of the
    turn.
    """
    known = context.hot.find(part, sought.key, seq)
    if known is not None:
        return known, True
    matched = part.payloads.match(sought.filter, part.ids, turn)
    estimate = (len(matched.sure) + len(matched.unsure) / 2) / max(1, len(part))
    found = _ascending(matched.sure)
    verified_seq = 0
    if matched.unsure:
        verified = _verified(part, sought.filter, _ascending(matched.unsure), seq, context, turn)
        found = np.union1d(found, verified)
        verified_seq = seq
    hot = HotFilter(positions=found, rows=len(part), estimate=estimate, verified_seq=verified_seq)
    context.hot.keep(part, sought.key, hot)
    return hot, False


def _ascending(positions: BitMap) -> Positions:
    """Return the positions of a bitmap, ascending. (n,) int64."""
    found: npt.NDArray[np.uint32] = np.asarray(positions.to_array(), dtype=np.uint32)
    return found.astype(np.int64)


def _verified(part: SegmentView, filter: Filter, unsure: Positions, seq: int, context: SearchContext, turn: Turn) -> Positions:
    """Return the positions in `unsure` whose payload matches; dead rows are left out."""
    alive = unsure[part.deaths.take(unsure) > seq]
    judge, pace, start = predicate_of(filter, turn.pause), ReadPace(), 0
    kept = [np.empty(0, dtype=np.int64)]
    while start < len(alive):
        turn.pause()
        block = alive[start : start + pace.rows]
        kept.append(_judged(part, judge, block, context, pace, turn))
        start += len(block)
    return np.concatenate(kept)


def _judged(part: SegmentView, judge: Predicate, positions: Positions, context: SearchContext, pace: ReadPace, turn: Turn) -> Positions:
    payloads = context.read_payloads(part.rows.take(positions))
    if payloads is None:
        raise ViewOutdated(f"one of {len(positions)} points that segment {part.key} must read has been replaced, search a newer view")
    pace.saw(len(payloads), sum(len(text) for text in payloads if text is not None))
    ids = part.ids.take(positions).tolist()
    passed: list[bool] = []
    for text, point_id in zip(payloads, ids, strict=True):
        turn.pause()
        passed.append(judge(payload_from_json(text), point_id))
    kept: Positions = positions[np.array(passed, dtype=bool)]
    return kept
