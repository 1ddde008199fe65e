"""Each verb of a client as a flow: check the input, build the requests, convert the answers.

All drivers share it.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from shoal.client import inputs, writes
from shoal.client.batches import Batches
from shoal.client.creation import created_if_missing, living
from shoal.client.flow import LEAST_ATTEMPT_S, Flow, UsualTimeout, answered, reply_to, share_of
from shoal.client.fused_results import fused_hits_of
from shoal.client.identity import RequestIds, Session
from shoal.client.leg_input import fused_pieces, legs_from_input, terms_from_input
from shoal.client.many import Piece, groups_within, one_after_another, pieces_of
from shoal.client.pages import Pages
from shoal.client.progress import Progress
from shoal.client.quick_search import QuickSearch, QuickSearches, check_queries, one_query, several_queries
from shoal.client.results import Hits, Point, Points, hits_of, mark_explain, mark_more, points_of
from shoal.client.routers import Routers, addresses_from_input
from shoal.client.search_input import (
    accuracy_from_input,
    groups_from_input,
    one_group,
    radius_from_input,
    recall_from_input,
    search_from_input,
)
from shoal.client.watching import WatchedOptimize
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound
from shoal.core.fused_search import FusedFound, FusedSearch, Leg
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.ids import WorkerId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.notebook import Rows
from shoal.core.points import IdArray, Matrix, PointColumns, PointId
from shoal.core.recovery import AuditEntry, RecoveryRequest
from shoal.core.replies import AuditPage, ClusterInfo, CollectionInfo, CollectionSummary, Found, Got, Page, ShardRecovery
from shoal.core.requests import (
    AlterCollection,
    Count,
    CreateCollection,
    DescribeCluster,
    DescribeCollection,
    DropCollection,
    Get,
    ListAudit,
    ListCollections,
    MeasureRecall,
    OptimizeCollection,
    RecoverShard,
    Scroll,
    Search,
    TuneCollection,
)
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_fields import text_fields_from_input
from shoal.core.tuning_calls import SegmentCurve, ShardRecall
from shoal.core.vector_input import query_from_input

READ_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 60.0
LONG_TIMEOUT_S = 600.0
"""For calls that may take minutes: optimize, tune, measure_recall."""

MOST_AUDIT_ENTRIES = 100_000

GET_IDS = 1_024
"""Ids in one message of a large get: up to dimension 8,000, their vectors fit into one answer."""


class Verbs:
    """The state that all drivers share: the routers, this client's identity and session, its timeouts.

    timeout: seconds, for each call that gives none; None: 10 (reads), 60 (writes), 600 (optimize, tune,
    measure_recall).
    """

    def __init__(self, address: str | Iterable[str], timeout: float | None) -> None:
        self.routers = Routers(addresses_from_input(address))
        inputs.seconds(timeout, READ_TIMEOUT_S)
        self._timeout = timeout
        self._request_ids = RequestIds()
        self._session = Session()
        self._quick = QuickSearches(self._session, self._usual_search, DEFAULT_LIMITS.message_bytes)

    def _seconds(self, timeout: float | None, default_s: float) -> float:
        given = self._timeout if timeout is None else timeout
        seconds = inputs.seconds(given, default_s)
        return UsualTimeout(seconds) if given is None or isinstance(given, UsualTimeout) else seconds

    def create_collection(
        self,
        name: str,
        dim: int,
        *,
        metric: str,
        shards: int,
        replicas: int,
        index: str,
        recall: float,
        min_isr: int | None,
        text: Any,
        search_defaults: Any,
        exist_ok: bool,
        timeout: float | None,
    ) -> Flow[None]:
        """Create the collection, only once even if retried. exist_ok: leave one of this name as it is."""
        fields = text_fields_from_input(() if text is None else text)
        names, usual = [each.name for each in fields], SearchDefaults()
        request = CreateCollection(
            name=inputs.name_from_input(name, "name"),
            dim=inputs.whole_number("dim", dim, DEFAULT_LIMITS.dim),
            metric=inputs.name_from_input(metric, "metric"),
            shards=inputs.whole_number("shards", shards, DEFAULT_LIMITS.shards),
            replicas=inputs.whole_number("replicas", replicas, DEFAULT_LIMITS.replicas),
            index=inputs.index_text(index),
            recall=recall_from_input(recall),
            min_isr=_min_isr(min_isr) or 0,
            text=fields,
            defaults=usual if search_defaults is None else inputs.search_defaults(search_defaults, names),
            request_id=uuid.uuid4().hex,
        )
        create = created_if_missing if exist_ok else answered
        yield from create(request, timeout_s=self._seconds(timeout, WRITE_TIMEOUT_S), routers=self.routers)

    def alter_collection(
        self,
        name: str,
        *,
        index: str | None,
        recall: float | None,
        replicas: int | None,
        min_isr: int | None,
        text: Any,
        search_defaults: Any,
        timeout: float | None,
    ) -> Flow[None]:
        """Change the values that are given."""
        if all(each is None for each in (index, recall, replicas, min_isr, text, search_defaults)):
            raise InvalidArgument(
                "nothing to change is given: name an index, a recall, replicas, min_isr, text or search_defaults",
                ErrorDetails(field="index"),
            )
        request = AlterCollection(
            name=inputs.name_from_input(name, "name"),
            index=None if index is None else inputs.index_text(index),
            recall=None if recall is None else recall_from_input(recall),
            replicas=None if replicas is None else inputs.whole_number("replicas", replicas, DEFAULT_LIMITS.replicas),
            min_isr=_min_isr(min_isr),
            text=None if text is None else text_fields_from_input(text),
            defaults=None if search_defaults is None else inputs.search_defaults(search_defaults, None),
        )
        yield from answered(request, timeout_s=self._seconds(timeout, WRITE_TIMEOUT_S), routers=self.routers)

    def drop_collection(self, name: str, timeout: float | None) -> Flow[None]:
        """Drop the collection that has the name now. Retries use its id, which is never reused, so they drop nothing
        else.
        """
        checked, timeout_s = inputs.name_from_input(name, "name"), self._seconds(timeout, WRITE_TIMEOUT_S)
        listed = yield from reply_to(ListCollections(), timeout_s=timeout_s, routers=self.routers)
        found = living(listed.value, checked)
        if found is None:
            raise NotFound(f"collection {checked!r} does not exist", ErrorDetails(field="name"))
        request = DropCollection(name=checked, collection_id=found.id)
        yield from answered(request, timeout_s=timeout_s, routers=self.routers, elapsed_s=listed.elapsed_s)
        self._session.forget(checked)

    def list_collections(self, timeout: float | None) -> Flow[list[CollectionSummary]]:
        """Return all collections, in the order of their names."""
        listed: tuple[CollectionSummary, ...] = yield from self._read(ListCollections(), timeout)
        return Rows(sorted(listed, key=lambda each: each.name))

    def collection_exists(self, name: str, timeout: float | None) -> Flow[bool]:
        """Return whether a collection has the name now."""
        checked = inputs.name_from_input(name, "name")
        return living((yield from self._read(ListCollections(), timeout)), checked) is not None

    def describe_collection(self, name: str, timeout: float | None) -> Flow[CollectionInfo]:
        """Return one collection and its sizes."""
        info: CollectionInfo = yield from self._read(DescribeCollection(name=inputs.name_from_input(name, "name")), timeout)
        return info

    def optimize(self, name: str, timeout: float | None, told: Progress | None) -> WatchedOptimize:
        """Return the work that seals and merges everything, and tells meanwhile how many rows are sealed."""
        request = OptimizeCollection(name=inputs.name_from_input(name, "name"))
        call: Flow[None] = answered(request, timeout_s=self._seconds(timeout, LONG_TIMEOUT_S), routers=self.routers)
        return WatchedOptimize(call, lambda: self.describe_collection(name, None), told)

    def tune(self, name: str, k: int, queries: Any, timeout: float | None) -> Flow[list[SegmentCurve]]:
        """Return recall against cost, segment by segment."""
        request = TuneCollection(
            name=inputs.name_from_input(name, "name"),
            k=inputs.whole_number("k", k, DEFAULT_LIMITS.k),
            queries=None if queries is None else inputs.queries_from_input(queries, field="queries"),
        )
        return Rows((yield from answered(request, timeout_s=self._seconds(timeout, LONG_TIMEOUT_S), routers=self.routers)))

    def measure_recall(self, name: str, k: int, sample: int, recall: float | None, timeout: float | None) -> Flow[list[ShardRecall]]:
        """Return the recall of each shard."""
        request = MeasureRecall(
            name=inputs.name_from_input(name, "name"),
            k=inputs.whole_number("k", k, DEFAULT_LIMITS.k),
            sample=inputs.whole_number("sample", sample, DEFAULT_LIMITS.batch_queries),
            recall=None if recall is None else recall_from_input(recall),
        )
        return Rows((yield from answered(request, timeout_s=self._seconds(timeout, LONG_TIMEOUT_S), routers=self.routers)))

    def cluster(self, timeout: float | None) -> Flow[ClusterInfo]:
        """Return the workers and shards."""
        info: ClusterInfo = yield from self._read(DescribeCluster(), timeout)
        return info

    def recover_shard(
        self, name: str, shard: int, *, worker: str | None, accept_data_loss: bool, reason: str, asked_by: str, timeout: float | None
    ) -> Flow[ShardRecovery]:
        """Recover the shard, only once even if retried."""
        asked = RecoveryRequest(
            name=inputs.name_from_input(name),
            number=inputs.whole_number("shard", shard, DEFAULT_LIMITS.shards, least=0),
            worker=None if worker is None else WorkerId(inputs.some_text("worker", worker)),
            accept_data_loss=bool(accept_data_loss),
            reason=inputs.some_text("reason", reason),
            asked_by=inputs.some_text("asked_by", asked_by),
            request_id=uuid.uuid4().hex,
        )
        timeout_s = self._seconds(timeout, WRITE_TIMEOUT_S)
        recovery: ShardRecovery = yield from answered(RecoverShard(asked=asked), timeout_s=timeout_s, routers=self.routers)
        return recovery

    def audit(self, limit: int, timeout: float | None) -> Flow[list[AuditEntry]]:
        """Return the newest entries; reads them page by page."""
        wanted, following = inputs.whole_number("limit", limit, MOST_AUDIT_ENTRIES), ""
        entries = Rows[AuditEntry]()
        while len(entries) < wanted:
            page: AuditPage = yield from self._read(ListAudit(limit=wanted - len(entries), before=following), timeout)
            entries += page.entries
            following = page.following
            if not following:
                break
        return entries

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
        return write, writes.checked_against_collection(name, points.vectors, timeout_s=timeout_s, routers=self.routers)

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

    def search(self, collection: str, vector: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any]) -> Flow[Hits]:
        """Search with one query. options: see `_search`."""
        if vector is None:
            raise InvalidArgument("there is nothing to search for: give vector, text or legs", ErrorDetails(field="vector"))
        query, within = query_from_input(vector), radius_from_input(radius)
        groups = one_group(k, filter, queries=1, radius=within)
        return (yield from self._search(collection, query, groups, within, **options))[0]

    def search_many(self, collection: str, vectors: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any]) -> Flow[list[Hits]]:
        """Search with a batch of queries, in as few calls as routers take. options: see `_search`."""
        if vectors is None:
            raise InvalidArgument("there is nothing to search for: give vectors, text or legs", ErrorDetails(field="vectors"))
        queries, within = inputs.queries_from_input(vectors), radius_from_input(radius)
        groups = groups_from_input(k, filter, queries=len(queries), radius=within)

        def search(piece: Piece) -> Flow[list[Hits]]:
            return self._search(collection, queries[slice(*piece)], groups_within(groups, piece), within, **options)

        return (yield from one_after_another(pieces_of(groups, len(queries), query_bytes=queries[0].nbytes), search))

    def fused_search(
        self, collection: str, looked_for: tuple[Any, Any, Any], k: Any, filter: Any, radius: Any, fused: Mapping[str, Any], options: Any
    ) -> Flow[Hits]:
        """Search with legs for one query. looked_for: vector, text, legs; fused: FusedOptions; options: `_search`."""
        legs = legs_from_input(*looked_for, many=False)
        return (yield from self._fused(collection, legs, one_group(k, filter, queries=1, radius=None), radius, fused, **options))[0]

    def fused_search_many(
        self, collection: str, looked_for: tuple[Any, Any, Any], k: Any, filter: Any, radius: Any, fused: Mapping[str, Any], options: Any
    ) -> Flow[list[Hits]]:
        """Search as `fused_search` does with a batch of queries in one call."""
        legs = legs_from_input(*looked_for, many=True)
        groups = groups_from_input(k, filter, queries=len(legs[0]), radius=None)

        def search(piece: Piece) -> Flow[list[Hits]]:
            parts = tuple(each.within(*piece) for each in legs)
            return self._fused(collection, parts, groups_within(groups, piece), radius, fused, **options)

        return (yield from one_after_another(fused_pieces(legs, groups, fused), search))

    def quick_search(self, collection: Any, vector: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any]) -> QuickSearch | None:
        """Return the first attempt of `search` as bytes; None if the search is not a usual one."""
        query = one_query(vector) if radius is None else None
        return None if query is None else self._quick_search(collection, query, k, filter, options)

    def quick_search_many(
        self, collection: Any, vectors: Any, k: Any, filter: Any, radius: Any, options: dict[str, Any]
    ) -> QuickSearch | None:
        """Return the first attempt of `search_many` as bytes; None if the search is not a usual one."""
        queries = several_queries(vectors) if radius is None else None
        return None if queries is None else self._quick_search(collection, queries, k, filter, options)

    def _quick_search(self, collection: Any, queries: Matrix, k: Any, filter: Any, options: dict[str, Any]) -> QuickSearch | None:
        given, routers = options["timeout"], self.routers
        timeout_s = float(self._seconds(None, READ_TIMEOUT_S)) if given is None else given
        if type(timeout_s) not in (int, float) or not LEAST_ATTEMPT_S < timeout_s < math.inf:
            return None
        data = self._quick.data(collection, queries, k, filter, options)
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

    def _read(self, request: Any, timeout: float | None) -> Flow[Any]:
        return answered(request, timeout_s=self._seconds(timeout, READ_TIMEOUT_S), routers=self.routers)


def _min_isr(given: int | None) -> int | None:
    return None if given is None else inputs.whole_number("min_isr", given, DEFAULT_LIMITS.replicas, least=0)
