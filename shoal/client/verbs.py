"""Every verb of a client as a flow: input checked, requests made, answers turned into results. Shared by all drivers."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from shoal.client import inputs, writes
from shoal.client.batches import Batches
from shoal.client.calls import (
    Count,
    CreateCollection,
    DescribeCluster,
    DescribeCollection,
    DropCollection,
    Found,
    Get,
    ListCollections,
    OptimizeCollection,
    Page,
    Scroll,
    Search,
)
from shoal.client.flow import Flow, answered, reply_to
from shoal.client.identity import RequestIds, Session
from shoal.client.results import ClusterInfo, CollectionInfo, CollectionSummary, Hits, Point, hits_of, points_of
from shoal.client.routers import Routers, addresses_from_input
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import IdArray, Matrix, PointColumns, PointId

READ_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 60.0
OPTIMIZE_TIMEOUT_S = 600.0
GET_IDS = 1_024
"""Ids a message of a large get: their vectors fit into an answer up to dimension 8,000."""


class Verbs:
    """What all drivers share: the routers, this client's identity and session, its timeouts.

    timeout: seconds, for every call that names none; None for 10 (reads), 60 (writes), 600 (optimize).
    """

    def __init__(self, address: str | Iterable[str], timeout: float | None) -> None:
        self.routers = Routers(addresses_from_input(address))
        inputs.seconds(timeout, READ_TIMEOUT_S)
        self._timeout = timeout
        self._request_ids = RequestIds()
        self._session = Session()

    def _seconds(self, timeout: float | None, default_s: float) -> float:
        return inputs.seconds(self._timeout if timeout is None else timeout, default_s)

    def create_collection(
        self, name: str, dim: int, *, metric: str, shards: int, replicas: int, index: str, timeout: float | None
    ) -> Flow[None]:
        """Create, once, however often it is retried."""
        request = CreateCollection(
            name=inputs.name_from_input(name, "name"),
            dim=inputs.whole_number("dim", dim, DEFAULT_LIMITS.dim),
            metric=inputs.name_from_input(metric, "metric"),
            shards=inputs.whole_number("shards", shards, DEFAULT_LIMITS.shards),
            replicas=inputs.whole_number("replicas", replicas, DEFAULT_LIMITS.replicas),
            index=inputs.name_from_input(index, "index"),
            request_id=uuid.uuid4().hex,
        )
        yield from answered(request, timeout_s=self._seconds(timeout, WRITE_TIMEOUT_S), routers=self.routers)

    def drop_collection(self, name: str, timeout: float | None) -> Flow[None]:
        """Drop what has the name now, and nothing else: retries go by its id, which is never given again."""
        checked, timeout_s = inputs.name_from_input(name, "name"), self._seconds(timeout, WRITE_TIMEOUT_S)
        listed = yield from reply_to(ListCollections(), timeout_s=timeout_s, routers=self.routers)
        found = [each.id for each in listed.value if each.name == checked and each.state != "dropping"]
        if not found:
            raise NotFound(f"collection {checked!r} does not exist", ErrorDetails(field="name"))
        request = DropCollection(name=checked, collection_id=found[0])
        yield from answered(request, timeout_s=timeout_s, routers=self.routers, elapsed_s=listed.elapsed_s)
        self._session.forget(checked)

    def list_collections(self, timeout: float | None) -> Flow[list[CollectionSummary]]:
        """All collections, by name."""
        listed: tuple[CollectionSummary, ...] = yield from self._read(ListCollections(), timeout)
        return sorted(listed, key=lambda each: each.name)

    def describe_collection(self, name: str, timeout: float | None) -> Flow[CollectionInfo]:
        """One collection and what it holds."""
        info: CollectionInfo = yield from self._read(DescribeCollection(name=inputs.name_from_input(name, "name")), timeout)
        return info

    def optimize(self, name: str, timeout: float | None) -> Flow[None]:
        """Seal and merge everything."""
        request = OptimizeCollection(name=inputs.name_from_input(name, "name"))
        yield from answered(request, timeout_s=self._seconds(timeout, OPTIMIZE_TIMEOUT_S), routers=self.routers)

    def cluster(self, timeout: float | None) -> Flow[ClusterInfo]:
        """Workers and shards."""
        info: ClusterInfo = yield from self._read(DescribeCluster(), timeout)
        return info

    def upsert(
        self, collection: str, ids: Any, vectors: Any, payloads: Any, timeout: float | None
    ) -> tuple[writes.Write, Flow[None] | None]:
        """The write, and what to run before it."""
        name, timeout_s = inputs.name_from_input(collection), self._seconds(timeout, WRITE_TIMEOUT_S)
        return self._upsert(name, inputs.points_from_input(ids, vectors, payloads), timeout_s)

    def upsert_batches(self, collection: str, timeout: float | None) -> Batches:
        """What turns the caller's batches into writes."""
        name, timeout_s = inputs.name_from_input(collection), self._seconds(timeout, WRITE_TIMEOUT_S)
        return Batches(lambda points: self._upsert(name, points, timeout_s))

    def _upsert(self, name: str, points: PointColumns, timeout_s: float) -> tuple[writes.Write, Flow[None] | None]:
        write = writes.upsert(name, points, timeout_s=timeout_s, routers=self.routers, request_ids=self._request_ids, session=self._session)
        if len(write.pieces) == 1:
            return write, None
        return write, writes.checked_against_collection(name, points.vectors, timeout_s=timeout_s, routers=self.routers)

    def delete(self, collection: str, ids: Any, filter: Any, timeout: float | None) -> writes.Write:
        """The write."""
        inputs.refuse_later(filter=filter)
        if ids is None:
            raise InvalidArgument("ids is missing: say which points to delete", ErrorDetails(field="ids"))
        return writes.delete(
            inputs.name_from_input(collection),
            inputs.ids_of_call(ids),
            timeout_s=self._seconds(timeout, WRITE_TIMEOUT_S),
            routers=self.routers,
            request_ids=self._request_ids,
            session=self._session,
        )

    def search(self, collection: str, vector: Any, k: int, options: dict[str, Any]) -> Flow[Hits]:
        """One query. options: see `_search`."""
        hits = yield from self._search(collection, inputs.query_from_input(vector), k, **options)
        return hits[0]

    def search_many(self, collection: str, vectors: Any, k: int, options: dict[str, Any]) -> Flow[list[Hits]]:
        """A batch of queries in one call. options: see `_search`."""
        return (yield from self._search(collection, inputs.queries_from_input(vectors), k, **options))

    def _search(
        self,
        collection: str,
        queries: Matrix,
        k: int,
        *,
        exact: bool,
        consistency: str,
        timeout: float | None,
        allow_partial: bool,
        with_payload: bool,
        with_vectors: bool,
        **later: Any,
    ) -> Flow[list[Hits]]:
        inputs.refuse_later(**later)
        name = inputs.name_from_input(collection)
        request = Search(
            collection=name,
            queries=queries,
            k=inputs.whole_number("k", k, DEFAULT_LIMITS.k),
            exact=bool(exact),
            with_payload=bool(with_payload),
            with_vectors=bool(with_vectors),
            allow_partial=bool(allow_partial),
            read=self._session.read_as(name, consistency),
        )
        found: Found = yield from self._read(request, timeout)
        return hits_of(found.hits, found.missing_shards)

    def get(
        self, collection: str, ids: Any, *, with_payload: bool, with_vectors: bool, consistency: str, timeout: float | None
    ) -> Flow[list[Point]]:
        """Points by id, a large call in several messages."""
        name, columns = inputs.name_from_input(collection), inputs.ids_of_call(ids)
        read = self._session.read_as(name, consistency)
        points: list[Point] = []
        for start in range(0, len(columns), GET_IDS):
            part: IdArray = columns[start : start + GET_IDS]
            request = Get(collection=name, ids=part, with_payload=bool(with_payload), with_vectors=bool(with_vectors), read=read)
            points += points_of((yield from self._read(request, timeout)))
        return points

    def count(self, collection: str, filter: Any, consistency: str, timeout: float | None) -> Flow[int]:
        """Number of points."""
        inputs.refuse_later(filter=filter)
        name = inputs.name_from_input(collection)
        counted: int = yield from self._read(Count(collection=name, read=self._session.read_as(name, consistency)), timeout)
        return counted

    def scroll(
        self, collection: str, filter: Any, batch: int, *, with_payload: bool, with_vectors: bool, consistency: str, timeout: float | None
    ) -> Pages:
        """All points, page by page."""
        inputs.refuse_later(filter=filter)
        name = inputs.name_from_input(collection)
        limit = inputs.whole_number("batch", batch, DEFAULT_LIMITS.scroll_points)
        read = self._session.read_as(name, consistency)

        def page(after: PointId | None) -> Flow[Page]:
            request = Scroll(
                collection=name, after=after, limit=limit, with_payload=bool(with_payload), with_vectors=bool(with_vectors), read=read
            )
            answer: Page = yield from self._read(request, timeout)
            return answer

        return Pages(page)

    def _read(self, request: Any, timeout: float | None) -> Flow[Any]:
        return answered(request, timeout_s=self._seconds(timeout, READ_TIMEOUT_S), routers=self.routers)


class Pages:
    """Where a scroll stands. Ask for `next_page()` until it is None, and hand each answer to `take`."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._after: PointId | None = None
        self._more = True

    def next_page(self) -> Flow[Page] | None:
        """Flow that reads the next page; None when all were read."""
        flow: Flow[Page] | None = self._page(self._after) if self._more else None
        return flow

    def take(self, page: Page) -> list[Point]:
        """Points of a page."""
        points = points_of(page.points)
        self._more = page.more and bool(points)
        if points:
            self._after = points[-1].id
        return points
