"""Stand-ins for the SDK's other side: a scripted transport, a clock moved by pauses only, a cluster in a dictionary."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from shoal.client.async_client import AsyncClient
from shoal.client.async_driver import AsyncDriver
from shoal.client.client import Client
from shoal.client.sync_driver import SyncDriver
from shoal.core import requests as calls
from shoal.core.alteration import Alteration, altered_spec
from shoal.core.collection import spec_from_input
from shoal.core.errors import AlreadyExists, NotFound
from shoal.core.filter import Filter
from shoal.core.filter_truth import matches
from shoal.core.fused_search import DenseLeg, FusedFound, FusedSearch
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.named_vectors import NamedVector
from shoal.core.point_change import UpdateNamed, UpdateVectors
from shoal.core.points import check_dim, id_order
from shoal.core.recovery import ACCEPT_DATA_LOSS, AuditEntry, LogEnd, Recovery, ReplicaPlace
from shoal.core.replies import AuditPage, ClusterInfo, CollectionInfo, CollectionSummary, Found, Got, Page, ShardRecovery, Written
from shoal.core.requests import Request, ShardToken
from shoal.core.scoring import prepared, scores
from shoal.core.shard_calls import SegmentExplain
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import CurvePoint, SegmentCurve, ShardRecall
from tests.twins.balancing import BalancingTwin
from tests.twins.fused_answers import FusedTwin, stored_points
from tests.twins.keys import KeyTwin
from tests.twins.named_points import rows_of, vector_named
from tests.twins.shard import point_after

CURVE = SegmentCurve(
    shard=0,
    segment="s1",
    index="HNSW16,Flat",
    rows=30_000,
    breadth_name="ef",
    queries=200,
    real_queries=True,
    points=(CurvePoint(breadth=8, fetch=10, recall=0.81, us=60.0), CurvePoint(breadth=32, fetch=10, recall=0.97, us=140.0)),
    exact_us=4_100.0,
)
MEASURED = ShardRecall(shard=0, queries=100, real_queries=True, recall=0.962, lowest=0.7, search_us=150.0, exact_us=4_000.0)
EXPLAINED = SegmentExplain(
    shard=0,
    segment="s1",
    state="sealed",
    index="HNSW16,Flat",
    group=0,
    queries=1,
    rows=30_000,
    plan="index, then filter",
    estimated_selectivity=0.1,
    selectivity=0.125,
    candidates=512,
    breadth=64,
    breadth_name="ef",
    fallbacks=0,
    filter_us=12.5,
    search_us=180.0,
    score_us=9.0,
    filter_cached=True,
)

RECOVERY = Recovery(
    shard=ShardId(CollectionId("id-c"), 1),
    term=Term(5),
    chosen=ReplicaPlace(replica=ReplicaId("r2"), worker=WorkerId("w2"), role="learner", end=LogEnd(term=Term(3), seq=Seq(70))),
    given_up=(ReplicaPlace(replica=ReplicaId("r1"), worker=WorkerId("w1"), role="in sync, primary"),),
)
AUDITED = AuditEntry(
    time_ms=1_700_000_000_123, action=ACCEPT_DATA_LOSS, collection="c", recovery=RECOVERY, reason="", asked_by="", request_id="r"
)


class PausingClock:
    """Seconds that pass when a caller sleeps or a call takes time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)


class SentRequests:
    """Answers with `answer(address, request, timeout_s)`, which returns or raises, and records the requests."""

    def __init__(self, answer: Callable[[str, Request, float], Any]) -> None:
        self.answer, self.closed = answer, False
        self.sent: list[tuple[str, Request, float]] = []

    def answered(self, address: str, request: Request, timeout_s: float) -> Any:
        """Record the request. Return what `answer` returns."""
        self.sent.append((address, request, timeout_s))
        return self.answer(address, request, timeout_s)

    def requests(self, kind: type[Request]) -> list[Any]:
        """Return the requests of one kind, in the order in which they were sent."""
        return [request for _, request, _ in self.sent if isinstance(request, kind)]


class MockTransport(SentRequests):
    """The transport of a blocking client."""

    def send(self, address: str, request: Request, timeout_s: float) -> Any:
        return self.answered(address, request, timeout_s)

    def close(self) -> None:
        self.closed = True


class MockedClient(Client):
    """A client whose transport is `mock`; with a clock, pauses only move that clock."""

    def __init__(self, mock: MockTransport, address: Any, clock: PausingClock | None, timeout: float | None) -> None:
        super().__init__(address, timeout=timeout, transport=mock)
        self.mock = mock
        if clock is not None:
            self._driver = SyncDriver(mock, clock=clock, sleep=clock.sleep, chance=lambda: 0.0)


def client_with(
    answer: Callable[..., Any], *, address: Any = "one:1", clock: PausingClock | None = None, timeout: float | None = None
) -> MockedClient:
    """Return a client whose every request is answered by `answer`."""
    return MockedClient(MockTransport(answer), address, clock, timeout)


class DictCluster:
    """A cluster of two shards in a dictionary: the answer function of a MockTransport. It evaluates filters by their
    definition. In a collection with named vectors, a point has a dictionary of them.

    held_back: (builds_pending, waiting) of the next descriptions; curves, measured, explained: the answers to requests
    for them; balancing: answers the requests of operators about plans and workers; keys: those about API keys.
    """

    def __init__(self) -> None:
        self.specs: dict[str, Any] = {}
        self.points: dict[str, dict[Any, tuple[Any, bytes | None]]] = {}
        self.info = ClusterInfo(cluster_id="c", leader="l:1", workers=(), shards=())
        self.seq = 0
        self.ids: dict[str, str] = {}
        self.before: list[str] = []
        self.held_back: list[tuple[int, str]] = []
        self.get_at_most = 0
        """Ids that one get answers; 0: all, as an older router."""
        self.audit: list[AuditEntry] = []
        self.balancing, self.keys = BalancingTwin(), KeyTwin()
        self.curves, self.measured, self.explained = (CURVE,), (MEASURED,), (EXPLAINED,)

    def __call__(self, address: str, request: Request, timeout_s: float) -> Any:
        name = type(request).__name__
        answers = next((each for each in (self.balancing, self.keys) if hasattr(each, name)), self)
        return getattr(answers, name)(request)

    def CreateCollection(self, request: calls.CreateCollection) -> str:
        if request.name in self.specs:
            raise AlreadyExists(f"collection {request.name!r} exists")
        names = ("name", "dim", "metric", "shards", "replicas", "index", "recall", "min_isr", "text", "defaults", "vectors")
        self.specs[request.name] = spec_from_input(**{name: getattr(request, name) for name in names}, limits=DEFAULT_LIMITS)
        self.points[request.name] = {}
        again = self.before.count(request.name)
        self.before.append(request.name)
        self.ids[request.name] = f"id-{request.name}" + (f"-{again + 1}" if again else "")
        return self.ids[request.name]

    def DropCollection(self, request: calls.DropCollection) -> None:
        if request.collection_id != self.ids.get(request.name):
            return
        del self.specs[request.name], self.points[request.name], self.ids[request.name]

    def ListCollections(self, request: calls.ListCollections) -> tuple[CollectionSummary, ...]:
        return tuple(CollectionSummary(id=self.ids[name], spec=spec, state="active") for name, spec in self.specs.items())

    def DescribeCollection(self, request: calls.DescribeCollection) -> CollectionInfo:
        count = len(self._points(request.name))
        pending, waiting = self.held_back.pop(0) if self.held_back else (0, "")
        sizes = {"growing_rows": count, "sealed_rows": 0, "segments": 0, "builds_pending": pending, "bytes": 2048, "memory_bytes": 512}
        spec = self.specs[request.name]
        return CollectionInfo(id=self.ids[request.name], spec=spec, state="active", points=count, waiting=waiting, **sizes)

    def AlterCollection(self, request: calls.AlterCollection) -> None:
        self._points(request.name)
        given = {name: getattr(request, name) for name in ("index", "recall", "replicas", "min_isr", "text", "defaults", "indexes")}
        self.specs[request.name] = altered_spec(self.specs[request.name], Alteration(**given))

    def RecoverShard(self, request: calls.RecoverShard) -> ShardRecovery:
        self._points(request.asked.name)
        if request.asked.accept_data_loss:
            self.audit = [dataclasses.replace(AUDITED, asked_by=request.asked.asked_by, reason=request.asked.reason), *self.audit]
        return ShardRecovery(done=request.asked.accept_data_loss, recovery=RECOVERY)

    def ListAudit(self, request: calls.ListAudit) -> AuditPage:
        first = int(request.before or 0)
        end = first + min(request.limit, 2)
        return AuditPage(entries=tuple(self.audit[first:end]), following=str(end) if end < len(self.audit) else "")

    def TuneCollection(self, request: calls.TuneCollection) -> tuple[SegmentCurve, ...]:
        self._points(request.name)
        if request.vector or request.queries is not None:
            self.specs[request.name].vector_of(request.vector)
        return self.curves

    def MeasureRecall(self, request: calls.MeasureRecall) -> tuple[ShardRecall, ...]:
        self._points(request.name)
        self.specs[request.name].vector_of(request.vector)
        return self.measured

    def OptimizeCollection(self, request: calls.OptimizeCollection) -> None:
        self._points(request.name)

    def Upsert(self, request: calls.Upsert) -> Written:
        held, points = self._points(request.collection), request.points
        rows = rows_of(self.specs[request.collection], points.vectors, points.named, len(points))
        for at, (value, row) in enumerate(zip(points.ids.tolist(), rows, strict=True)):
            held[value] = (row, None if points.payloads is None else points.payloads[at])
        return self._written(request.collection, 0)

    def Delete(self, request: calls.Delete) -> Written:
        held = self._points(request.collection)
        return self._written(request.collection, sum(held.pop(value, None) is not None for value in request.ids.tolist()))

    def DeleteMatching(self, request: calls.DeleteMatching) -> Written:
        held = self._points(request.collection)
        gone = self._matching(held, request.filter)
        for value in gone:
            del held[value]
        return self._written(request.collection, len(gone))

    def Update(self, request: calls.Update) -> Written:
        held = self._points(request.collection)
        found = set(self._matching(held, request.filter))
        asked = held.keys() if request.ids is None else dict.fromkeys(request.ids.tolist())
        changed = {value: at for at, value in enumerate(asked) if value in found}
        if isinstance(request.change, UpdateNamed):
            assert request.ids is not None
            rows = rows_of(self.specs[request.collection], None, request.change.vectors, len(request.ids))
            for value, at in changed.items():
                held[value] = ({**held[value][0], **rows[at]}, held[value][1])
            return self._written(request.collection, len(changed))
        for value, at in changed.items():
            if isinstance(request.change, UpdateVectors):
                rows_of(self.specs[request.collection], request.change.vectors, None, len(request.change.vectors))
            held[value] = point_after(held[value], request.change, at)
        return self._written(request.collection, len(changed))

    def Get(self, request: calls.Get) -> Got:
        held, asked = self._points(request.collection), request.ids.tolist()
        answered = min(len(asked), self.get_at_most or len(asked))
        stored = stored_points(held, [value for value in asked[:answered] if value in held], request, self._vectors(request))
        return Got(points=stored, answered=answered if self.get_at_most else 0)

    def Count(self, request: calls.Count) -> int:
        return len(self._matching(self._points(request.collection), request.filter))

    def Scroll(self, request: calls.Scroll) -> Page:
        held = self._points(request.collection)
        after = [] if request.after is None else [id_order(request.after)]
        found = sorted(self._matching(held, request.filter), key=id_order)
        left = [value for value in found if not after or id_order(value) > after[0]]
        owner = self.ids[request.collection]
        if request.collection_id not in ("", owner):
            raise NotFound(f"collection {request.collection!r} was dropped, and made anew, while it was scrolled; begin the scroll again")
        points = stored_points(held, left[: request.limit], request, self._vectors(request))
        return Page(points=points, more=len(left) > request.limit, collection_id=owner)

    def Search(self, request: calls.Search) -> Found:
        everyone, vector = self._points(request.collection), self.specs[request.collection].vector_of(request.vector)
        check_dim(request.queries, vector.dim)
        held = {value: (row, point[1]) for value, point in everyone.items() if (row := vector_named(point[0], vector.name)) is not None}
        metric = vector.metric
        counts, found = [], []
        for at, query in enumerate(prepared(request.queries, metric)):
            (group,) = (each for each in request.groups if each.queries is None or at in each.queries)
            values = self._matching(held, group.filter)
            rows = np.stack([held[value][0] for value in values]) if values else np.empty((0, request.queries.shape[1]), np.float32)
            scored = scores(query, prepared(rows, metric), metric)
            best = np.argsort(scored if metric.smaller_is_better else -scored, kind="stable")
            within = [each for each in best if request.radius is None or _near(scored[each], request.radius, metric.smaller_is_better)]
            counts.append(len(within[: group.k]))
            found += [(values[each], float(scored[each])) for each in within[: group.k]]
        stored = stored_points(everyone, [value for value, _ in found], request, self._vectors(request))
        hits = HitColumns(
            counts=np.array(counts),
            ids=stored.ids,
            scores=np.array([score for _, score in found], np.float32),
            payloads=stored.payloads,
            vectors=stored.vectors,
            named=stored.named,
        )
        missing = ("c/1",) if request.allow_partial else ()
        return Found(hits=hits, missing_shards=missing, explain=self.explained if request.explain else ())

    def FusedSearch(self, request: FusedSearch) -> FusedFound:
        held = self._points(request.collection)
        for leg in request.legs:
            if isinstance(leg, DenseLeg):
                check_dim(leg.queries, self.specs[request.collection].vector_of(leg.vector).dim)
        return FusedTwin(request, self.explained, self._vectors(request)).answer(held, lambda filter: self._matching(held, filter))

    def DescribeCluster(self, request: calls.DescribeCluster) -> ClusterInfo:
        return self.info

    def _points(self, name: str) -> dict[Any, tuple[Any, bytes | None]]:
        if name not in self.points:
            raise NotFound(f"collection {name!r} does not exist")
        return self.points[name]

    def _vectors(self, request: Any) -> tuple[NamedVector, ...]:
        vectors: tuple[NamedVector, ...] = self.specs[request.collection].vectors
        return vectors

    def _matching(self, held: dict[Any, tuple[Any, bytes | None]], filter: Filter | None) -> list[Any]:
        return [
            value
            for value, (_, payload) in held.items()
            if filter is None or matches(filter, None if payload is None else json.loads(payload), value)
        ]

    def _written(self, name: str, affected: int) -> Written:
        self.seq += 1
        return Written(tokens=tuple(ShardToken(self.ids[name], shard, self.seq) for shard in (0, 1)), affected=affected)


def _near(score: float, radius: float, smaller_is_better: bool) -> bool:
    return score <= radius if smaller_is_better else score >= radius


class AsyncMockTransport(SentRequests):
    """The transport of an async client. An answer that is awaitable is awaited."""

    async def send(self, address: str, request: Request, timeout_s: float) -> Any:
        answer = self.answered(address, request, timeout_s)
        return await answer if inspect.isawaitable(answer) else answer

    async def close(self) -> None:
        self.closed = True


class MockedAsyncClient(AsyncClient):
    """An async client whose transport is `mock`; with a clock, pauses only move that clock."""

    def __init__(self, mock: AsyncMockTransport, address: Any, clock: PausingClock | None, timeout: float | None) -> None:
        super().__init__(address, timeout=timeout, transport=mock)
        self.mock = mock
        if clock is not None:
            self._driver = AsyncDriver(mock, clock=clock, sleep=clock.async_sleep, chance=lambda: 0.0)


def async_client_with(
    answer: Callable[..., Any], *, address: Any = "one:1", clock: PausingClock | None = None, timeout: float | None = None
) -> MockedAsyncClient:
    """Return an async client whose every request is answered by `answer`."""
    return MockedAsyncClient(AsyncMockTransport(answer), address, clock, timeout)
