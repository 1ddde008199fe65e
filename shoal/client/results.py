"""Hits and points, which the SDK builds from columns. Its other results are in `shoal.core.replies`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shoal.core.payload import payload_from_json
from shoal.core.points import PointId, StoredColumns
from shoal.core.shard_calls import QueryGroup, SegmentExplain
from shoal.core.topk import HitColumns
from shoal.wire.search_bytes import HitLists

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hit:
    """A point that a search found.

    score: squared Euclidean distance (l2), inner product (ip) or cosine similarity; payload: the dict as it was
    written, None if there is none or it was not requested; vector: (dim,) float32, read-only, if requested; it is
    ignored in comparisons.

    The JSON text of a payload is read when `payload` is used for the first time. DataLoss is then raised if the text
    is damaged.
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
    """A point that was read. payload and vector: as written; None if there is none or it was not requested.

    The JSON text of a payload is read as that of a Hit.
    """

    id: PointId
    payload: dict[str, Any] | None = field(default=None, hash=False)
    vector: Vector | None = field(default=None, compare=False)


class _StoredPayload:
    """Stands in the place of the slot `payload`: a text in the slot is replaced by its value at the first use."""

    __slots__ = ("_slot",)

    def __init__(self, slot: Any) -> None:
        self._slot = slot

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        if owner is None:
            return self
        value = self._slot.__get__(owner)
        if isinstance(value, bytes | str):
            value = payload_from_json(value if isinstance(value, bytes) else value.encode("utf-8"))
            self._slot.__set__(owner, value)
        return value

    def __set__(self, owner: Any, value: Any) -> None:
        self._slot.__set__(owner, value)


_SLOTS: dict[type, dict[str, Any]] = {kind: {each.name: getattr(kind, each.name).__set__ for each in fields(kind)} for kind in (Hit, Point)}
"""For each class, the functions that fill its slots. They are those of the interpreter, so a loop over them is fast."""

for _kind in _SLOTS:
    _kind.payload = _StoredPayload(_kind.payload)  # type: ignore[attr-defined]

_Made = TypeVar("_Made", Hit, Point)


def _made(kind: type[_Made], count: int, **columns: Iterable[Any]) -> list[_Made]:
    """Return `count` objects with these values. No Python code runs for each of them."""
    made: list[_Made] = list(map(object.__new__, repeat(kind, count)))
    for name, fill in _SLOTS[kind].items():
        deque(map(fill, made, columns[name]), maxlen=0)
    return made


def hits_of(columns: HitColumns, missing_shards: tuple[str, ...]) -> list[Hits]:
    """Return the hits of each query, in the order of the queries."""
    made = _made(
        Hit,
        len(columns),
        id=columns.ids.tolist(),
        score=columns.scores.tolist(),
        payload=_or_none(columns.payloads),
        vector=_or_none(columns.vectors),
    )
    return _by_query(made, columns.counts.tolist(), missing_shards)


def hits_of_lists(lists: HitLists) -> list[Hits]:
    """Return the hits of each query, in the order of the queries."""
    payloads = map(_text_or_none, lists.payloads) if "" in lists.payloads else lists.payloads or repeat(None)
    made = _made(Hit, len(lists.ids), id=lists.ids, score=lists.scores, payload=payloads, vector=repeat(None))
    return _by_query(made, lists.counts, lists.missing_shards)


def _by_query(made: list[Hit], counts: Sequence[int], missing_shards: tuple[str, ...]) -> list[Hits]:
    answer, start = [], 0
    for count in counts:
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
    return _made(Point, len(columns), id=columns.ids.tolist(), payload=_or_none(columns.payloads), vector=_or_none(columns.vectors))


def _or_none(column: Iterable[Any] | None) -> Iterable[Any]:
    return repeat(None) if column is None else column


def _text_or_none(text: str) -> str | None:
    return text or None
