"""Hits and points, which the SDK builds from columns. Its other results are in `shoal.core.replies`."""

from __future__ import annotations

import html
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import repeat
from typing import Any, TypeVar

from shoal.client.highlights import field_text, highlighted
from shoal.client.named_columns import by_point
from shoal.core.fused_search import HitExplain, LegExplain, Span
from shoal.core.notebook import MOST_ROWS, html_of_records
from shoal.core.payload import payload_from_json
from shoal.core.points import PointId, StoredColumns
from shoal.core.shard_calls import QueryGroup, SegmentExplain
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.topk import HitColumns
from shoal.wire.search_bytes import HitLists

VectorValue = Any
"""A vector, (dim,) float32; in a collection with named vectors a dict of such vectors by name.

Only the collection tells which of the two it is, so a type checker takes it as it is used.
"""

WORDLESS = "the text holds no word to search for, only stop words or punctuation"
"""Said of Hits.wordless."""


@dataclass(frozen=True, slots=True)
class LegHit:
    """What one leg of a search says of a hit.

    rank: from 1; score: as the leg gives it, of a vector that of the metric, of a text BM25; words: what each word gave
    to the score, only with explain, and only if the search has one text leg.
    """

    rank: int
    score: float
    words: tuple[WordShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A point that a search found.

    score: squared Euclidean distance (l2), inner product (ip) or cosine similarity; payload: the dict as it was
    written, None if there is none or it was not requested; vector: (dim,) float32, read-only, if requested, in a
    collection with named vectors a dict of these by name, with the names that the point has; it is ignored in
    comparisons.

    The JSON text of a payload is read when `payload` is used for the first time. DataLoss is then raised if the text
    is damaged.

    A search with legs (a text, several legs, groups ...) tells more: legs, by name those that found the hit;
    highlights, if requested, by field the begins and ends of words of the query in its text, in characters, without
    fields that have none; group, with group_by, its value at that path. They are empty for other hits.
    """

    id: PointId
    score: float
    payload: dict[str, Any] | None = field(default=None, hash=False)
    vector: VectorValue | None = field(default=None, compare=False)

    @property
    def legs(self) -> Mapping[str, LegHit]:
        """Return what each leg that found the hit says of it, by name."""
        return {}

    @property
    def highlights(self) -> Mapping[str, tuple[Span, ...]]:
        """Return where words of the query are in the text of each field."""
        return {}

    @property
    def group(self) -> Any:
        """Return the value of the hit's group."""
        return None

    def highlighted(self, field: str, before: str = "**", after: str = "**") -> str:
        """Return the text of a text field with `before` and `after` around each word of the query.

        It needs the payload, and a search with highlight=True. Raises InvalidArgument for what is no payload path.
        """
        return highlighted(field_text(self.payload, field), self.highlights.get(field, ()), before, after)


class SearchExplain(tuple[SegmentExplain, ...]):
    """How a search was done: how each segment of each shard was searched by vectors, for the queries of the call with
    the same k and filter.

    Of a search with legs, also: legs, what fusion made of each; hits, in the order of the hits, how each got its score;
    texts, how each segment of each shard was searched by text.
    """

    legs: tuple[LegExplain, ...] = ()
    hits: tuple[HitExplain, ...] = ()
    texts: tuple[TextExplain, ...] = ()


class Hits(list[Hit]):
    """Hits of one query, best first.

    missing_shards: with allow_partial, the shards that did not answer, as "name/number"; more: with radius, whether k
    hits were found, so that more points may lie within it; complete: of a search with legs, whether k hits (or groups)
    were found, or there are no more; wordless: names of the text legs whose text held no word to search for, only stop
    words or punctuation, so that the leg found nothing; explain: if requested, how it was searched.
    """

    missing_shards: tuple[str, ...] = ()
    more: bool = False
    complete: bool = True
    wordless: tuple[str, ...] = ()
    explain: SearchExplain = SearchExplain()

    def __repr__(self) -> str:
        """Return the list as Python shows it, and the legs without words, if there are some."""
        listed = super().__repr__()
        return f"<Hits {listed}, wordless: {', '.join(self.wordless)}>" if self.wordless else listed

    def _repr_html_(self) -> str:
        """Return a table for notebooks: ids, scores, the rank and score of each leg, and the fields of payloads."""
        records = [_record_of(hit, {"score": hit.score, **_legs_of(hit)}) for hit in self[:MOST_ROWS]]
        note = f"<p>{WORDLESS}: leg {html.escape(', '.join(self.wordless))} found nothing</p>" if self.wordless else ""
        return html_of_records(records, len(self)) + note


@dataclass(frozen=True, slots=True)
class Point:
    """A point that was read. payload and vector: as written; None if there is none or it was not requested. In a
    collection with named vectors, vector is a dict of them by name, with the names that the point has.

    The JSON text of a payload is read as that of a Hit.
    """

    id: PointId
    payload: dict[str, Any] | None = field(default=None, hash=False)
    vector: VectorValue | None = field(default=None, compare=False)


class Points(list[Point]):
    """Points that were read, which notebooks show as a table: `Points(islice(client.scroll("things"), 20))`."""

    def _repr_html_(self) -> str:
        """Return a table for notebooks: ids, the fields of payloads, and the first numbers of vectors."""
        return html_of_records([_record_of(point, {}) for point in self[:MOST_ROWS]], len(self))


def _record_of(read: Hit | Point, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a hit or point. A field of a payload that has the name of another column comes last."""
    record: dict[str, Any] = {"id": str(read.id), **own}
    for name, value in (read.payload or {}).items():
        record[f"payload.{name}" if name in record or name == "vector" else name] = value
    if isinstance(read.vector, dict):
        return {**record, **{f"vector {name}": vector for name, vector in read.vector.items()}}
    return record if read.vector is None else {**record, "vector": read.vector}


def _legs_of(hit: Hit) -> dict[str, str]:
    return {f"leg {name}": f"{leg.rank}. ({leg.score:.4g})" for name, leg in hit.legs.items()}


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
        vector=vectors_of(columns),
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
        told = SearchExplain(each for each in explain if each.group == number)
        for at in _positions(group, len(answer)):
            answer[at].explain = told


def _positions(group: QueryGroup, count: int) -> Sequence[int]:
    listed: Sequence[int] = range(count) if group.queries is None else group.queries.tolist()
    return listed


def points_of(columns: StoredColumns) -> Points:
    """Return the points in the order of the columns."""
    return Points(_made(Point, len(columns), id=columns.ids.tolist(), payload=_or_none(columns.payloads), vector=vectors_of(columns)))


def vectors_of(columns: HitColumns | StoredColumns) -> Iterable[VectorValue]:
    """Return the vector of each hit or point: an array, a dict of arrays by name, or None if none was requested."""
    return _or_none(columns.vectors) if columns.named is None else by_point(columns.named, len(columns))


def _or_none(column: Iterable[Any] | None) -> Iterable[Any]:
    return repeat(None) if column is None else column


def _text_or_none(text: str) -> str | None:
    return text or None
