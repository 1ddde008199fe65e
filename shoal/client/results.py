"""Hits and points, which the SDK builds from columns. Its other results are in `shoal.core.replies`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.payload import payload_from_json
from shoal.core.points import Matrix, PointId, StoredColumns
from shoal.core.shard_calls import QueryGroup, SegmentExplain
from shoal.core.topk import HitColumns

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hit:
    """A point that a search found.

    score: squared Euclidean distance (l2), inner product (ip) or cosine similarity; payload: the dict as it was
    written, None if there is none or it was not requested; vector: (dim,) float32, read-only, if requested; it is
    ignored in comparisons.
    """

    id: PointId
    score: float
    payload: dict[str, Any] | None = field(default=None, hash=False)
    vector: Vector | None = field(default=None, compare=False)


class Hits(list[Hit]):
    """Hits of one query, best first.

    missing_shards: with allow_partial, the shards that did not answer, as "name/number"; more: with radius, whether k
    hits were found, so that more points may lie within it; explain: if requested, how each segment of each shard was
    searched for the queries of this call with the same k and filter.
    """

    missing_shards: tuple[str, ...] = ()
    more: bool = False
    explain: tuple[SegmentExplain, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A point that was read. payload and vector: as written; None if there is none or it was not requested."""

    id: PointId
    payload: dict[str, Any] | None = field(default=None, hash=False)
    vector: Vector | None = field(default=None, compare=False)


def hits_of(columns: HitColumns, missing_shards: tuple[str, ...]) -> list[Hits]:
    """Return the hits of each query, in the order of the queries."""
    made = list(map(Hit, columns.ids.tolist(), columns.scores.tolist(), _payloads(columns), _rows(columns)))
    answer, start = [], 0
    for count in columns.counts.tolist():
        hits = Hits(made[start : start + count])
        if missing_shards:
            hits.missing_shards = missing_shards
        answer.append(hits)
        start += count
    return answer


def mark_more(answer: Sequence[Hits], groups: Sequence[QueryGroup]) -> None:
    """Set `more` of each query for which k hits were found."""
    for group in groups:
        for at in _positions(group, len(answer)):
            answer[at].more = len(answer[at]) >= group.k


def mark_explain(answer: Sequence[Hits], groups: Sequence[QueryGroup], explain: Sequence[SegmentExplain]) -> None:
    """Set `explain` of each query to the explanations of its group."""
    for number, group in enumerate(groups):
        told = tuple(each for each in explain if each.group == number)
        for at in _positions(group, len(answer)):
            answer[at].explain = told


def _positions(group: QueryGroup, count: int) -> Sequence[int]:
    listed: Sequence[int] = range(count) if group.queries is None else group.queries.tolist()
    return listed


def points_of(columns: StoredColumns) -> list[Point]:
    """Return the points in the order of the columns."""
    return list(map(Point, columns.ids.tolist(), _payloads(columns), _rows(columns)))


def _payloads(columns: HitColumns | StoredColumns) -> Iterable[dict[str, Any] | None]:
    return [None] * len(columns) if columns.payloads is None else map(payload_from_json, columns.payloads)


def _rows(columns: HitColumns | StoredColumns) -> Matrix | list[None]:
    return [None] * len(columns) if columns.vectors is None else columns.vectors
