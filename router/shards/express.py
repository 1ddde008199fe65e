"""Express search in the router: one call for all shards of a collection at a worker of this process.

Everything that is unusual gives None: then the search goes shard by shard, with retries, hedges, partial answers and
errors by shard. So no error of a shard is raised here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.deadline import Deadline
from shoal.core.errors import ShoalError
from shoal.core.express import ExpressService, PreparedSearch
from shoal.core.ids import CollectionId
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.requests import Search, SearchForm
from shoal.core.shard_calls import Consistency, ShardsSearch
from shoal.core.topk import HitColumns
from shoal.router.cluster.view import ClusterView
from shoal.router.cluster.workers import Workers
from shoal.router.logic.checks import are_plain, is_plain_form
from shoal.router.logic.express_plan import ON_LOOP_US, ExpressPlan, Lane, express_plan, goes_first, lane_of, still_holds
from shoal.router.logic.joining import join_key, most_queries
from shoal.router.logic.read_plan import search_call
from shoal.router.shards.metrics import UNMETERED, ShardCallMeter
from shoal.router.shards.pooled_searches import PooledSearches
from shoal.router.shards.traffic import Traffic


class _Known(NamedTuple):
    """A plan and its worker's service."""

    plan: ExpressPlan
    service: ExpressService


class _Form(NamedTuple):
    """How searches of one form go to the worker. metric: of their vector."""

    known: _Known
    call: ShardsSearch
    metric: Metric


_MOST_FORMS = 1_024
"""Forms that are kept. When there are more, all of them are looked at anew."""


class _Prepared(NamedTuple):
    """A search that can begin now."""

    plan: ExpressPlan
    call: ShardsSearch
    search: PreparedSearch
    lane: Lane


class Express:
    """Searches at workers of this process. Used from one event loop."""

    def __init__(self, *, view: ClusterView, workers: Workers, traffic: Traffic, limits: Limits, meter: ShardCallMeter = UNMETERED) -> None:
        self._view, self._workers, self._traffic, self._limits, self._meter = view, workers, traffic, limits, meter
        self._seen: ClusterMap | None = None
        self._plans: dict[tuple[CollectionId, bool], _Known | None] = {}
        self._forms: dict[SearchForm, _Form | None] = {}
        self._pooled = PooledSearches(meter)

    def at_once(self, form: SearchForm, queries: Matrix) -> HitColumns | None:
        """Return the hits of a search that takes too little time to wait anywhere; None for every other search, and for
        one with a fault.

        queries: (n, dim), in the shape of the form.
        """
        found = self._form(form) if self._workers.here else None
        if found is None or not are_plain(queries, found.metric) or not self._goes_first(found.known.plan):
            return None
        search = found.known.service.ready(found.call, queries)
        if search is None or search.cost_us > ON_LOOP_US:
            return None
        return self._run(found.known.plan, search)

    def at_once_for_each(self, form: SearchForm, queries: Sequence[Matrix]) -> list[HitColumns | None]:
        """Return the hits of each of some searches of a form that came together, as one search. None for each that has
        to be carried out alone.

        queries: (1, dim) each.
        """
        nothing: list[HitColumns | None] = [None] * len(queries)
        found = self._form(form) if self._workers.here else None
        if found is None or not self._goes_first(found.known.plan):
            return nothing
        plain = [number for number, query in enumerate(queries) if are_plain(query, found.metric)]
        if len(plain) < 2:
            return nothing
        search = found.known.service.ready(found.call, queries[plain[0]])
        if search is None or search.cost_us > ON_LOOP_US:
            return nothing
        try:
            hits = search.run_for_each(np.concatenate([queries[number] for number in plain]))
        except ShoalError:
            return nothing
        if hits is None:
            return nothing
        answers = nothing
        for number, each in zip(plain, hits, strict=True):
            answers[number] = each
            self._answered(found.known.plan)
        return answers

    async def search(self, question: Search, collection: Collection, deadline: Deadline) -> HitColumns | None:
        """Return the hits; None if the search must go shard by shard. question: checked against the collection."""
        prepared = None if deadline.passed else self._prepared(question, collection)
        if prepared is None or prepared.lane is Lane.EACH_SHARD:
            return None
        if prepared.lane is Lane.LOOP:
            return self._run(prepared.plan, prepared.search)
        call, search = prepared.call, prepared.search
        key = join_key(call)
        if key is None:
            return await self._in_pool(prepared.plan, search, call, deadline)

        async def run(queries: Matrix, until: Deadline) -> HitColumns | None:
            # A prepared search belongs to the moment in which it was made.
            again = self._prepared_for(call, queries, collection)
            return None if again is None else await self._in_pool(again.plan, again.search, call, until)

        most = most_queries(call.groups[0].k, search.cost_us / len(call.queries) / 1e6)
        now = partial(self._in_pool, prepared.plan, search, call, deadline)
        return await self._pooled.search(key, call.queries, deadline, now, run, threads=search.threads, most=most)

    async def _in_pool(self, plan: ExpressPlan, search: PreparedSearch, call: ShardsSearch, deadline: Deadline) -> HitColumns | None:
        try:
            hits = await search.run_in_pool(deadline)
        except ShoalError:
            return None
        if hits is None or not still_holds(plan, self._view.current, call.consistency):
            return None
        self._answered(plan)
        return hits

    def _run(self, plan: ExpressPlan, search: PreparedSearch) -> HitColumns | None:
        try:
            hits = search.run()
        except ShoalError:
            return None
        if hits is not None:
            self._answered(plan)
        return hits

    def _prepared(self, question: Search, collection: Collection) -> _Prepared | None:
        known = None if question.explain else self._known(collection, question.read.consistency)
        if known is None or not self._goes_first(known.plan):
            return None
        call = search_call(question, collection, known.plan.shards)
        search = known.service.ready(call, call.queries)
        if search is None:
            return None
        lane = lane_of(cost_us=search.cost_us, queries=len(question.queries), plan=known.plan)
        return _Prepared(known.plan, call, search, lane)

    def _prepared_for(self, call: ShardsSearch, queries: Matrix, collection: Collection) -> _Prepared | None:
        """Return the same search for other queries, at this moment."""
        known = self._known(collection, call.consistency)
        if known is None or known.plan.shards != call.shards or not self._goes_first(known.plan):
            return None
        search = known.service.ready(call, queries)
        return None if search is None else _Prepared(known.plan, call, search, Lane.POOL)

    def _known(self, collection: Collection, consistency: Consistency) -> _Known | None:
        """Return the plan for a collection by the newest map. Plans are kept until the map changes."""
        seen = self._newest()
        key = (collection.id, consistency is Consistency.PRIMARY)
        try:
            return self._plans[key]
        except KeyError:
            known = self._plans[key] = self._made(seen, collection, consistency)
            return known

    def _form(self, form: SearchForm) -> _Form | None:
        """Return how searches of a form go to a worker; None if they go another way. Kept until the map changes."""
        seen = self._newest()
        try:
            return self._forms[form]
        except KeyError:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            found = self._forms[form] = self._made_form(seen, form.search)
            return found

    def _made_form(self, seen: ClusterMap, search: Search) -> _Form | None:
        collection = seen.by_name.get(search.collection)
        if collection is None or collection.state is not CollectionState.ACTIVE or search.explain:
            return None
        known = self._known(collection, search.read.consistency) if is_plain_form(search, collection.spec, self._limits) else None
        if known is None:
            return None
        metric = collection.spec.vector_of(search.vector).metric
        return _Form(known, search_call(search, collection, known.plan.shards), metric)

    def _newest(self) -> ClusterMap:
        """Return the newest map. What was made for another one is forgotten."""
        seen = self._view.current
        if seen is not self._seen:
            self._seen, self._plans, self._forms = seen, {}, {}
        return seen

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
