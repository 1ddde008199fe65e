"""How good each choice of `collection fit` is for each query, from legs that were read once. Pure.

What a leg gives its hits is computed as for searches (shoal/core/fusion.py). A test compares the orders with theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.fit_choices import FitChoice
from shoal.core.fusion import LegHits, LegRule, leg_gains, shares_of
from shoal.core.fusion_choice import Fusion
from shoal.core.points import PointId, id_order
from shoal.core.ranking_quality import DEPTH, Judged, best_gain, discount

Scores = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReadQuery:
    """What was read for one query. dense: of the dense leg; texts: of each reading of the text leg; judged: grades by
    id, at least one above 0.
    """

    dense: LegHits
    texts: tuple[LegHits, ...]
    judged: Judged


@dataclass(frozen=True, kw_only=True, slots=True)
class LegTerms:
    """How legs were read. candidates: most hits of a leg; smaller_is_better: of dense scores."""

    candidates: int
    smaller_is_better: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Family:
    """Choices that differ in weights only. shares: (choices, 2), dense and text; columns: their positions."""

    fusion: Fusion
    reading: int
    shares: Scores
    columns: Places


def outcomes(queries: Sequence[ReadQuery], choices: Sequence[FitChoice], terms: LegTerms) -> Scores:
    """Return the nDCG@10 of each choice for each query, (queries, choices) float64."""
    table: Scores = np.empty((len(queries), len(choices)))
    families = _families(choices)
    for row, query in zip(table, queries, strict=True):
        ranking = _Ranking(query)
        dense = {fusion: scaled(query.dense, fusion, terms, text=False) for fusion in {each.fusion for each in families}}
        for family in families:
            text = scaled(query.texts[family.reading], family.fusion, terms, text=True)
            row[family.columns] = ranking.judge(family, dense[family.fusion], text)
    return table


def scaled(hits: LegHits, fusion: Fusion, terms: LegTerms, *, text: bool) -> Scores:
    """Return what each hit of a leg adds to the fused score for a weight of 1, (hits,) float64, at least 0."""
    if text:
        rule = LegRule(name="text", weight=1.0, padded_to=terms.candidates)
    else:
        rule = LegRule(name="dense", weight=1.0, smaller_is_better=terms.smaller_is_better)
    return leg_gains(hits, rule, fusion)[0]


class _Ranking:
    """Points that any leg found for one query, ascending by id: those of equal scores are ranked by id."""

    def __init__(self, query: ReadQuery) -> None:
        legs = (query.dense, *query.texts)
        found: set[PointId] = {each for leg in legs for each in leg.ids.tolist()}
        at = {each: place for place, each in enumerate(sorted(found, key=id_order))}
        self._size = len(at)
        self._places = [np.array([at[each] for each in leg.ids.tolist()], dtype=np.intp) for leg in legs]
        self._relevant = [(at[each], grade) for each, grade in query.judged.items() if grade > 0 and each in at]
        self._best = best_gain(query.judged)

    def judge(self, family: _Family, dense: Scores, text: Scores) -> Scores:
        """Return the nDCG@10 of each choice of a family, (choices,). dense, text: what the hits of the legs add."""
        fused: Scores = np.full((len(family.shares), self._size), _NOT_FOUND)
        legs = ((self._places[0], dense), (self._places[family.reading + 1], text))
        for (places, added), weights in zip(legs, (family.shares[:, :1], family.shares[:, 1:]), strict=True):
            before = fused[:, places]
            searched = np.where(np.isinf(before), 0.0, before) + weights * added
            fused[:, places] = np.where(weights > 0, searched, before)
        gains = np.zeros(len(fused))
        for place, grade in self._relevant:
            own = fused[:, place : place + 1]
            above = (fused > own).sum(axis=1) + (fused[:, :place] == own).sum(axis=1)
            gains += np.where(own[:, 0] > _NOT_FOUND, grade * _DISCOUNTS[np.minimum(above, DEPTH)], 0.0)
        return gains / self._best


_NOT_FOUND = -np.inf
_DISCOUNTS = np.array([*(discount(rank) for rank in range(1, DEPTH + 1)), 0.0])


def _families(choices: Sequence[FitChoice]) -> list[_Family]:
    members: dict[tuple[Fusion, int], list[int]] = {}
    for column, choice in enumerate(choices):
        members.setdefault((choice.fusion, choice.reading), []).append(column)
    return [
        _Family(
            fusion=fusion,
            reading=reading,
            shares=np.array([shares_of((choices[each].dense, 1.0 - choices[each].dense)) for each in columns]),
            columns=np.array(columns),
        )
        for (fusion, reading), columns in members.items()
    ]
