"""Carries out one search of several legs: ask the legs, fuse, choose a page, read the points of the page.

Only the ids and scores of candidates travel at first. Payloads of candidates are read for groups, vectors for
diversity, and both, if requested, for the final hits only. A hit that was deleted meanwhile, or written anew so that it
does not match the filter, is left out, and the next one moves up.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from shoal.core.collection import Collection
from shoal.core.deadline import Clock
from shoal.core.filter import are_long
from shoal.core.filter_predicate import Predicate, predicate_of
from shoal.core.fused_search import FusedExplain, FusedFound, FusedSearch, LegExplain, TextLeg
from shoal.core.fusion import Candidates, fuse
from shoal.core.hit_groups import group_path, group_value
from shoal.core.limits import Limits
from shoal.core.payload import payload_from_json
from shoal.core.points import PointId, StoredColumns, id_array
from shoal.core.shard_calls import SegmentExplain, k_of_queries
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker, Turn
from shoal.router.logic.checks import check_answer_bytes, check_message_bytes
from shoal.router.logic.fused_answer import QueryPage, Stored, hit_explain, hits_of, leg_explains, legs_of, marks_of, values_of
from shoal.router.logic.fused_pages import Known, PageRules, QueryCandidates, Vector, entries_of, heads_of, page_of
from shoal.router.logic.named_points import unpacked_hits
from shoal.router.logic.read_plan import shard_name
from shoal.router.logic.retry import RetryPatience
from shoal.router.logic.rounds import boosted, compared_part, deeper, legs_plan
from shoal.router.verbs.fused_legs import FusedLegs, LegFound, Shares
from shoal.router.verbs.points_by_id import PointsById, Take
from shoal.router.verbs.reads import FEWER_HITS
from shoal.router.verbs.text_marks import MarksWanted, TextMarks
from shoal.runtime.fair_pool import FairPool

MOST_CHOICES = 4
"""A page is chosen so often, because hits of the choice before were deleted or do not match any more; those of the last
choice are left out."""

MANY_FLOATS = 2_000_000
"""About so many products take a millisecond. More are not computed on an event loop that others wait for."""

LONG_BYTES = 64 * 1024
"""Payloads of more bytes are not read on the event loop."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedParts:
    """What carries searches out. conversions: pool for what takes long."""

    legs: FusedLegs
    points: PointsById
    marks: TextMarks
    conversions: FairPool
    clock: Clock
    limits: Limits


class FusedRun:
    """One search, checked against the collection."""

    def __init__(self, parts: FusedParts, question: FusedSearch, collection: Collection, patience: RetryPatience) -> None:
        self._parts, self._question, self._collection, self._patience = parts, question, collection, patience
        self._plan = legs_plan(question, collection.spec)
        self._compared = compared_part(question, collection.spec)
        grouped = question.group_by
        self._path = None if grouped is None else group_path(grouped.path, parts.limits)
        self._rules = PageRules(
            offset=question.offset,
            diversity=question.diversity,
            group_size=None if grouped is None else grouped.size,
            threshold=question.threshold,
            ascending=self._plan.ascending,
        )
        self._filters = [group.filter for group in question.groups if group.filter is not None]
        self._tests: dict[int, Predicate] | None = None
        self._missing: set[int] = set()
        self._wordless: list[set[int]] = [set() for _ in question.legs]
        self._gone: set[PointId] = set()
        self._values: dict[PointId, str | None] = {}
        self._vectors: dict[PointId, Vector] = {}
        self._final: set[PointId] = set()
        self._stored = Stored()
        self._stored_bytes = 0
        self._leg_explains: dict[int, list[LegExplain]] = {}
        self._shares: dict[int, Sequence[Shares]] = {}
        self._segments: list[SegmentExplain] = []
        self._texts: list[TextExplain] = []

    async def found(self) -> FusedFound:
        """Return the answer."""
        pages: list[QueryPage] = []
        for queries in self._chunks():
            pages += await self._pages(queries)
        return await self._aside(lambda _: self._answer(pages), long=sum(len(page.picks) for page in pages) > MANY_HITS)

    def _chunks(self) -> Iterator[list[QueryCandidates]]:
        """Yield the queries, at most so many at once that the vectors of their candidates fit into memory."""
        question, count = self._question, len(self._question.legs[0])
        ks = np.broadcast_to(np.asarray(k_of_queries(question.groups, count)), count).tolist()
        lone = self._plan.lone_vectors
        queries = [QueryCandidates(position=at, k=k, query=None if lone is None else lone.queries[at]) for at, k in enumerate(ks)]
        if not question.diversity:
            yield queries
            return
        row_bytes = 4 * self._compared_dim * question.candidates * len(self._plan.searched)
        yield from _slices(queries, self._parts.limits.message_bytes // row_bytes)

    @property
    def _compared_dim(self) -> int:
        """Return the dimension of the vectors that diversity compares."""
        return len(range(*self._compared.indices(self._collection.spec.point_dim)))

    async def _pages(self, queries: list[QueryCandidates]) -> list[QueryPage]:
        """Return the pages of some queries."""
        await self._round(queries, self._question.candidates)
        if self._path is not None:
            await self._deepen(queries)
        pages = await self._chosen(queries)
        if self._question.highlight:
            await self._highlight(pages)
        return pages

    async def _round(self, queries: Sequence[QueryCandidates], candidates: int) -> None:
        """Ask the legs for so many candidates of each query, and fuse them."""
        positions = np.array([each.position for each in queries], dtype=np.int64)
        legs = await self._parts.legs.found(self._question, self._plan, positions, candidates, self._collection, self._patience)
        rules, fusion = self._plan.rules(candidates), self._plan.fusion

        def fused(turn: Turn) -> list[Candidates]:
            found = []
            for at in range(len(queries)):
                turn.pause()
                found.append(fuse([leg.hits[at] for leg in legs], rules, fusion))
            return found

        many = sum(len(hits) for leg in legs for hits in leg.hits) > MANY_HITS
        for at, (query, found) in enumerate(zip(queries, await self._aside(fused, long=many), strict=True)):
            exhausted = all(len(legs[leg].hits[at]) < candidates for leg in self._plan.searched)
            query.add(found, self._rules, exhausted=exhausted)
            if self._question.explain:
                self._explain(query, found, [leg.us for leg in legs], [leg.shares[at] for leg in legs])
        self._note(legs)

    def _note(self, legs: Sequence[LegFound]) -> None:
        for leg, wordless in zip(legs, self._wordless, strict=True):
            wordless.update(leg.wordless)
            self._missing |= leg.missing
            self._segments += leg.segments
            self._texts += leg.texts

    def _explain(
        self,
        query: QueryCandidates,
        found: Candidates,
        us: Sequence[float],
        shares: Sequence[Shares],
    ) -> None:
        """Keep how the legs of a query were searched. The last round tells: it has the candidates of those before."""
        names = [leg.name for leg in self._question.legs]
        self._leg_explains[query.position] = leg_explains(query.position, found, names, us)
        self._shares[query.position] = shares

    def _words(self, position: int, point_id: PointId) -> tuple[WordShare, ...]:
        return tuple(word for shares in self._shares[position] for word in shares.get(point_id, ()))

    async def _deepen(self, queries: Sequence[QueryCandidates]) -> None:
        """Read the values of groups; as long as a query has too few groups, ask for more candidates."""
        depth, lacking = self._question.candidates, list(queries)
        while True:
            await self._read_values(lacking)
            lacking = [each for each in lacking if not each.ended and self._entries(each) < self._rules.offset + each.k]
            following = deeper(depth, self._parts.limits.k)
            if not lacking or following is None:
                return
            depth = following
            for some in _slices(lacking, self._parts.limits.batch_hits // (depth * len(self._plan.searched))):
                await self._round(some, depth)

    def _entries(self, query: QueryCandidates) -> int:
        return sum(map(len, entries_of(query, self._rules, self._known)))

    @property
    def _known(self) -> Known:
        return Known(gone=self._gone, values=self._values, vectors=self._vectors)

    async def _read_values(self, queries: Sequence[QueryCandidates]) -> None:
        """Read the group of each candidate of the last round."""
        path = self._path
        assert path is not None
        ids = _each_once((each for query in queries for each in query.rounds[-1].ids.tolist()), self._values, self._gone)

        async def take(points: StoredColumns) -> None:
            payloads = points.payloads or (None,) * len(points)

            def values(turn: Turn) -> list[str | None]:
                found = []
                for text in payloads:
                    turn.pause()
                    found.append(group_value(payload_from_json(text), path))
                return found

            long = sum(len(text) for text in payloads if text is not None) > LONG_BYTES
            self._values.update(zip(points.ids.tolist(), await self._aside(values, long=long), strict=True))

        await self._read(ids, take, with_payload=True, with_vectors=False)
        self._gone.update(each for each in ids if each not in self._values)

    async def _read_vectors(self, queries: Sequence[QueryCandidates]) -> None:
        """Read the vectors that diversity compares. Where a hit is gone, another one stands for its group.

        A point without the vector has zeros, which are like nothing.
        """
        known: dict[PointId, Vector] = self._vectors

        async def take(points: StoredColumns) -> None:
            if points.vectors is not None:
                compared = points.vectors[:, self._compared]
                # A copy of a part, because a view of it would keep the whole rows.
                known.update(zip(points.ids.tolist(), compared.copy() if self._collection.spec.vectors else compared, strict=True))

        while ids := _each_once((each for query in queries for each in heads_of(query, self._rules, self._known)), known, self._gone):
            await self._read(ids, take, with_payload=False, with_vectors=True)
            self._gone.update(each for each in ids if each not in known)

    async def _chosen(self, queries: list[QueryCandidates]) -> list[QueryPage]:
        """Return the page of each query, with points that exist."""
        question = self._question
        self._vectors = {}
        for _ in range(MOST_CHOICES):
            if question.diversity:
                await self._read_vectors(queries)
            pages = await self._page_of_each(queries)
            if not (question.with_payload or question.with_vectors):
                return pages
            ids = _each_once((each for page in pages for each in page.ids), self._final, self._gone)
            await self._read(ids, self._keep, with_payload=question.with_payload, with_vectors=question.with_vectors)
            lost = [each for each in ids if each not in self._final]
            self._gone.update(lost)
            if not await self._note_stale(pages) and not lost:
                return pages
        return [page.without({*self._gone, *page.query.stale}) for page in pages]

    async def _note_stale(self, pages: Sequence[QueryPage]) -> bool:
        """Note the hits whose payload does not match the filter any more, and return whether there are some."""
        if not self._question.with_payload or not self._filters:
            return False
        payloads = self._stored.payloads

        def noted(turn: Turn) -> bool:
            found, tests = False, self._filter_tests()
            for page in pages:
                test = tests.get(page.query.position)
                for each in page.ids if test is not None else ():
                    turn.pause()
                    if test is not None and each in payloads and not test(payload_from_json(payloads[each]), each):
                        page.query.stale.add(each)
                        found = True
            return found

        return await self._aside(noted, long=self._stored_bytes > LONG_BYTES or are_long(self._filters))

    def _filter_tests(self) -> dict[int, Predicate]:
        """Return what tests the points of each query that has a filter."""
        if self._tests is None:
            tests: dict[int, Predicate] = {}
            for group in self._question.groups:
                if group.filter is not None:
                    positions = range(len(self._question.legs[0])) if group.queries is None else group.queries.tolist()
                    tests |= dict.fromkeys(positions, predicate_of(group.filter))
            self._tests = tests
        return self._tests

    async def _page_of_each(self, queries: Sequence[QueryCandidates]) -> list[QueryPage]:
        def chosen(turn: Turn) -> list[QueryPage]:
            pages = []
            for query in queries:
                turn.pause()
                picks, complete = page_of(query, self._rules, self._known, turn.pause)
                pages.append(QueryPage(query=query, picks=picks, complete=complete))
            return pages

        wanted = sum(self._rules.offset + query.k for query in queries)
        floats = wanted * len(self._vectors) // max(1, len(queries)) * self._compared_dim
        return await self._aside(chosen, long=floats > MANY_FLOATS or wanted > MANY_HITS)

    async def _keep(self, points: StoredColumns) -> None:
        """Keep points of the answer. Raises ResourceExhausted as soon as they do not fit into a message."""
        ids = points.ids.tolist()
        self._final.update(ids)
        if points.payloads is not None:
            self._stored.payloads.update(zip(ids, points.payloads, strict=True))
            self._stored_bytes += sum(len(text) for text in points.payloads if text is not None)
        if points.vectors is not None:
            self._stored.vectors.update(zip(ids, points.vectors, strict=True))
            self._stored_bytes += points.vectors.nbytes
        check_message_bytes(self._stored_bytes, self._parts.limits, FEWER_HITS)

    async def _highlight(self, pages: Sequence[QueryPage]) -> None:
        """Read where the words of the text legs are."""
        legs = [leg for at, leg in enumerate(self._plan.legs) if isinstance(leg, TextLeg) and self._plan.weights[at]]
        spec = self._collection.spec
        wanted = [MarksWanted(page.ids, [boosted(leg.asks[page.query.position], spec) for leg in legs]) for page in pages]
        question = self._question
        marks = await self._parts.marks.read(wanted, self._collection, self._patience, question.read, allow_partial=question.allow_partial)
        for page, each in zip(pages, marks, strict=True):
            page.marks = each

    def _answer(self, pages: Sequence[QueryPage]) -> FusedFound:
        question, names, spec = self._question, [leg.name for leg in self._question.legs], self._collection.spec
        hits = hits_of(pages, self._stored, spec.point_dim, with_payload=question.with_payload, with_vectors=question.with_vectors)
        check_answer_bytes(hits, self._parts.limits, FEWER_HITS)
        return FusedFound(
            hits=unpacked_hits(hits, spec),
            legs=legs_of(pages, names, self._wordless),
            highlights=marks_of(pages) if question.highlight else None,
            group_values=None if question.group_by is None else values_of(pages),
            complete=tuple(page.complete for page in pages),
            missing_shards=tuple(shard_name(self._collection, number) for number in sorted(self._missing)),
            explain=self._explained(pages) if question.explain else None,
        )

    def _explained(self, pages: Sequence[QueryPage]) -> FusedExplain:
        rules, fusion = self._plan.rules(self._question.candidates), self._plan.fusion
        return FusedExplain(
            legs=tuple(each for page in pages for each in self._leg_explains[page.query.position]),
            hits=tuple(
                hit_explain(page, pick, rules, fusion, self._words(page.query.position, point_id))
                for page in pages
                for pick, point_id in zip(page.picks, page.ids, strict=True)
            ),
            segments=tuple(self._segments),
            texts=tuple(self._texts),
        )

    async def _read(self, ids: Sequence[PointId], take: Take, *, with_payload: bool, with_vectors: bool) -> None:
        """Read points. Those of a shard that may be left out count as gone."""
        question = self._question
        self._missing |= await self._parts.points.read(
            id_array(ids),
            self._collection,
            self._patience,
            take,
            read=question.read,
            with_payload=with_payload,
            with_vectors=with_vectors,
            allow_partial=question.allow_partial,
        )

    async def _aside(self, work: Callable[[Turn], T], *, long: bool) -> T:
        asker = Asker(caller=self._question.read.caller)
        return await self._parts.conversions.aside(work, asker, self._patience.deadline, long=long)


def _each_once(ids: Iterable[PointId], known: Container[PointId], gone: Container[PointId]) -> list[PointId]:
    """Return ids that are neither known nor gone, each once, in their order."""
    return [each for each in dict.fromkeys(ids) if each not in known and each not in gone]


def _slices(queries: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yield the elements in lists of `size`, at least 1."""
    step = max(1, size)
    for start in range(0, len(queries), step):
        yield list(queries[start : start + step])
