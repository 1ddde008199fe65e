"""Calls on the shards of a worker in another process: as values, in messages, over the lines to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from shoal.core.cluster_map import WorkerEntry
from shoal.core.deadline import Deadline
from shoal.core.errors import ShoalError
from shoal.core.express import EncodedSearch, HitBytes
from shoal.core.filter import Filter, are_long
from shoal.core.fused_search import FieldSpans
from shoal.core.ids import ShardId
from shoal.core.points import Matrix, StoredColumns
from shoal.core.shard_calls import (
    OlderWorker,
    ShardCount,
    ShardDeleteMatching,
    ShardFound,
    ShardGet,
    ShardScroll,
    ShardSearch,
    ShardsFound,
    ShardsSearch,
    ShardStats,
    ShardUpdate,
    ShardWrite,
    WorkerStatus,
    WriteAck,
)
from shoal.core.text_calls import TextFound, TextMarksCall, TextSearchCall, TextStatsCall, TextStatsFound
from shoal.core.topk import MANY_HITS
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.core.turns import FREE, Asker, Turn
from shoal.router.rpc.worker_lines import WorkerLines
from shoal.runtime.fair_pool import FairPool
from shoal.wire import recall, searches, text_calls
from shoal.wire import shard_calls as wire
from shoal.wire.shards_search_bytes import ShardsSearchBytes
from shoal.wire.tls import Tls
from shoal.wire.worker_methods import WORKER_METHODS

T = TypeVar("T")

_SEARCH_SHARDS = WORKER_METHODS["SearchShards"]


class RemoteWorker:
    """ShardService of the worker at the other end of the lines. Owns the lines."""

    def __init__(self, lines: WorkerLines, conversions: FairPool) -> None:
        """conversions: pool that makes messages with long filters."""
        self._lines, self._conversions = lines, conversions

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        """See ShardService."""
        filters = [call.filter] if isinstance(call, (ShardDeleteMatching, ShardUpdate)) else []
        request = await self._written(partial(wire.write_to_bytes, call), filters, call.request_id.client, timeout_s)
        return wire.ack_from_message(await self._call("Write", request, timeout_s))

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        """See ShardService."""
        filters = [group.filter for group in call.groups]
        request = await self._written(partial(searches.shard_search_to_message, call), filters, call.terms.caller, timeout_s)
        deadline = self._conversions.deadline(timeout_s)
        answer = await self._call("Search", request, timeout_s)
        if sum(answer.hits.counts) <= MANY_HITS:
            return searches.shard_found_from_message(answer)
        return await self._conversions.run(lambda _: searches.shard_found_from_message(answer), Asker(caller=call.terms.caller), deadline)

    async def search_shards(self, call: ShardsSearch, timeout_s: float) -> ShardsFound:
        """See ShardService."""
        filters = [group.filter for group in call.groups]
        request = await self._written(partial(searches.shards_search_to_message, call), filters, call.caller, timeout_s)
        deadline = self._conversions.deadline(timeout_s)
        return await self.shards_found(call, await self._call("SearchShards", request, timeout_s, unknown=OlderWorker), deadline)

    async def shards_found(self, call: ShardsSearch, answer: Any, deadline: Deadline) -> ShardsFound:
        """Return what the message of an answer to `search_shards` says. Many hits are read in a thread."""
        if sum(answer.hits.counts) <= MANY_HITS:
            return searches.shards_found_from_message(call, answer)
        return await self._conversions.run(lambda _: searches.shards_found_from_message(call, answer), Asker(caller=call.caller), deadline)

    def encoded(self, call: ShardsSearch) -> EncodedSearch:
        """See EncodedService."""
        return _SearchInBytes(self, self._lines, self._conversions, call)

    async def text_stats(self, call: TextStatsCall, timeout_s: float) -> TextStatsFound:
        """See ShardService."""
        deadline, asker = self._conversions.deadline(timeout_s), Asker(caller=call.caller)
        long = len(call.asks) > text_calls.MANY_WORDS
        request = await self._conversions.aside(lambda _: text_calls.stats_to_message(call), asker, deadline, long=long)
        answer = await self._call("TextStats", request, timeout_s, unknown=OlderWorker)
        long = len(answer.statistics.words) > text_calls.MANY_WORDS
        return await self._conversions.aside(lambda _: text_calls.stats_found_from_message(call, answer), asker, deadline, long=long)

    async def text_search(self, call: TextSearchCall, timeout_s: float) -> TextFound:
        """See ShardService."""
        deadline, asker = self._conversions.deadline(timeout_s), Asker(caller=call.caller)
        words = 0 if call.statistics is None else len(call.statistics.holding)
        long = max(words, len(call.asks)) > text_calls.MANY_WORDS or are_long([group.filter for group in call.groups])
        request = await self._conversions.aside(partial(text_calls.text_search_to_message, call), asker, deadline, long=long)
        answer = await self._call("TextSearch", request, timeout_s, unknown=OlderWorker)
        long = max(sum(answer.counts) - MANY_HITS, len(answer.statistics.words) - text_calls.MANY_WORDS) > 0
        return await self._conversions.aside(lambda _: text_calls.text_found_from_message(call, answer), asker, deadline, long=long)

    async def text_marks(self, call: TextMarksCall, timeout_s: float) -> tuple[tuple[FieldSpans, ...], ...]:
        """See ShardService."""
        answer = await self._call("TextMarks", text_calls.marks_call_to_message(call), timeout_s, unknown=OlderWorker)
        return text_calls.marks_found_from_message(call, answer)

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        return wire.points_from_reply(await self._call("Get", wire.get_to_message(call), timeout_s))

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        """See ShardService."""
        request = await self._written(partial(wire.scroll_to_message, call), [call.filter], call.terms.caller, timeout_s)
        return wire.points_from_reply(await self._call("Scroll", request, timeout_s))

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        """See ShardService."""
        request = await self._written(partial(wire.count_to_message, call), [call.filter], call.terms.caller, timeout_s)
        return wire.count_from_reply(await self._call("Count", request, timeout_s))

    async def stats(self, shard: ShardId, timeout_s: float) -> ShardStats:
        """See ShardService."""
        return wire.stats_from_message(shard, await self._call("Stats", wire.stats_request(shard), timeout_s))

    async def optimize(self, shard: ShardId, timeout_s: float) -> None:
        """See ShardService."""
        await self._call("Optimize", wire.optimize_request(shard), timeout_s)

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """See ShardService."""
        return recall.shard_tuned_from_message(await self._call("Tune", recall.shard_tune_to_message(call), timeout_s))

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """See ShardService."""
        request = recall.shard_measure_to_message(call)
        return recall.shard_measured_from_message(await self._call("MeasureRecall", request, timeout_s))

    async def status(self, timeout_s: float) -> WorkerStatus:
        """See ShardService."""
        return wire.status_from_message(await self._call("Status", wire.status_request(), timeout_s))

    async def close(self) -> None:
        """Close the lines. Calls in flight fail with Unavailable."""
        await self._lines.close()

    async def _written(self, write: Callable[[Turn], T], filters: Sequence[Filter | None], caller: str, timeout_s: float) -> T:
        """Return the message of a request. If its filters are long, it is made in a thread."""
        if not are_long(filters):
            return write(FREE)
        return await self._conversions.run(write, Asker(caller=caller), self._conversions.deadline(timeout_s))

    async def _call(self, name: str, request: Message | bytes, timeout_s: float, unknown: type[ShoalError] | None = None) -> Any:
        """Return the message of the answer. request: a message, or the bytes of one."""
        method, data = WORKER_METHODS[name], request if isinstance(request, bytes) else request.SerializeToString()
        return method.answer(await self._lines.exchange(method, data, timeout_s, unknown), self._lines.named)


class _SearchInBytes:
    """EncodedSearch at a worker."""

    def __init__(self, worker: RemoteWorker, lines: WorkerLines, conversions: FairPool, call: ShardsSearch) -> None:
        self._worker, self._lines, self._conversions, self._call = worker, lines, conversions, call
        self._bytes = ShardsSearchBytes(call)

    async def run(self, queries: Matrix, caller: str, timeout_s: float) -> HitBytes | ShardsFound:
        """See EncodedSearch."""
        deadline = self._conversions.deadline(timeout_s)
        answer = await self._lines.exchange(_SEARCH_SHARDS, self._bytes.request(queries, caller), timeout_s, OlderWorker)
        hits = self._bytes.hits_in(answer)
        if hits is not None:
            return hits
        call = dataclasses.replace(self._call, caller=caller)
        return await self._worker.shards_found(call, _SEARCH_SHARDS.answer(answer, self._lines.named), deadline)


def connect_worker(worker: WorkerEntry, message_bytes: int, conversions: FairPool, tls: Tls | None = None) -> RemoteWorker:
    """Return the service of a worker. The first call opens a connection. message_bytes: largest message either way.

    conversions: pool that makes messages with long filters. tls: None for plain text.
    """
    return RemoteWorker(WorkerLines(worker, message_bytes, tls=tls), conversions)
