"""Collections: what changes them is forwarded to the leading coordinator, the rest is answered from the map and the
workers.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from shoal.core.alteration import Alteration, altered_spec
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState, check_name, check_range, check_recall
from shoal.core.deadline import Clock
from shoal.core.errors import DeadlineExceeded, InvalidArgument, NotFound, ShoalError, Unavailable
from shoal.core.ids import CollectionId, ShardId
from shoal.core.limits import Limits
from shoal.core.recovery import AuditEntry, Recovery, RecoveryRequest
from shoal.core.shard_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardService, ShardTune
from shoal.router.cluster.finder import Finder
from shoal.router.cluster.view import ClusterView, wait_until
from shoal.router.logic.gather import gather_figures
from shoal.router.logic.outcomes import values_of_all
from shoal.router.logic.questions import CollectionFigures
from shoal.router.logic.read_plan import shards_of
from shoal.router.logic.retry import RetryPatience, patience_of, wait_before_retry
from shoal.router.shards.every_replica import EveryReplica
from shoal.router.shards.scatter import Scatter, ShardTask

T = TypeVar("T")

_CATCH_UP_S = 2.0

MAX_SAMPLE = 10_000
"""Queries for each shard that one measurement of recall may ask for."""


class LeaderCalls(Protocol):
    """Calls on the coordinator at an address.

    Each raises a ShoalError; Unavailable when it cannot be reached or does not lead.
    """

    async def create(self, address: str, spec: CollectionSpec, request_id: str, timeout_s: float) -> CollectionId:
        """Create a collection and wait until it is usable. The same request_id again is the same call."""
        ...

    async def alter(self, address: str, name: str, alteration: Alteration, timeout_s: float) -> None:
        """Change what may change of a live collection; the same alteration again does nothing."""
        ...

    async def drop(self, address: str, name: str, collection: CollectionId | None, timeout_s: float) -> None:
        """Drop a collection: whichever has the name, which raises NotFound, or the one with that id, unless it is gone
        already.
        """
        ...

    async def recover(self, address: str, request: RecoveryRequest, timeout_s: float) -> tuple[Recovery, bool]:
        """Recover a shard, or tell what would be done, and whether it is done.

        The same request_id again is the same call.
        """
        ...

    async def audit(self, address: str, limit: int, before: str, timeout_s: float) -> tuple[tuple[AuditEntry, ...], str]:
        """A page of the audit, newest first, and what to give as `before` for the next one, "" when there is none."""
        ...


class Administration:
    """Life and figures of collections."""

    def __init__(
        self,
        *,
        view: ClusterView,
        finder: Finder,
        scatter: Scatter,
        replicas: EveryReplica,
        leader: LeaderCalls,
        clock: Clock,
        limits: Limits,
        new_request_id: Callable[[], str],
        patience_s: float,
    ) -> None:
        self._view, self._finder, self._scatter, self._leader, self._clock = view, finder, scatter, leader, clock
        self._limits, self._new_request_id, self._patience_s = limits, new_request_id, patience_s
        self._replicas = replicas

    async def create(self, spec: CollectionSpec, request_id: str, timeout_s: float) -> CollectionId:
        """Create a collection; returns when it is usable, here too. request_id: "" for a call that is not repeated."""
        until_deadline, named = patience_of(clock=self._clock, timeout_s=timeout_s), request_id or self._new_request_id()
        created = await self._forward(until_deadline, lambda address, left_s: self._leader.create(address, spec, named, left_s))
        await self._catch_up(lambda cluster: _is_active(cluster, created), until_deadline)
        return created

    async def alter(self, name: str, alteration: Alteration, timeout_s: float) -> None:
        """Change what may change of a live collection; when it returns, the collection says so, here too.

        Segments are built anew behind it, as `describe` shows, and replicas come and go.
        """
        check_name(name, self._limits)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        before = _owner(self._view.current, name)
        await self._forward(until_deadline, lambda address, left_s: self._leader.alter(address, name, alteration, left_s))
        await self._catch_up(lambda cluster: _is_altered(cluster, name, before, alteration), until_deadline)

    async def drop(self, name: str, collection: CollectionId | None, timeout_s: float) -> None:
        """Drop a collection; when it returns, it has the name no longer, here too.

        collection: drop this one only, however often it is tried; None for whichever has the name, which raises
        NotFound.
        """
        check_name(name, self._limits)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        before = collection or _owner(self._view.current, name)
        # Without an id: a name that was there and is not at a later attempt was freed by an attempt whose answer got
        # lost.
        freed, attempts = collection is None and before is not None, itertools.count()

        async def call(address: str, left_s: float) -> None:
            first = next(attempts) == 0
            try:
                await self._leader.drop(address, name, collection, left_s)
            except NotFound:
                if first or not freed:
                    raise

        await self._forward(until_deadline, call)
        if before is not None:
            await self._catch_up(lambda cluster: _owner(cluster, name) != before, until_deadline)

    async def recover(self, request: RecoveryRequest, timeout_s: float) -> tuple[Recovery, bool]:
        """Recover a shard that lost every replica that may lead, or tell what would be done, and whether it is done."""
        check_name(request.name, self._limits)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        named = dataclasses.replace(request, request_id=request.request_id or self._new_request_id())
        return await self._forward(until_deadline, lambda address, left_s: self._leader.recover(address, named, left_s))

    async def audit(self, limit: int, before: str, timeout_s: float) -> tuple[tuple[AuditEntry, ...], str]:
        """A page of the audit, newest first, and what to give as `before` for the next one, "" when there is none."""
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        return await self._forward(until_deadline, lambda address, left_s: self._leader.audit(address, limit, before, left_s))

    def listed(self) -> tuple[Collection, ...]:
        """All collections, by name, but for those that are being dropped: they have no name any more."""
        return tuple(sorted(self._view.current.by_name.values(), key=lambda each: each.spec.name))

    async def describe(self, name: str, timeout_s: float) -> CollectionFigures:
        """A collection and what its shards hold, see `shard_figures`; while it is being created they hold nothing."""
        patience = patience_of(clock=self._clock, timeout_s=timeout_s, patience_s=self._patience_s)
        collection = await self._finder.known(name, patience)
        if collection.state is CollectionState.CREATING:
            return CollectionFigures(collection=collection)
        return gather_figures(collection, await self._replicas.stats(collection, patience))

    async def optimize(self, name: str, timeout_s: float) -> None:
        """Seal and merge everything, on every replica in sync whose worker lives; returns when no row that was there is
        growing and no build is pending."""
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        collection = await self._finder.usable(name, until_deadline)
        await self._replicas.do(collection, lambda service, shard, left_s: service.optimize(shard, left_s), until_deadline)

    async def tune(self, name: str, k: int, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """Recall against cost of every segment that has an index, by shard: measured now on every replica in sync whose
        worker lives, told of the primary's."""
        check_range("k", k, self._limits.k)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        collection = await self._finder.usable(name, until_deadline)
        curves = await self._replicas.do(
            collection, lambda service, shard, left_s: service.tune(ShardTune(shard=shard, k=k), left_s), until_deadline
        )
        return tuple(itertools.chain.from_iterable(curves))

    async def measure_recall(self, name: str, *, k: int, sample: int, recall: float | None, timeout_s: float) -> tuple[ShardRecall, ...]:
        """Recall that searches of each shard have, on `sample` queries, by shard. recall: the target; None for the
        collection's.
        """
        check_range("k", k, self._limits.k)
        check_range("sample", sample, MAX_SAMPLE)
        if recall is not None:
            check_recall(recall)
        until_deadline = patience_of(clock=self._clock, timeout_s=timeout_s)
        collection = await self._finder.usable(name, until_deadline)
        target = collection.spec.recall if recall is None else recall

        async def ask(service: ShardService, shard: ShardId, left_s: float) -> ShardRecall:
            return await service.measure_recall(ShardMeasureRecall(shard=shard, k=k, sample=sample, recall=target), left_s)

        tasks = [_task(shard, ask) for shard in shards_of(collection)]
        return tuple(values_of_all(await self._scatter.each(collection, tasks, until_deadline)))

    async def _forward(self, patience: RetryPatience, call: Callable[[str, float], Awaitable[T]]) -> T:
        error: ShoalError = DeadlineExceeded("no time was left to ask the coordinator")
        for attempt in itertools.count():
            seen = self._view.current
            if patience.deadline.passed:
                break
            try:
                return await call(_leader_address(seen), patience.deadline.left_s)
            except ShoalError as failure:
                error = failure
            wait_s = wait_before_retry(attempt, patience.attempts.left_s) if error.retryable else None
            if wait_s is None:
                break
            await self._view.wait_for_change(seen, wait_s)
        raise error

    async def _catch_up(self, holds: Callable[[ClusterMap], bool], patience: RetryPatience) -> None:
        """Let the caller find here what the leader did; a view that lags for long does not undo it, so that is no
        error.
        """
        await wait_until(self._view, holds, patience.deadline.sooner(_CATCH_UP_S))


def _task(shard: ShardId, ask: Callable[[ShardService, ShardId, float], Awaitable[T]]) -> ShardTask[T]:
    return ShardTask(shard.number, lambda service, _, left_s: ask(service, shard, left_s))


def _leader_address(cluster: ClusterMap) -> str:
    if cluster.leader is None:
        raise Unavailable("no coordinator leads the cluster; collections cannot be created, altered or dropped until one does")
    return cluster.leader.address


def _is_active(cluster: ClusterMap, collection: CollectionId) -> bool:
    found = cluster.collections.get(collection)
    return found is not None and found.state is not CollectionState.CREATING


def _is_altered(cluster: ClusterMap, name: str, before: CollectionId | None, alteration: Alteration) -> bool:
    found = cluster.by_name.get(name)
    try:
        return found is None or found.id != before or altered_spec(found.spec, alteration) == found.spec
    except InvalidArgument:
        # What was committed does not suit what somebody else has changed since.
        return True


def _owner(cluster: ClusterMap, name: str) -> CollectionId | None:
    found = cluster.by_name.get(name)
    return found.id if found else None
