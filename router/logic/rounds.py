"""Plans the rounds of a search of several legs: what each leg is asked for, and with which weights it counts. Pure.

A round asks every leg for its best candidates. One round is enough, except for groups: as long as too few groups are
found, another round asks for four times as many candidates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Collection, CollectionSpec
from shoal.core.fused_search import DenseLeg, FusedSearch, Leg, TextLeg
from shoal.core.fusion import LegRule
from shoal.core.fusion_choice import Fusion
from shoal.core.ids import ShardId
from shoal.core.named_vectors import slices
from shoal.core.requests import Search
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextSearchCall
from shoal.core.text_query import TextAsk

DEEPER = 4
"""A round asks for so many times as many candidates as the one before."""

Positions = npt.NDArray[np.int64]
"""Ascending positions of queries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LegsPlan:
    """weights: of each leg, where it is searched, else 0; fusion: of the legs; smaller_is_better: of the scores of each
    leg; rules: see LegRule.
    """

    weights: tuple[float, ...]
    fusion: Fusion
    legs: tuple[Leg, ...]
    smaller_is_better: tuple[bool, ...]

    def rules(self, candidates: int) -> tuple[LegRule, ...]:
        """Return the rule of each leg, of which each was asked for so many candidates."""
        return tuple(
            LegRule(
                name=leg.name,
                weight=weight,
                smaller_is_better=smaller_is_better,
                padded_to=candidates if isinstance(leg, TextLeg) and weight else 0,
            )
            for leg, weight, smaller_is_better in zip(self.legs, self.weights, self.smaller_is_better, strict=True)
        )

    @property
    def searched(self) -> tuple[int, ...]:
        """Return the positions of the legs that are searched."""
        return tuple(at for at, weight in enumerate(self.weights) if weight)

    @property
    def ascending(self) -> bool:
        """Return whether a smaller score of a hit is better: those of a single leg of distances."""
        return self.smaller_is_better == (True,)

    @property
    def lone_vectors(self) -> DenseLeg | None:
        """Return the only leg that is searched, if it looks for vectors; else None."""
        searched = self.searched
        leg = self.legs[searched[0]]
        return leg if len(searched) == 1 and isinstance(leg, DenseLeg) else None


def legs_plan(question: FusedSearch, spec: CollectionSpec) -> LegsPlan:
    """Return how the legs of a search count. What it does not say, the collection does."""
    defaults = spec.defaults
    return LegsPlan(
        weights=tuple(weight_of(leg, spec) for leg in question.legs),
        fusion=question.fusion or defaults.fusion,
        legs=question.legs,
        smaller_is_better=tuple(isinstance(leg, DenseLeg) and spec.vector_of(leg.vector).metric.smaller_is_better for leg in question.legs),
    )


def compared_leg(question: FusedSearch, spec: CollectionSpec) -> DenseLeg | None:
    """Return the leg whose vector diversity compares: the first one by a vector that is searched, else the first one by
    a vector; None if there is none.
    """
    dense = [leg for leg in question.legs if isinstance(leg, DenseLeg)]
    return next((leg for leg in dense if weight_of(leg, spec)), dense[0] if dense else None)


def compared_part(question: FusedSearch, spec: CollectionSpec) -> slice:
    """Return where the vector that diversity compares lies in the rows that are stored: all of it without names."""
    leg = compared_leg(question, spec)
    if not spec.vectors or leg is None:
        return slice(None)
    parts = slices([each.dim for each in spec.vectors])
    return parts[spec.vectors.index(spec.vector_of(leg.vector))]


def weight_of(leg: Leg, spec: CollectionSpec) -> float:
    """Return the weight of a leg; the collection's if it has none."""
    if leg.weight is not None:
        return leg.weight
    return spec.defaults.dense_weight if isinstance(leg, DenseLeg) else spec.defaults.text_weight


def dense_search(question: FusedSearch, leg: DenseLeg, positions: Positions, candidates: int) -> Search:
    """Return the search of a leg of vectors, for the queries at these positions."""
    return Search(
        collection=question.collection,
        queries=leg.queries if len(positions) == len(leg) else leg.queries[positions],
        groups=groups_at(question.groups, positions, candidates),
        accuracy=question.accuracy,
        radius=leg.min_score,
        explain=question.explain,
        with_payload=False,
        with_vectors=False,
        allow_partial=question.allow_partial,
        read=question.read,
        vector=leg.vector,
    )


def text_search(
    question: FusedSearch, leg: TextLeg, positions: Positions, candidates: int, collection: Collection, shards: tuple[ShardId, ...]
) -> TextSearchCall:
    """Return the search of a leg of texts, for the queries at these positions, without statistics."""
    read = question.read
    return TextSearchCall(
        shards=shards,
        asks=tuple(boosted(leg.asks[at], collection.spec) for at in positions.tolist()),
        groups=groups_at(question.groups, positions, candidates),
        min_score=leg.min_score,
        shares=question.explain,
        explain=question.explain,
        consistency=read.consistency,
        min_seqs=read.min_seqs(),
        caller=read.caller,
    )


def boosted(ask: TextAsk, spec: CollectionSpec) -> TextAsk:
    """Return an ask that names no fields with all those of the collection, and its boosts.

    Workers may not know yet that a field was added: an ask that names it is refused there, and not answered without it.
    """
    if ask.fields:
        return ask
    boosts = dict(spec.defaults.boosts)
    return dataclasses.replace(ask, fields=tuple((field.name, boosts.get(field.name, 1.0)) for field in spec.text))


def groups_at(groups: Sequence[QueryGroup], positions: Positions, k: int) -> tuple[QueryGroup, ...]:
    """Return the groups of the queries at these positions, numbered anew, with another k.

    Groups with the same filter stay apart, except that a single group of all queries stays one.
    """
    if len(groups) == 1:
        return (QueryGroup(k=k, filter=groups[0].filter),)
    taken = [
        (group, positions if group.queries is None else np.intersect1d(positions, group.queries, assume_unique=True)) for group in groups
    ]
    return tuple(
        QueryGroup(k=k, filter=group.filter, queries=np.searchsorted(positions, mine).astype(np.int64))
        for group, mine in taken
        if len(mine)
    )


def deeper(candidates: int, most: int) -> int | None:
    """Return how many candidates the next round asks for; None if there is no further one. most: ever asked for."""
    return None if candidates >= most else min(candidates * DEEPER, most)
