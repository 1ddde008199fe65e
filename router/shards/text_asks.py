"""Text queries of a collection: the words are counted over all shards, then all shards score by the same counts.

Where one worker answers for all shards, one call does both.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TypeVar

from shoal.core.collection import Collection
from shoal.core.errors import PreconditionFailed
from shoal.core.ids import ShardId
from shoal.core.shard_calls import OlderWorker, ShardService
from shoal.core.text_calls import TextFound, TextSearchCall, TextStatsCall, TextStatsFound
from shoal.core.text_statistics import NO_STATISTICS
from shoal.router.logic.outcomes import Covered, parts_of_all, parts_of_some
from shoal.router.logic.retry import RetryPatience
from shoal.router.shards.group_ask import AskOfCall, kind_of
from shoal.router.shards.group_reads import GroupReads

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class StatsAsk(AskOfCall[TextStatsCall]):
    """Counts words. See GroupAsk."""

    async def send(self, service: ShardService, shards: tuple[ShardId, ...], left_s: float) -> TextStatsFound:
        """See GroupAsk."""
        try:
            return await service.text_stats(dataclasses.replace(self.call, shards=shards), left_s)
        except OlderWorker as error:
            raise _without_texts(error) from None

    def kind(self, shards: int) -> str:
        """See GroupAsk."""
        return kind_of("text_stats", len(self.call.asks), shards)


@dataclass(frozen=True, slots=True, eq=False)
class HitsAsk(AskOfCall[TextSearchCall]):
    """Searches by text. Without statistics, all shards must be asked in one call. See GroupAsk."""

    async def send(self, service: ShardService, shards: tuple[ShardId, ...], left_s: float) -> TextFound:
        """See GroupAsk."""
        assert self.call.statistics is not None or shards == self.call.shards, "scores need the counts of all shards"
        try:
            return await service.text_search(dataclasses.replace(self.call, shards=shards), left_s)
        except OlderWorker as error:
            raise _without_texts(error) from None

    def kind(self, shards: int) -> str:
        """See GroupAsk."""
        return kind_of("text_search", len(self.call.asks), shards)


class TextReads:
    """Searches by text. Used from one event loop."""

    def __init__(self, groups: GroupReads) -> None:
        self._groups = groups

    async def search(
        self, collection: Collection, call: TextSearchCall, patience: RetryPatience, *, allow_partial: bool
    ) -> Covered[TextFound]:
        """Return the answers that cover the shards. call: of all shards of the collection, without statistics.

        allow_partial: count and search without the shards that cannot answer. Raises the worst error of a shard, unless
        the shard may be left out.
        """
        if len(call.shards) == 1:
            return _kept(await self._groups.ask(collection, HitsAsk(call), patience), allow_partial)
        found = await self._groups.at_one_worker(collection, HitsAsk(call), patience.deadline)
        if found is not None:
            return Covered(parts=(found,))
        counted = _kept(await self._groups.ask(collection, StatsAsk(_stats_call(call)), patience), allow_partial)
        statistics = reduce(add, (part.statistics for part in counted.parts), NO_STATISTICS)
        missed = {each.number for each in counted.missed}
        rest = dataclasses.replace(call, shards=tuple(shard for shard in call.shards if shard.number not in missed), statistics=statistics)
        covered = _kept(await self._groups.ask(collection, HitsAsk(rest), patience), allow_partial)
        return Covered(parts=covered.parts, missed=tuple(sorted((*counted.missed, *covered.missed), key=lambda each: each.number)))


def _kept(covered: Covered[T], allow_partial: bool) -> Covered[T]:
    """Return the outcome unless it is an error, see parts_of_some."""
    parts_of_some(covered) if allow_partial else parts_of_all(covered)
    return covered


def _stats_call(call: TextSearchCall) -> TextStatsCall:
    return TextStatsCall(shards=call.shards, asks=call.asks, consistency=call.consistency, min_seqs=call.min_seqs, caller=call.caller)


def _without_texts(error: OlderWorker) -> PreconditionFailed:
    """Return an error for which no worker is blamed: it works, and other replicas may know texts."""
    return PreconditionFailed(f"a worker is of an older version, which has no text fields: {error.message}")
