"""Searches with legs over a dictionary of points, in plain words: the answer that a DictCluster gives.

A text is the strings of a payload. Its words are runs of letters and digits, and single Han characters; a score is how
often a word of the query occurs. Several legs add 1 / (60 + rank) times their weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shoal.core.fused_search import (
    DenseLeg,
    FieldSpans,
    FusedExplain,
    FusedFound,
    FusedSearch,
    HitExplain,
    LegColumns,
    LegExplain,
    TextLeg,
)
from shoal.core.named_vectors import NamedVector
from shoal.core.points import PointId, StoredColumns, id_array, id_order
from shoal.core.shard_calls import SegmentExplain
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.topk import HitColumns
from tests.twins.named_points import columns_of, vector_named

Point = tuple[Any, bytes | None]
WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
TEXT_EXPLAINED = TextExplain(
    shard=0,
    segment="s1",
    state="sealed",
    query=0,
    rows=30_000,
    words=2,
    postings=512,
    plan="words first",
    eligible=30_000,
    scored=77,
    us=412.5,
)


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return [found.group().lower() for found in WORD.finditer(text)]


def spans_of(text: str, wanted: set[str]) -> tuple[tuple[int, int], ...]:
    """Return where the wanted words are."""
    return tuple(found.span() for found in WORD.finditer(text) if found.group().lower() in wanted)


def texts_of(point: Point) -> dict[str, str]:
    """Return the strings of a payload by name."""
    payload = json.loads(point[1]) if point[1] is not None else {}
    return {name: value for name, value in payload.items() if isinstance(value, str)}


def stored_points(held: Mapping[PointId, Point], ids: list[Any], request: Any, vectors: Sequence[NamedVector] = ()) -> StoredColumns:
    """Return points of a dictionary with what the request wants of them. vectors: the named ones of the collection."""
    rows = [held[value][0] for value in ids] if request.with_vectors else []
    return StoredColumns(
        ids=id_array(ids),
        vectors=None if vectors or not rows else np.stack(rows),
        payloads=tuple(held[value][1] for value in ids) if request.with_payload else None,
        named=columns_of(rows, vectors) if vectors and request.with_vectors else None,
    )


class FusedTwin:
    """One search with legs. segments: what it tells of searches by vectors; vectors: named ones of the collection."""

    def __init__(self, request: FusedSearch, segments: tuple[SegmentExplain, ...], vectors: Sequence[NamedVector] = ()) -> None:
        self.request, self.segments, self.vectors = request, segments, vectors

    def answer(self, held: Mapping[PointId, Point], matching: Any) -> FusedFound:
        """Return the answer. matching: filter -> ids."""
        request, rows, complete, counts = self.request, [], [], []
        for query in range(len(request.legs[0])):
            (group,) = (each for each in request.groups if each.queries is None or query in each.queries)
            found = self._one(query, {each: held[each] for each in matching(group.filter)})
            taken = found[request.offset : request.offset + group.k]
            rows += [(query, *each) for each in taken]
            counts.append(len(taken))
            complete.append(len(taken) == group.k or len(found) < request.candidates)
        return self._columns(held, rows, counts, complete)

    def _one(self, query: int, held: Mapping[PointId, Point]) -> list[tuple[PointId, float, dict[str, tuple[int, float]]]]:
        ranked = {leg.name: self._ranked(leg, query, held) for leg in self.request.legs if leg.weight != 0}
        fused: dict[PointId, float] = {}
        for leg in self.request.legs:
            weight = 1.0 if leg.weight is None else leg.weight
            for value, (rank, score) in ranked.get(leg.name, {}).items():
                fused[value] = fused.get(value, 0.0) + (score if len(self.request.legs) == 1 else weight / (60 + rank))
        order = sorted(fused, key=lambda each: (-fused[each], id_order(each)))
        legs = {each: {name: found[each] for name, found in ranked.items() if each in found} for each in order}
        listed = [(each, fused[each], legs[each]) for each in order]
        threshold = self.request.threshold
        return [each for each in listed if threshold is None or each[1] >= threshold]

    def _ranked(self, leg: DenseLeg | TextLeg, query: int, held: Mapping[PointId, Point]) -> dict[PointId, tuple[int, float]]:
        if isinstance(leg, DenseLeg):
            scored = {
                value: float(-((row - leg.queries[query]) ** 2).sum())
                for value, point in held.items()
                if (row := vector_named(point[0], leg.vector)) is not None
            }
        else:
            wanted = set(words_of(leg.asks[query].text))
            scored = {
                value: float(sum(word in wanted for text in texts_of(point).values() for word in words_of(text)))
                for value, point in held.items()
            }
            scored = {value: score for value, score in scored.items() if score}
        kept = {value: score for value, score in scored.items() if leg.min_score is None or score >= leg.min_score}
        order = sorted(kept, key=lambda each: (-kept[each], id_order(each)))[: self.request.candidates]
        return {value: (rank, kept[value]) for rank, value in enumerate(order, 1)}

    def _columns(self, held: Mapping[PointId, Point], rows: list[Any], counts: list[int], complete: list[bool]) -> FusedFound:
        request = self.request
        stored = stored_points(held, [value for _, value, _, _ in rows], request, self.vectors)
        scores = np.array([score for _, _, score, _ in rows], np.float32)
        legs = tuple(
            LegColumns(
                name=leg.name,
                ranks=np.array([found.get(leg.name, (0, 0.0))[0] for *_, found in rows], np.int64),
                scores=np.array([found.get(leg.name, (0, np.nan))[1] for *_, found in rows], np.float64),
                wordless=tuple(at for at, ask in enumerate(leg.asks) if not words_of(ask.text)) if isinstance(leg, TextLeg) else (),
            )
            for leg in request.legs
        )
        return FusedFound(
            hits=HitColumns(
                counts=np.array(counts),
                ids=stored.ids,
                scores=scores,
                payloads=stored.payloads,
                vectors=stored.vectors,
                named=stored.named,
            ),
            legs=legs,
            highlights=tuple(self._marks(query, held[value]) for query, value, *_ in rows) if request.highlight else None,
            group_values=tuple(self._group(held[value]) for _, value, *_ in rows) if request.group_by else None,
            complete=tuple(complete),
            missing_shards=("c/1",) if request.allow_partial else (),
            explain=self._explain(rows, len(counts)) if request.explain else None,
        )

    def _marks(self, query: int, point: Point) -> tuple[FieldSpans, ...]:
        wanted = {word for leg in self.request.legs if isinstance(leg, TextLeg) for word in words_of(leg.asks[query].text)}
        marked = {name: spans_of(text, wanted) for name, text in texts_of(point).items()}
        return tuple(FieldSpans(name, spans) for name, spans in marked.items() if spans)

    def _group(self, point: Point) -> str:
        assert self.request.group_by is not None
        return json.dumps(json.loads(point[1] or b"{}").get(self.request.group_by.path))

    def _explain(self, rows: list[Any], queries: int) -> FusedExplain:
        legs = tuple(
            LegExplain(query=query, leg=leg.name, hits=len(rows), padded=0, lowest=0.0, highest=2.0, deviation=0.5, us=321.0)
            for query in range(queries)
            for leg in self.request.legs
        )
        hits = tuple(HitExplain(arithmetic=f"sum of {len(found)}", words=(WordShare("t", "x", 0.5),)) for *_, found in rows)
        return FusedExplain(legs=legs, hits=hits, segments=self.segments, texts=(TEXT_EXPLAINED,))
