"""Administration of collections. Changes go to the leading coordinator. Other calls are answered from the map and by
the workers.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from shoal.core.alteration import altered_spec
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState, check_name, check_range, check_recall
from shoal.core.deadline import Clock
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, NotFound
from shoal.core.ids import CollectionId, ShardId
from shoal.core.limits import Limits
from shoal.core.replies import AuditPage, CollectionInfo, CollectionSummary, ShardRecovery
from shoal.core.requests import (
    AlterCollection,
    CreateCollection,
    DropCollection,
    ListAudit,
    MeasureRecall,
    RecoverShard,
    Request,
    TuneCollection,
)
from shoal.core.shard_calls import ShardService
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.router.cluster.finder import Finder
from shoal.router.cluster.view import ClusterView, wait_until
from shoal.router.logic.checks import check_tune
from shoal.router.logic.gather import gather_figures
from shoal.router.logic.outcomes import values_of_all
from shoal.router.logic.read_plan import shards_of
from shoal.router.logic.retry import RetryPatience, patience_of
from shoal.router.shards.every_replica import EveryReplica
from shoal.router.shards.scatter import Scatter, ShardTask
from shoal.router.shards.serving import Serving
from shoal.router.verbs.forwarding import LeaderForward, check_length

T = TypeVar("T")

_CATCH_UP_S = 2.0

MAX_SAMPLE = 10_000
"""Most queries of a shard in one measurement of recall."""


class LeaderCalls(Protocol):
    """Calls on the coordinator at an address.

    Each raises a ShoalError: Unavailable if the coordinator cannot be reached or does not lead.
    """

    async def create(self, address: str, request: CreateCollection, timeout_s: float) -> CollectionId:
        """Create a collection and wait until it is usable. A repeated request_id means the same call."""
        ...

    async def alter(self, address: str, request: AlterCollection, timeout_s: float) -> None:
        """Change a live collection. The same alteration again does nothing."""
        ...

    async def drop(self, address: str, request: DropCollection, timeout_s: float) -> None:
        """Drop a collection. Raises NotFound if the request has no id and no collection has the name."""
        ...

    async def recover(self, address: str, request: RecoverShard, timeout_s: float) -> ShardRecovery:
        """Recover a shard, or return the plan. A repeated request_id means the same call."""
        ...

    async def audit(self, address: str, request: ListAudit, timeout_s: float) -> AuditPage:
        """Return a page of the audit."""
        ...

    async def operate(self, address: str, request: Request, timeout_s: float) -> Any:
        """Answer a request of shoal.core.operations as its class documents. Each is safe to repeat."""
        ...


class Administration:
    """Creates, alters and drops collections, returns their figures, and recovers shards."""

    def __init__(
        self,
        *,
        view: ClusterView,
        finder: Finder,
        scatter: Scatter,
        replicas: EveryReplica,
        serving: Serving,
        leader: LeaderCalls,
        clock: Clock,
        limits: Limits,
        new_request_id: Callable[[], str],
        patience_s: float,
    ) -> None:
        self._view, self._finder, self._scatter, self._leader, self._clock = view, finder, scatter, leader, clock
        self._limits, self._new_request_id, self._patience_s = limits, new_request_id, patience_s
        self._replicas, self._serving, self._forward = replicas, serving, LeaderForward(view)

    async def create(self, request: CreateCollection, timeout_s: float) -> CollectionId:
        """Create a collection. Returns when the primaries of all its shards serve, as this router sees them.

        Raises DeadlineExceeded when the time is over first. The collection may exist then; the message says so, and how
        many of its shards serve.
        """
        request.spec(self._limits)
        check_length("request_id", request.request_id)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        named = dataclasses.replace(request, request_id=request.request_id or self._new_request_id())
        created = await self._forward.to_leader(until_deadline, lambda address, left_s: self._leader.create(address, named, left_s))
        await self._serving.of_all(await self._shown(request.name, created, until_deadline), until_deadline)
        return created

    async def _shown(self, name: str, created: CollectionId, patience: RetryPatience) -> Collection:
        """Wait until this router's map shows a new collection as usable, and return it."""
        found: Collection | None = None

        def settled(cluster: ClusterMap) -> bool:
            nonlocal found
            before, found = found, cluster.collections.get(created)
            return before is not None if found is None else found.state is not CollectionState.CREATING

        if not await wait_until(self._view, settled, patience.deadline):
            raise DeadlineExceeded(f"collection {name!r} exists, but this router's map does not show it yet", ErrorDetails(field="name"))
        if found is None or found.state is CollectionState.DROPPING:
            raise NotFound(f"collection {name!r} was dropped while it was being created", ErrorDetails(field="name"))
        return found

    async def alter(self, request: AlterCollection, timeout_s: float) -> None:
        """Change a live collection. When it returns, this router's map shows the change too.

        Segments are rebuilt, and replicas added or removed, after it has returned. `describe` shows the progress.
        """
        check_name(request.name, self._limits)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        before = _owner(self._view.current, request.name)
        await self._forward.to_leader(until_deadline, lambda address, left_s: self._leader.alter(address, request, left_s))
        await self._catch_up(lambda cluster: _is_altered(cluster, request, before), until_deadline)

    async def drop(self, request: DropCollection, timeout_s: float) -> None:
        """Drop a collection. When it returns, the collection has lost its name, in this router's map too.

        Raises NotFound if the request has no id and no collection has the name.
        """
        check_name(request.name, self._limits)
        check_length("collection_id", request.collection_id)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        before = CollectionId(request.collection_id) if request.collection_id else _owner(self._view.current, request.name)
        # Without an id: if the name existed before and is missing at a later attempt, an earlier attempt, whose answer
        # was lost, has dropped the collection.
        freed, attempts = not request.collection_id and before is not None, itertools.count()

        async def call(address: str, left_s: float) -> None:
            first = next(attempts) == 0
            try:
                await self._leader.drop(address, request, left_s)
            except NotFound:
                if first or not freed:
                    raise

        await self._forward.to_leader(until_deadline, call)
        if before is not None:
            await self._catch_up(lambda cluster: _owner(cluster, request.name) != before, until_deadline)

    async def recover(self, request: RecoverShard, caller: str, timeout_s: float) -> ShardRecovery:
        """Recover a shard that lost every replica that may lead, or return the plan. caller: for the audit."""
        asked = request.asked
        for field in ("request_id", "worker", "asked_by"):
            check_length(field, getattr(asked, field) or "")
        check_name(asked.name, self._limits)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        asked_by, request_id = f"{asked.asked_by or 'somebody'} from {caller}", asked.request_id or self._new_request_id()
        named = RecoverShard(asked=dataclasses.replace(asked, asked_by=asked_by, request_id=request_id))
        return await self._forward.to_leader(until_deadline, lambda address, left_s: self._leader.recover(address, named, left_s))

    async def audit(self, request: ListAudit, timeout_s: float) -> AuditPage:
        """Return a page of the audit, newest first."""
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        return await self._forward.to_leader(until_deadline, lambda address, left_s: self._leader.audit(address, request, left_s))

    def listed(self) -> tuple[CollectionSummary, ...]:
        """Return all collections, by name. Collections that are being dropped have no name, so they are left out."""
        found = sorted(self._view.current.by_name.values(), key=lambda each: each.spec.name)
        return tuple(CollectionSummary(id=each.id, spec=each.spec, state=each.state.value) for each in found)

    async def describe(self, name: str, timeout_s: float) -> CollectionInfo:
        """Return a collection and the figures of its shards (see `shard_figures`); no figures while it is created."""
        patience = patience_of(clock=self._clock, timeout_s=timeout_s, patience_s=self._patience_s)
        collection = await self._finder.known(name, patience)
        creating = collection.state is CollectionState.CREATING
        return gather_figures(collection, () if creating else await self._replicas.stats(collection, patience))

    async def optimize(self, name: str, timeout_s: float) -> None:
        """Seal and merge everything, on every replica in sync whose worker is live. Returns when no row from before the
        call is growing and no build is pending.
        """
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        collection = await self._finder.usable(name, until_deadline)
        await self._replicas.do(collection, lambda service, shard, left_s: service.optimize(shard, left_s), until_deadline)

    async def tune(self, request: TuneCollection, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """Measure recall against cost now, on every replica in sync whose worker is live.

        Each is given the queries of the call, if it has any. Returns the primaries' curves, by shard, of every segment
        that has an index.
        """
        check_range("k", request.k, self._limits.k)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        collection = await self._finder.usable(request.name, until_deadline)
        check_tune(request, collection.spec, self._limits)

        async def ask(service: ShardService, shard: ShardId, left_s: float) -> tuple[SegmentCurve, ...]:
            return await service.tune(ShardTune(shard=shard, k=request.k, queries=request.queries, vector=request.vector), left_s)

        curves = await self._replicas.do(collection, ask, until_deadline)
        return tuple(itertools.chain.from_iterable(curves))

    async def measure_recall(self, request: MeasureRecall, timeout_s: float) -> tuple[ShardRecall, ...]:
        """Measure and return the recall of searches of each shard, by shard."""
        check_range("k", request.k, self._limits.k)
        check_range("sample", request.sample, MAX_SAMPLE)
        if request.recall is not None:
            check_recall(request.recall)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        collection = await self._finder.usable(request.name, until_deadline)
        collection.spec.vector_of(request.vector)
        target = collection.spec.recall if request.recall is None else request.recall

        async def ask(service: ShardService, shard: ShardId, left_s: float) -> ShardRecall:
            call = ShardMeasureRecall(shard=shard, k=request.k, sample=request.sample, recall=target, vector=request.vector)
            return await service.measure_recall(call, left_s)

        tasks = [_task(shard, ask) for shard in shards_of(collection)]
        return tuple(values_of_all(await self._scatter.each(collection, tasks, until_deadline)))

    async def _catch_up(self, holds: Callable[[ClusterMap], bool], patience: RetryPatience) -> None:
        """Wait until this router's map shows the leader's change. A map that lags for long is no error: the change is
        made.
        """
        await wait_until(self._view, holds, patience.deadline.sooner(_CATCH_UP_S))


def _task(shard: ShardId, ask: Callable[[ShardService, ShardId, float], Awaitable[T]]) -> ShardTask[T]:
    return ShardTask(shard.number, lambda service, left_s: ask(service, shard, left_s))


def _is_altered(cluster: ClusterMap, request: AlterCollection, before: CollectionId | None) -> bool:
    found = cluster.by_name.get(request.name)
    try:
        return found is None or found.id != before or altered_spec(found.spec, request.alteration) == found.spec
    except InvalidArgument:
        # Another request has changed the collection since then, and this alteration does not fit any more.
        return True


def _owner(cluster: ClusterMap, name: str) -> CollectionId | None:
    found = cluster.by_name.get(name)
    return found.id if found else None
