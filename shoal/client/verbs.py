"""Each verb of a client as a flow: check the input, build the requests, convert the answers.

All drivers share it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from shoal.client import inputs, writes
from shoal.client.batches import Batches
from shoal.client.collection_verbs import READ_TIMEOUT_S, WRITE_TIMEOUT_S
from shoal.client.flow import LEAST_ATTEMPT_S, Flow, share_of
from shoal.client.fused_results import fused_hits_of
from shoal.client.identity import RequestIds
from shoal.client.key_verbs import KeyVerbs
from shoal.client.leg_input import LookedFor, check_using, fused_pieces, legs_from_input, terms_from_input
from shoal.client.many import Piece, groups_within, one_after_another, pieces_of
from shoal.client.pages import Pages
from shoal.client.quick_search import QuickSearch, QuickSearches, check_queries, one_query, several_queries
from shoal.client.results import Hits, Point, Points, hits_of, mark_explain, mark_more, points_of
from shoal.client.search_input import (
    accuracy_from_input,
    groups_from_input,
    one_group,
    radius_from_input,
    search_from_input,
)
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fused_search import FusedFound, FusedSearch, Leg
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import IdArray, Matrix, PointColumns, PointId
from shoal.core.replies import Found, Got, Page
from shoal.core.requests import (
    Count,
    Get,
    Scroll,
    Search,
)
from shoal.core.shard_calls import QueryGroup
from shoal.core.vector_input import query_from_input

GET_IDS = 1_024
"""Ids in one message of a large get: up to dimension 8,000, their vectors fit into one answer."""


class Verbs(KeyVerbs):
    """All verbs: those of collections, of operators, and of points. See CollectionVerbs."""

    def __init__(self, address: str | Iterable[str], timeout: float | None) -> None:
        super().__init__(address, timeout)
        self._request_ids = RequestIds()
        self._quick = QuickSearches(self._session, self._usual_search, DEFAULT_LIMITS.message_bytes)

    def upsert(
        self, collection: str, ids: Any, vectors: Any, payloads: Any, timeout: float | None
    ) -> tuple[writes.Write, Flow[None] | None]:
        """Return the write, and the flow to run before it, if any."""
        name, timeout_s = inputs.name_from_input(collection), self._seconds(timeout, WRITE_TIMEOUT_S)
        return self._upsert(name, inputs.points_from_input(ids, vectors, payloads, integers_stay=True), timeout_s)

    def upsert_batches(self, collection: str, timeout: float | None) -> Batches:
        """Return the object that turns the caller's batches into writes."""
        name, timeout_s = inputs.name_from_input(collection), self._seconds(timeout, WRITE_TIMEOUT_S)
        return Batches(lambda points: self._upsert(name, points, timeout_s))

    def _upsert(self, name: str, points: PointColumns, timeout_s: float) -> tuple[writes.Write, Flow[None] | None]:
        write = writes.upsert(name, points, self._sender(timeout_s))
        if len(write.pieces) == 1:
            return write, None
        return write, writes.checked_against_collection(name, points, timeout_s=timeout_s, routers=self.routers)

    def delete(self, collection: str, ids: Any, filter: Any, timeout: float | None) -> writes.Write:
        """Return the write that deletes by ids or by filter."""
        if (ids is None) == (filter is None):
            raise InvalidArgument("give either ids or a filter: which points are to be deleted", ErrorDetails(field="ids"))
        name, sender = inputs.name_from_input(collection), self.sender(timeout)
        if filter is None:
            return writes.delete(name, inputs.ids_of_call(ids), sender)
        return writes.delete_matching(name, inputs.filter_of_delete(filter), sender)

    def clear(self, collection: str, timeout: float | None) -> writes.Write:
        """Return the write that deletes every point."""
        return writes.delete_matching(inputs.name_from_input(collection), writes.EVERY_POINT, self.sender(timeout))

    def sender(self, timeout: float | None) -> writes.Sender:
        """Return what sends the messages of a write."""
        return self._sender(self._seconds(timeout, WRITE_TIMEOUT_S))

    def search(
        self, collection: str, vector: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any], using: Any = None
    ) -> Flow[Hits]:
        """Search with one query, or, for a mapping of vectors by name, with legs. options: see `_search`."""
        check_using(using, vector, None, "vector")
        if vector is None:
            raise InvalidArgument("there is nothing to search for: give vector, text or legs", ErrorDetails(field="vector"))
        if isinstance(vector, Mapping):
            return (yield from self.fused_search(collection, LookedFor(vector), k, filter, radius, {}, options))
        query, within = query_from_input(vector), radius_from_input(radius)
        groups = one_group(k, filter, queries=1, radius=within)
        return (yield from self._search(collection, query, groups, within, using=using, **options))[0]

    def search_many(
        self, collection: str, vectors: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any], using: Any = None
    ) -> Flow[list[Hits]]:
        """Search with a batch of queries, in as few calls as routers take. options: see `_search`."""
        check_using(using, vectors, None, "vectors")
        if vectors is None:
            raise InvalidArgument("there is nothing to search for: give vectors, text or legs", ErrorDetails(field="vectors"))
        if isinstance(vectors, Mapping):
            return (yield from self.fused_search_many(collection, LookedFor(vectors), k, filter, radius, {}, options))
        queries, within = inputs.queries_from_input(vectors), radius_from_input(radius)
        groups = groups_from_input(k, filter, queries=len(queries), radius=within)

        def search(piece: Piece) -> Flow[list[Hits]]:
            return self._search(collection, queries[slice(*piece)], groups_within(groups, piece), within, using=using, **options)

        return (yield from one_after_another(pieces_of(groups, len(queries), query_bytes=queries[0].nbytes), search))

    def fused_search(
        self, collection: str, wanted: LookedFor, k: Any, filter: Any, radius: Any, fused: Mapping[str, Any], options: Any
    ) -> Flow[Hits]:
        """Search with legs for one query. fused: FusedOptions; options: `_search`."""
        legs = legs_from_input(*wanted, many=False)
        return (yield from self._fused(collection, legs, one_group(k, filter, queries=1, radius=None), radius, fused, **options))[0]

    def fused_search_many(
        self, collection: str, wanted: LookedFor, k: Any, filter: Any, radius: Any, fused: Mapping[str, Any], options: Any
    ) -> Flow[list[Hits]]:
        """Search as `fused_search` does with a batch of queries in one call."""
        legs = legs_from_input(*wanted, many=True)
        groups = groups_from_input(k, filter, queries=len(legs[0]), radius=None)

        def search(piece: Piece) -> Flow[list[Hits]]:
            parts = tuple(each.within(*piece) for each in legs)
            return self._fused(collection, parts, groups_within(groups, piece), radius, fused, **options)

        return (yield from one_after_another(fused_pieces(legs, groups, fused), search))

    def quick_search(
        self, collection: Any, vector: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any], using: Any = None
    ) -> QuickSearch | None:
        """Return the first attempt of `search` as bytes; None if the search is not a usual one."""
        query = one_query(vector) if radius is None else None
        return None if query is None else self._quick_search(collection, query, k, filter, using, options)

    def quick_search_many(
        self, collection: Any, vectors: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any], using: Any = None
    ) -> QuickSearch | None:
        """Return the first attempt of `search_many` as bytes; None if the search is not a usual one."""
        queries = several_queries(vectors) if radius is None else None
        return None if queries is None else self._quick_search(collection, queries, k, filter, using, options)

    def _quick_search(
        self, collection: Any, queries: Matrix, k: Any, filter: Any, using: Any, options: dict[str, Any]
    ) -> QuickSearch | None:
        given, routers = options["timeout"], self.routers
        timeout_s = float(self._seconds(None, READ_TIMEOUT_S)) if given is None else given
        if type(timeout_s) not in (int, float) or not LEAST_ATTEMPT_S < timeout_s < math.inf:
            return None
        data = self._quick.data(collection, queries, k, filter, using, options)
        if data is None:
            return None
        addresses = routers.addresses
        granted_s, count = share_of(timeout_s, 1, len(addresses)), 1 if queries.ndim == 1 else len(queries)
        return QuickSearch(addresses[routers.preferred % len(addresses)], data, granted_s, count, routers)

    def _usual_search(self, name: str, k: Any, filter: Any, options: Mapping[str, Any]) -> Search:
        """Return a search with these arguments for the query [0.0]."""
        groups = one_group(k, filter, queries=1, radius=None)
        without_timeout = {option: value for option, value in options.items() if option != "timeout"}
        return search_from_input(name, np.zeros((1, 1), np.float32), groups, None, self._session, **without_timeout)

    def _search(
        self,
        collection: str,
        queries: Matrix,
        groups: tuple[QueryGroup, ...],
        radius: float | None,
        *,
        timeout: float | None,
        **options: Any,
    ) -> Flow[list[Hits]]:
        request = search_from_input(collection, queries, groups, radius, self._session, **options)
        found: Found = yield from self._read(request, timeout)
        answer = hits_of(found.hits, found.missing_shards)
        check_queries(len(answer), len(queries))
        if radius is not None:
            mark_more(answer, groups)
        if request.explain:
            mark_explain(answer, groups, found.explain)
        return answer

    def _fused(
        self,
        collection: str,
        legs: tuple[Leg, ...],
        groups: tuple[QueryGroup, ...],
        radius: Any,
        fused: Mapping[str, Any],
        *,
        recall: Any,
        params: Any,
        exact: bool,
        consistency: str,
        timeout: float | None,
        **told: Any,
    ) -> Flow[list[Hits]]:
        name = inputs.name_from_input(collection)
        terms = {each: bool(value) for each, value in told.items()} | terms_from_input(fused, legs, groups)
        if radius is not None:
            raise InvalidArgument(
                "radius belongs to a search by one vector: give threshold, or min_score of a leg", ErrorDetails(field="radius")
            )
        request = FusedSearch(
            collection=name,
            legs=legs,
            groups=groups,
            accuracy=accuracy_from_input(exact=exact, recall=recall, params=params),
            read=self._session.read_as(name, consistency),
            **terms,
        )
        found: FusedFound = yield from self._read(request, timeout)
        return fused_hits_of(request, found)

    def get(
        self, collection: str, ids: Any, *, with_payload: bool, with_vectors: bool, consistency: str, timeout: float | None
    ) -> Flow[list[Point]]:
        """Return points by id; a large call uses several messages."""
        name, columns = inputs.name_from_input(collection), inputs.ids_of_call(ids)
        read = self._session.read_as(name, consistency)
        points = Points()
        start = 0
        while start < len(columns):
            part: IdArray = columns[start : start + GET_IDS]
            request = Get(collection=name, ids=part, with_payload=bool(with_payload), with_vectors=bool(with_vectors), read=read)
            got: Got = yield from self._read(request, timeout)
            points += points_of(got.points)
            # If the points are large, the answer covers only the first ids.
            start += got.answered or len(part)
        return points

    def count(self, collection: str, filter: Any, consistency: str, timeout: float | None) -> Flow[int]:
        """Return the number of points."""
        name = inputs.name_from_input(collection)
        request = Count(collection=name, filter=inputs.filter_or_none(filter), read=self._session.read_as(name, consistency))
        counted: int = yield from self._read(request, timeout)
        return counted

    def scroll(
        self, collection: str, filter: Any, batch: int, after: Any, *, consistency: str, timeout: float | None, **parts: bool
    ) -> Pages:
        """Return the pages of all points that match, behind the id `after`. parts: with_payload and with_vectors."""
        question = Scroll(
            collection=inputs.name_from_input(collection),
            limit=inputs.whole_number("batch", batch, DEFAULT_LIMITS.scroll_points),
            filter=inputs.filter_or_none(filter),
            with_payload=bool(parts["with_payload"]),
            with_vectors=bool(parts["with_vectors"]),
            read=self._session.read_as(collection, consistency),
        )
        behind = None if after is None else inputs.one_id(after, "after")

        def page(after: PointId | None, collection_id: str) -> Flow[Page]:
            return self._read(dataclasses.replace(question, after=after, collection_id=collection_id), timeout)

        return Pages(page, behind)

    def _sender(self, timeout_s: float) -> writes.Sender:
        return writes.Sender(timeout_s=timeout_s, routers=self.routers, request_ids=self._request_ids, session=self._session)
