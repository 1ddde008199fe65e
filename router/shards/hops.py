"""Searches of known forms whose shards are all at one worker of another process, and nowhere else.

The plan, the request and the answer are the same for all searches of a form, but for the numbers. So they go to the
worker in bytes, and the hits come back in bytes. Everything that is unusual goes the general way: searches that may
join others, and shards that fail, which are asked for again there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass, field

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.deadline import Deadline
from shoal.core.errors import Unavailable
from shoal.core.express import EncodedSearch, EncodedService, HitBytes
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.requests import Search, SearchForm
from shoal.core.shard_calls import ShardsSearch
from shoal.router.cluster.view import ClusterView
from shoal.router.cluster.workers import Workers
from shoal.router.logic.checks import are_plain, is_plain_form
from shoal.router.logic.joining import join_key
from shoal.router.logic.read_plan import search_call
from shoal.router.shards.group_reads import FailedFirst, GroupPlan, GroupReads
from shoal.router.shards.joined_searches import JoinedSearches

_MOST_FORMS, _MOST_CALLERS = 1_024, 1_024
"""Forms, and callers of a form, that are kept. When there are more, all of them are looked at anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    """How searches of one form go to their worker. metric: of their vector; callers: the search of each caller, with
    its join_key.
    """

    collection: Collection
    plan: GroupPlan
    call: ShardsSearch
    encoded: EncodedSearch
    metric: Metric
    callers: dict[str, tuple[ShardsSearch, Hashable | None]] = field(default_factory=dict)

    def of(self, caller: str) -> tuple[ShardsSearch, Hashable | None]:
        """Return the search of a caller, but for its queries, and its join_key."""
        found = self.callers.get(caller)
        if found is None:
            if len(self.callers) >= _MOST_CALLERS:
                self.callers.clear()
            call = dataclasses.replace(self.call, caller=caller)
            found = self.callers[caller] = call, join_key(call)
        return found


class Hops:
    """Passes searches on in bytes. Used from one event loop."""

    def __init__(self, *, view: ClusterView, workers: Workers, groups: GroupReads, searches: JoinedSearches, limits: Limits) -> None:
        self._view, self._workers, self._groups, self._searches, self._limits = view, workers, groups, searches, limits
        self._seen: ClusterMap | None = None
        self._forms: dict[SearchForm, Hop | None] = {}

    def find(self, form: SearchForm, queries: Matrix) -> Hop | None:
        """Return how a search goes to its worker; None if it has to go the general way. Hops are kept until the map
        changes.

        queries: (n, dim), in the shape of the form.
        """
        seen = self._view.current
        if seen is not self._seen:
            self._seen, self._forms = seen, {}
        try:
            found = self._forms[form]
        except KeyError:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            found = self._forms[form] = self._made(seen, form.search)
        return found if found is not None and are_plain(queries, found.metric) else None

    async def ask(self, hop: Hop, queries: Matrix, caller: str, deadline: Deadline) -> HitBytes | FailedFirst | None:
        """Return the hits, or how the first attempt ended; None if the search has to go the general way from the
        beginning.
        """
        call, key = hop.of(caller)
        plan, groups = hop.plan, self._groups
        if plan.seen is not self._view.current or plan.groups[0].worker in groups.older(plan.seen) or deadline.passed:
            return None
        if key is None:
            return await groups.first_answer(plan, hop.collection, call, hop.encoded, queries, deadline)
        if not self._searches.goes_now(key, hop.collection.id, call):
            return None
        search = groups.first_answer(plan, hop.collection, call, hop.encoded, queries, deadline)
        return await self._searches.beside(key, hop.collection.id, call, len(queries), search, _is_whole)

    def _made(self, seen: ClusterMap, search: Search) -> Hop | None:
        collection = seen.by_name.get(search.collection)
        if collection is None or collection.state is not CollectionState.ACTIVE or search.explain:
            return None
        plan = self._groups.lone_plan(collection, search.read.consistency) if is_plain_form(search, collection.spec, self._limits) else None
        if plan is None:
            return None
        try:
            service = self._workers.service(seen, plan.groups[0].worker)
        except Unavailable:
            return None
        if not isinstance(service, EncodedService):
            return None
        call = search_call(search, collection)
        return Hop(collection, plan, call, service.encoded(call), collection.spec.vector_of(search.vector).metric)


def _is_whole(found: HitBytes | FailedFirst) -> bool:
    return isinstance(found, bytes)
