"""Searches of several legs: check the question, then carry it out for the collection that has the name."""

from __future__ import annotations

from functools import partial

from shoal.core.collection import Collection
from shoal.core.filter import are_long
from shoal.core.fused_search import FusedFound, FusedSearch
from shoal.core.turns import Asker
from shoal.router.cluster.finder import Finder
from shoal.router.logic.fused_checks import check_fused
from shoal.router.logic.retry import RetryPatience, patience_of
from shoal.router.verbs.fused_run import FusedParts, FusedRun


class FusedReads:
    """Searches of several legs. timeout_s bounds the whole call."""

    def __init__(self, *, finder: Finder, parts: FusedParts, patience_s: float) -> None:
        self._finder, self._parts, self._patience_s = finder, parts, patience_s

    async def search(self, question: FusedSearch, timeout_s: float) -> FusedFound:
        """Return the best points for each query. With allow_partial, the result names shards that cannot answer.

        Raises ShoalErrors that name the shard or the field at fault.
        """
        patience = patience_of(clock=self._parts.clock, timeout_s=timeout_s, patience_s=self._patience_s)
        return await self._finder.with_usable(question.collection, patience, partial(self._searched, question, patience))

    async def _searched(self, question: FusedSearch, patience: RetryPatience, collection: Collection) -> FusedFound:
        long = are_long([group.filter for group in question.groups])
        check = partial(check_fused, question, collection.spec, self._parts.limits)
        await self._parts.conversions.aside(check, Asker(caller=question.read.caller), patience.deadline, long=long)
        return await FusedRun(self._parts, question, collection, patience).found()
