"""Express search in the router: one call for all shards of a collection at a worker of this process.

Everything that is unusual gives None: then the search goes shard by shard, with retries, hedges, partial answers and
errors by shard. So no error of a shard is raised here.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection
from shoal.core.deadline import Deadline
from shoal.core.errors import ShoalError
from shoal.core.express import ExpressService, PreparedSearch
from shoal.core.ids import CollectionId
from shoal.core.requests import Search
from shoal.core.shard_calls import Consistency
from shoal.core.topk import HitColumns
from shoal.router.cluster.view import ClusterView
from shoal.router.cluster.workers import Workers
from shoal.router.logic.express_plan import ExpressPlan, Lane, express_plan, goes_first, lane_of, still_holds
from shoal.router.logic.read_plan import search_call
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter
from shoal.router.shards.traffic import Traffic


@dataclass(frozen=True, slots=True)
class _Known:
    """A plan and its worker's service."""

    plan: ExpressPlan
    service: ExpressService


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A search that can begin now."""

    plan: ExpressPlan
    search: PreparedSearch
    lane: Lane


class Express:
    """Searches at workers of this process. Used from one event loop."""

    def __init__(self, *, view: ClusterView, workers: Workers, traffic: Traffic, meter: ShardCallMeter = UNMETERED) -> None:
        self._view, self._workers, self._traffic, self._meter = view, workers, traffic, meter
        self._seen: ClusterMap | None = None
        self._plans: dict[tuple[CollectionId, bool], _Known | None] = {}

    def at_once(self, question: Search, collection: Collection) -> HitColumns | None:
        """Return the hits of a search that takes too little time to wait anywhere; None for every other search.

        question: checked against the collection.
        """
        prepared = self._prepared(question, collection)
        if prepared is None or prepared.lane is not Lane.LOOP:
            return None
        return self._run(prepared)

    async def search(self, question: Search, collection: Collection, deadline: Deadline) -> HitColumns | None:
        """Return the hits; None if the search must go shard by shard. question: checked against the collection."""
        prepared = None if deadline.passed else self._prepared(question, collection)
        if prepared is None or prepared.lane is Lane.EACH_SHARD:
            return None
        if prepared.lane is Lane.LOOP:
            return self._run(prepared)
        try:
            hits = await prepared.search.run_in_pool(deadline)
        except ShoalError:
            return None
        if hits is None or not still_holds(prepared.plan, self._view.current, question.read.consistency):
            return None
        self._answered(prepared.plan)
        return hits

    def _run(self, prepared: _Prepared) -> HitColumns | None:
        try:
            hits = prepared.search.run()
        except ShoalError:
            return None
        if hits is not None:
            self._answered(prepared.plan)
        return hits

    def _prepared(self, question: Search, collection: Collection) -> _Prepared | None:
        known = None if question.explain else self._known(collection, question.read.consistency)
        if known is None or not self._goes_first(known.plan):
            return None
        search = known.service.ready(search_call(question, collection))
        if search is None:
            return None
        lane = lane_of(cost_us=search.cost_us, queries=len(question.queries), plan=known.plan)
        return _Prepared(known.plan, search, lane)

    def _known(self, collection: Collection, consistency: Consistency) -> _Known | None:
        """Return the plan for a collection by the newest map. Plans are kept until the map changes."""
        seen = self._view.current
        if seen is not self._seen:
            self._seen, self._plans = seen, {}
        key = (collection.id, consistency is Consistency.PRIMARY)
        try:
            return self._plans[key]
        except KeyError:
            known = self._plans[key] = self._made(seen, collection, consistency)
            return known

    def _made(self, seen: ClusterMap, collection: Collection, consistency: Consistency) -> _Known | None:
        plan = express_plan(seen, collection, consistency, self._workers.here) if self._workers.here else None
        service = None if plan is None else self._workers.service(seen, plan.worker)
        return None if plan is None or not isinstance(service, ExpressService) else _Known(plan, service)

    def _goes_first(self, plan: ExpressPlan) -> bool:
        gate = self._traffic.gate
        return all(goes_first(gate(plan.worker, shard), [gate(other, shard) for other in others]) for shard, others in plan.others)

    def _answered(self, plan: ExpressPlan) -> None:
        self._traffic.works(plan.worker, plan.shards)
        self._meter.ended("ok", len(plan.shards))
