"""Search, get, count and scroll: check the question, plan, ask the shards, gather their answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from shoal.core.collection import Collection
from shoal.core.deadline import Clock
from shoal.core.errors import ResourceExhausted, is_passing
from shoal.core.express import HitBytes
from shoal.core.filter import Filter, are_long
from shoal.core.ids import ShardId
from shoal.core.limits import Limits
from shoal.core.points import Matrix, StoredColumns, without_repeats
from shoal.core.replies import Found, Got, Page
from shoal.core.requests import Count, Get, ReadAs, Scroll, Search, SearchForm
from shoal.core.shard_calls import ShardService, ShardsFound, k_of_queries
from shoal.core.topk import MANY_HITS, HitColumns
from shoal.core.turns import Asker, Turn
from shoal.router.cluster.finder import Finder
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.checks import (
    SCROLL_POINTS,
    check_answer_bytes,
    check_count,
    check_get,
    check_same_collection,
    check_scroll,
    check_search,
)
from shoal.router.logic.gather import gather_hits, gather_page, gather_part, gather_points, page_points, smaller_page
from shoal.router.logic.named_points import unpacked_hits, unpacked_points
from shoal.router.logic.outcomes import Covered, Outcome, parts_of_all, parts_of_some, values_of_all
from shoal.router.logic.read_plan import count_calls, get_calls, scroll_calls, search_call, shards_of
from shoal.router.logic.retry import RetryPatience, patience_of
from shoal.router.logic.write_plan import parts_of
from shoal.router.shards.express import Express
from shoal.router.shards.group_reads import FailedFirst
from shoal.router.shards.hops import Hop, Hops
from shoal.router.shards.joined_searches import JoinedSearches
from shoal.router.shards.replica_reads import ReadKind
from shoal.router.shards.scatter import Scatter, ShardTask
from shoal.runtime.fair_pool import FairPool

FEWER_HITS = "ask for fewer queries, a smaller k, or no vectors and payloads"
FEWER_POINTS = "ask for fewer ids, or for no vectors and payloads"


class ShardRead(Protocol):
    """A read of one shard."""

    @property
    def shard(self) -> ShardId:
        """The shard that is read."""
        ...


C = TypeVar("C", bound=ShardRead)
T = TypeVar("T")


class Reads:
    """Reads points. Calls raise ShoalErrors that name the shard at fault. timeout_s bounds the whole call."""

    def __init__(
        self,
        *,
        view: ClusterView,
        finder: Finder,
        scatter: Scatter,
        express: Express,
        hops: Hops,
        searches: JoinedSearches,
        conversions: FairPool,
        clock: Clock,
        limits: Limits,
        patience_s: float,
    ) -> None:
        """conversions: pool that checks long filters."""
        self._conversions = conversions
        self._view, self._finder, self._scatter = view, finder, scatter
        self._express, self._hops, self._searches = express, hops, searches
        self._clock, self._limits, self._patience_s = clock, limits, patience_s

    def search_at_once(self, form: SearchForm, queries: Matrix) -> HitColumns | None:
        """Return the hits of a search that waits nowhere; None for every other search, and for one with a fault.

        The caller then uses `search`, which raises what is wrong. form: its filters are short; queries: (n, dim).
        """
        return self._express.at_once(form, queries)

    def searches_at_once(self, form: SearchForm, queries: Sequence[Matrix]) -> list[HitColumns | None]:
        """Return the hits of each of some searches of a form that came together; None for each that goes alone.

        queries: (1, dim) each.
        """
        return self._express.at_once_for_each(form, queries)

    def search_in_bytes(
        self, form: SearchForm, queries: Matrix, caller: str, timeout_s: float
    ) -> Callable[[], Coroutine[Any, Any, HitBytes | Found]] | None:
        """Return the work of a search that goes to a worker of another process in bytes. None for every other search,
        and for one with a fault.

        The outcome is that of `search`. It has the hits in bytes if there is nothing else to say.
        """
        hop = self._hops.find(form, queries)
        return None if hop is None else partial(self._search_in_bytes, hop, form, queries, caller, timeout_s)

    async def _search_in_bytes(self, hop: Hop, form: SearchForm, queries: Matrix, caller: str, timeout_s: float) -> HitBytes | Found:
        patience = self._patience(timeout_s)
        first = await self._hops.ask(hop, queries, caller, patience.deadline)
        if isinstance(first, bytes) and len(first) <= self._limits.message_bytes:
            return first
        question = dataclasses.replace(form.search, queries=queries, read=dataclasses.replace(form.search.read, caller=caller))
        if not isinstance(first, FailedFirst):
            return await self.search(question, patience.deadline.left_s)

        async def rest(failed: FailedFirst) -> Found:
            return await self._gathered(question, hop.collection, await failed.rest(queries, patience), patience)

        again = partial(self._searched, question, patience)
        return await self._finder.or_of_successor(hop.collection, patience, rest(first), again)

    async def search(self, question: Search, timeout_s: float) -> Found:
        """Return the best points for each query. With allow_partial, the result names shards that cannot answer."""
        patience = self._patience(timeout_s)
        return await self._finder.with_usable(question.collection, patience, partial(self._searched, question, patience))

    async def _searched(self, question: Search, patience: RetryPatience, collection: Collection) -> Found:
        filters = [group.filter for group in question.groups]
        await self._checked(lambda turn: check_search(question, collection.spec, self._limits, turn), filters, question.read, patience)
        return await self.found(question, collection, patience)

    async def found(self, question: Search, collection: Collection, patience: RetryPatience) -> Found:
        """Return what a search finds that was checked against the collection. Raises as `search`."""
        hits = await self._express.search(question, collection, patience.deadline)
        if hits is None:
            return await self._search_each(question, collection, patience)
        check_answer_bytes(hits, self._limits, FEWER_HITS)
        return Found(hits=unpacked_hits(hits, collection.spec))

    async def _search_each(self, question: Search, collection: Collection, patience: RetryPatience) -> Found:
        """Search shard by shard, and merge the answers."""
        covered = await self._searches.search(collection, search_call(question, collection), patience)
        return await self._gathered(question, collection, covered, patience)

    async def _gathered(self, question: Search, collection: Collection, covered: Covered[ShardsFound], patience: RetryPatience) -> Found:
        """Merge the answers of the shards."""
        parts, missing = parts_of_some(covered) if question.allow_partial else (parts_of_all(covered), ())
        metric = collection.spec.vector_of(question.vector).metric

        def gathered(turn: Turn) -> HitColumns:
            hits = gather_hits([part.hits for part in parts], k_of_queries(question.groups, len(question.queries)), metric)
            turn.pause()
            check_answer_bytes(hits, self._limits, FEWER_HITS)
            return unpacked_hits(hits, collection.spec)

        many = sum(len(part.hits) for part in parts) > MANY_HITS
        return Found(
            hits=await self._conversions.aside(gathered, Asker(caller=question.read.caller), patience.deadline, long=many),
            missing_shards=missing,
            explain=tuple(sorted((each for part in parts for each in part.explain), key=lambda each: each.shard)),
        )

    async def get(self, question: Get, timeout_s: float) -> Got:
        """Return the points that exist, in the order of the ids. With in_parts, return only those of the first ids if
        the message would be too large.
        """
        patience = self._patience(timeout_s)
        return await self._finder.with_usable(question.collection, patience, lambda found: self._get(question, found, patience))

    async def _get(self, question: Get, collection: Collection, patience: RetryPatience) -> Got:
        check_get(question, self._limits)
        spec = collection.spec
        if not question.in_parts:
            points = gather_points(question.ids, await self._found(question, collection, patience))
            check_answer_bytes(points, self._limits, FEWER_POINTS)
            return Got(points=unpacked_points(points, spec), answered=len(question.ids))
        with_vectors, message_bytes = question.with_vectors, self._limits.message_bytes
        count = page_points(len(question.ids), spec.point_dim, with_vectors, message_bytes)
        while True:
            first = dataclasses.replace(question, ids=question.ids[:count])
            try:
                got = gather_part(first.ids, await self._found(first, collection, patience), message_bytes, len(spec.vectors))
                return dataclasses.replace(got, points=unpacked_points(got.points, spec))
            except ResourceExhausted as error:
                count = _smaller(count, error)

    async def _found(self, question: Get, collection: Collection, patience: RetryPatience) -> list[StoredColumns]:
        once = dataclasses.replace(question, ids=without_repeats(question.ids))
        parts = parts_of(once.ids, self._view.current.shards_of(collection.id), collection.spec.name)
        calls, kind = get_calls(once, collection, parts), _kind("get", question.read)
        outcomes = await self._ask(collection, calls, lambda service, call, left_s: service.get(call, left_s), kind, patience)
        return values_of_all(outcomes)

    async def count(self, question: Count, timeout_s: float) -> int:
        """Return the number of points, or of the points that match a filter."""
        patience = self._patience(timeout_s)

        async def counted(collection: Collection) -> int:
            await self._checked(lambda _: check_count(question, self._limits), [question.filter], question.read, patience)
            calls, kind = count_calls(question, shards_of(collection)), _kind("count", question.read)
            outcomes = await self._ask(collection, calls, lambda service, call, left_s: service.count(call, left_s), kind, patience)
            return sum(values_of_all(outcomes))

        return await self._finder.with_usable(question.collection, patience, counted)

    async def scroll(self, question: Scroll, timeout_s: float) -> Page:
        """Return a page of points in id order. It has fewer points than asked for if the message would be too large."""
        patience = self._patience(timeout_s)
        if not question.collection_id:
            return await self._finder.with_usable(question.collection, patience, lambda found: self._scroll(question, found, patience))
        collection = await self._finder.usable(question.collection, patience)
        if question.collection_id != collection.id:
            # The view of this router, or of the router that returned the page before, may lag behind.
            collection = await self._finder.newest(question.collection, patience)
            check_same_collection(question, collection)
        return await self._scroll(question, collection, patience)

    async def _scroll(self, question: Scroll, collection: Collection, patience: RetryPatience) -> Page:
        await self._checked(lambda _: check_scroll(question, self._limits), [question.filter], question.read, patience)
        wanted = question.limit or min(SCROLL_POINTS, self._limits.scroll_points)
        limit = page_points(wanted, collection.spec.point_dim, question.with_vectors, self._limits.message_bytes)
        while True:
            try:
                return await self._page(question, collection, limit, patience)
            except ResourceExhausted as error:
                limit = _smaller(limit, error)

    async def _page(self, question: Scroll, collection: Collection, limit: int, patience: RetryPatience) -> Page:
        calls, kind = scroll_calls(question, shards_of(collection), limit), _kind("scroll", question.read)
        outcomes = await self._ask(collection, calls, lambda service, call, left_s: service.scroll(call, left_s), kind, patience)
        page = gather_page(values_of_all(outcomes), limit, self._limits.message_bytes, len(collection.spec.vectors))
        return dataclasses.replace(page, points=unpacked_points(page.points, collection.spec), collection_id=collection.id)

    async def _checked(
        self, check: Callable[[Turn], None], filters: Sequence[Filter | None], read: ReadAs, patience: RetryPatience
    ) -> None:
        """Check a question; in a thread if its filters are long."""
        long = are_long(filters)
        await self._conversions.aside(check, Asker(caller=read.caller), patience.deadline, long=long)

    async def _ask(
        self,
        collection: Collection,
        calls: Sequence[C],
        ask: Callable[[ShardService, C, float], Awaitable[T]],
        kind: ReadKind,
        patience: RetryPatience,
    ) -> list[Outcome[T]]:
        tasks = [_task(call, ask, kind) for call in calls]
        return await self._scatter.each(collection, tasks, patience)

    def _patience(self, timeout_s: float) -> RetryPatience:
        return patience_of(clock=self._clock, timeout_s=timeout_s, patience_s=self._patience_s)


def _smaller(count: int, error: ResourceExhausted) -> int:
    """Return how many points to ask for if `count` were too many for a message.

    Raises the error if it is about something else, or if one point was too large.
    """
    smaller = None if is_passing(error) else smaller_page(count)
    if smaller is None:
        raise error
    return smaller


def _task(call: C, ask: Callable[[ShardService, C, float], Awaitable[T]], kind: ReadKind) -> ShardTask[T]:
    return ShardTask(call.shard.number, lambda service, left_s: ask(service, call, left_s), kind)


def _kind(verb: str, read: ReadAs) -> ReadKind:
    return ReadKind(verb, read.consistency)
