"""Asks the legs of a search for their hits, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shoal.core.collection import Collection
from shoal.core.deadline import Clock
from shoal.core.fused_search import DenseLeg, FusedSearch, TextLeg
from shoal.core.fusion import LegHits
from shoal.core.points import PointId, id_array
from shoal.core.shard_calls import SegmentExplain
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.text_hits import without_words
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker, Turn
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.read_plan import shards_of
from shoal.router.logic.retry import RetryPatience
from shoal.router.logic.rounds import LegsPlan, Positions, dense_search, text_search
from shoal.router.logic.text_gather import gather_texts, leg_hits, shares_by_query
from shoal.router.logic.write_plan import parts_of
from shoal.router.shards.text_asks import TextReads
from shoal.router.verbs.reads import Reads
from shoal.runtime.fair_pool import FairPool

NO_HITS = LegHits(ids=id_array(()), scores=np.empty(0))

Shares = dict[PointId, tuple[WordShare, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LegFound:
    """What one leg found. hits: of each query asked; shares: of each query, by id; us: microseconds that it took;
    missing: numbers of the shards that did not answer; wordless: see LegColumns.
    """

    hits: Sequence[LegHits]
    shares: Sequence[Shares] = ()
    segments: tuple[SegmentExplain, ...] = ()
    texts: tuple[TextExplain, ...] = ()
    us: float = 0.0
    missing: frozenset[int] = frozenset()
    wordless: tuple[int, ...] = ()


class FusedLegs:
    """Asks legs. Used from one event loop."""

    def __init__(self, *, view: ClusterView, reads: Reads, texts: TextReads, conversions: FairPool, clock: Clock) -> None:
        """conversions: pool that merges many hits."""
        self._view, self._reads, self._texts, self._conversions, self._clock = view, reads, texts, conversions, clock

    async def found(
        self,
        question: FusedSearch,
        plan: LegsPlan,
        positions: Positions,
        candidates: int,
        collection: Collection,
        patience: RetryPatience,
    ) -> list[LegFound]:
        """Return what each leg found for the queries at these positions. A leg of weight 0 is not asked.

        Raises the error of a leg. With allow_partial, a shard that one leg misses is left out of all legs.
        """
        asked = [self._leg(question, plan, at, positions, candidates, collection, patience) for at in range(len(plan.legs))]
        if len(plan.searched) == 1:
            return self._without_missing([await each for each in asked], collection)
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(each) for each in asked]
        except ExceptionGroup as errors:
            # Not except*: what is raised there is wrapped again, by some versions of Python.
            raise _first(errors) from None
        return self._without_missing([each.result() for each in running], collection)

    async def _leg(
        self,
        question: FusedSearch,
        plan: LegsPlan,
        at: int,
        positions: Positions,
        candidates: int,
        collection: Collection,
        patience: RetryPatience,
    ) -> LegFound:
        began, leg = self._clock(), plan.legs[at]
        match leg:
            case _ if not plan.weights[at]:
                return LegFound(hits=[NO_HITS] * len(positions), shares=[{}] * len(positions))
            case DenseLeg():
                found = await self._dense(question, leg, positions, candidates, collection, patience)
            case TextLeg():
                found = await self._text(question, leg, positions, candidates, collection, patience)
        return replace(found, us=(self._clock() - began) * 1e6)

    async def _dense(
        self,
        question: FusedSearch,
        leg: DenseLeg,
        positions: Positions,
        candidates: int,
        collection: Collection,
        patience: RetryPatience,
    ) -> LegFound:
        found = await self._reads.found(dense_search(question, leg, positions, candidates), collection, patience)
        return LegFound(
            hits=leg_hits(found.hits),
            shares=[{}] * len(positions),
            segments=found.explain,
            missing=frozenset(int(name.rpartition("/")[2]) for name in found.missing_shards),
        )

    async def _text(
        self,
        question: FusedSearch,
        leg: TextLeg,
        positions: Positions,
        candidates: int,
        collection: Collection,
        patience: RetryPatience,
    ) -> LegFound:
        call = text_search(question, leg, positions, candidates, collection, shards_of(collection))
        covered = await self._texts.search(collection, call, patience, allow_partial=question.allow_partial)
        parts = [part.hits for part in covered.parts]

        def gathered(_: Turn) -> tuple[Sequence[LegHits], Sequence[Shares]]:
            hits = gather_texts(parts, candidates)
            return leg_hits(hits), shares_by_query(hits)

        asker, many = Asker(caller=question.read.caller), sum(map(len, parts)) > MANY_HITS
        hits, shares = await self._conversions.aside(gathered, asker, patience.deadline, long=many)
        explain = [replace(each, query=int(positions[each.query])) for part in covered.parts for each in part.explain]
        return LegFound(
            hits=hits,
            shares=shares,
            texts=tuple(sorted(explain, key=lambda each: (each.query, each.shard))),
            missing=frozenset(each.number for each in covered.missed),
            wordless=tuple(int(positions[at]) for at in without_words([part.wordless for part in covered.parts])),
        )

    def _without_missing(self, legs: list[LegFound], collection: Collection) -> list[LegFound]:
        """Return the legs without the hits of shards that one of them misses."""
        missing = frozenset().union(*(leg.missing for leg in legs))
        if not missing:
            return legs
        return [replace(leg, hits=[self._elsewhere(hits, missing, collection) for hits in leg.hits]) for leg in legs]

    def _elsewhere(self, hits: LegHits, missing: frozenset[int], collection: Collection) -> LegHits:
        if not len(hits):
            return hits
        kept = np.zeros(len(hits), dtype=bool)
        for part in parts_of(hits.ids, self._view.current.shards_of(collection.id), collection.spec.name):
            kept[slice(None) if part.positions is None else part.positions] = part.number not in missing
        return LegHits(ids=hits.ids[kept], scores=hits.scores[kept])


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """Return the first error of a group of tasks: it has ended the others."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, Exception)
    return first
