"""Puts the answer of a search of several legs together from the hits that were chosen. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.fused_search import FieldSpans, HitExplain, LegColumns, LegExplain
from shoal.core.fusion import Candidates, LegRule, arithmetic
from shoal.core.fusion_choice import Fusion
from shoal.core.points import Matrix, PointId
from shoal.core.text_calls import WordShare
from shoal.core.topk import HitColumns, concat_ids
from shoal.router.logic.fused_pages import Pick, QueryCandidates, Vector


@dataclass(kw_only=True, slots=True)
class QueryPage:
    """The hits of one query. complete: see FusedFound; marks: highlights, by id."""

    query: QueryCandidates
    picks: Sequence[Pick]
    complete: bool
    marks: Mapping[PointId, tuple[FieldSpans, ...]] = field(default_factory=dict)

    @property
    def ids(self) -> list[PointId]:
        """Return the ids of the hits."""
        return [self.query.id_of(pick) for pick in self.picks]

    def without(self, gone: Container[PointId]) -> QueryPage:
        """Return the page without these hits. It is complete only if none of them is in it."""
        kept = [pick for pick, point_id in zip(self.picks, self.ids, strict=True) if point_id not in gone]
        return replace(self, picks=kept, complete=self.complete and len(kept) == len(self.picks))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What was read of final hits, by id, added to as it comes. Empty where it was not requested."""

    payloads: dict[PointId, bytes | None] = field(default_factory=dict)
    vectors: dict[PointId, Vector] = field(default_factory=dict)


def hits_of(pages: Sequence[QueryPage], stored: Stored, dim: int, *, with_payload: bool, with_vectors: bool) -> HitColumns:
    """Return the hits of all queries."""
    ids = concat_ids([candidates.ids[places] for candidates, places in _runs(pages)])
    listed = ids.tolist() if with_payload or with_vectors else []
    vectors: Matrix | None = None
    if with_vectors:
        vectors = np.stack([stored.vectors[each] for each in listed]) if listed else np.empty((0, dim), dtype=np.float32)
    with np.errstate(over="ignore"):
        scores = _joined([candidates.scores[places] for candidates, places in _runs(pages)], np.float64).astype(np.float32)
    return HitColumns(
        counts=np.array([len(page.picks) for page in pages], dtype=np.int64),
        ids=ids,
        scores=scores,
        payloads=tuple(stored.payloads[each] for each in listed) if with_payload else None,
        vectors=vectors,
    )


def legs_of(pages: Sequence[QueryPage], names: Sequence[str], wordless: Sequence[Iterable[int]]) -> tuple[LegColumns, ...]:
    """Return what each leg says of each hit. wordless: of each leg, see LegColumns."""
    return tuple(
        LegColumns(
            name=name,
            ranks=_joined([candidates.ranks[leg, places] for candidates, places in _runs(pages)], np.int64),
            scores=_joined([candidates.raw[leg, places] for candidates, places in _runs(pages)], np.float64),
            wordless=tuple(sorted(wordless[leg])),
        )
        for leg, name in enumerate(names)
    )


def values_of(pages: Sequence[QueryPage]) -> tuple[str, ...]:
    """Return the value of the group of each hit."""
    return tuple(pick.value or "" for page in pages for pick in page.picks)


def marks_of(pages: Sequence[QueryPage]) -> tuple[tuple[FieldSpans, ...], ...]:
    """Return the highlights of each hit."""
    return tuple(page.marks.get(each, ()) for page in pages for each in page.ids)


def merged_marks(marks: Sequence[tuple[FieldSpans, ...]]) -> tuple[FieldSpans, ...]:
    """Return the highlights of one hit from those of each text leg: each span once, ascending."""
    if len(marks) == 1:
        return marks[0]
    spans: dict[str, set[tuple[int, int]]] = {}
    for each in marks:
        for found in each:
            spans.setdefault(found.field, set()).update(found.spans)
    return tuple(FieldSpans(name, tuple(sorted(found))) for name, found in sorted(spans.items()))


def leg_explains(position: int, candidates: Candidates, names: Sequence[str], us: Sequence[float]) -> list[LegExplain]:
    """Return what fusion made of each leg for one query."""
    return [
        LegExplain(
            query=position,
            leg=name,
            hits=shape.hits,
            padded=shape.padded,
            lowest=shape.lowest,
            highest=shape.highest,
            deviation=shape.deviation,
            us=took,
        )
        for name, shape, took in zip(names, candidates.shapes, us, strict=True)
    ]


def hit_explain(page: QueryPage, pick: Pick, rules: Sequence[LegRule], fusion: Fusion, words: tuple[WordShare, ...]) -> HitExplain:
    """Return how one hit got its score."""
    return HitExplain(arithmetic=arithmetic(_at(page, pick), pick.place, rules, fusion), words=words, penalty=pick.penalty)


def _at(page: QueryPage, pick: Pick) -> Candidates:
    return page.query.rounds[pick.round]


def _runs(pages: Sequence[QueryPage]) -> Iterator[tuple[Candidates, list[int]]]:
    """Yield the hits of all pages in order: the candidates of a round, and places in them."""
    for page in pages:
        for number, picks in groupby(page.picks, key=lambda pick: pick.round):
            yield page.query.rounds[number], [pick.place for pick in picks]


def _joined(columns: Sequence[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate(columns) if columns else np.empty(0, dtype=kind)
