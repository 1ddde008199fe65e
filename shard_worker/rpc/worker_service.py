"""The worker's internal service shoal.v1.Worker: passes requests of routers to the host. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from shoal.core.errors import ShoalError
from shoal.core.express import ExpressService, PreparedSearch
from shoal.core.shard_calls import ShardService
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker, Turn
from shoal.runtime.calls import CallContext, Later, UnaryCall, calls_of
from shoal.runtime.fair_pool import FairPool
from shoal.shard_worker.hosting.shards_search import ON_LOOP_US, deadline_of
from shoal.wire import recall, searches, text_calls
from shoal.wire import shard_calls as wire
from shoal.wire.filters import has_long_filters
from shoal.wire.search_bytes import bytes_of_hits
from shoal.wire.search_forms import ShardsForm, ShardsSearchForms
from shoal.wire.services import WORKER
from shoal.wire.shards_search_bytes import message_of_request

DEFAULT_TIMEOUT_S = 60.0

AT_ONCE_BYTES = 64 * 1024
"""A search of several shards with more bytes is not read on the event loop."""

T = TypeVar("T")


class WorkerServicer:
    """Calls on the shards of a host. Messages: see proto/shoal/v1/worker.proto."""

    def __init__(self, host: ShardService, conversions: FairPool) -> None:
        """conversions: decodes requests with long filters and encodes large answers, off the event loop."""
        self._host, self._conversions = host, conversions
        self._express = host if isinstance(host, ExpressService) else None
        self._forms = ShardsSearchForms(AT_ONCE_BYTES)

    async def Write(self, request: Any, context: CallContext) -> Any:
        """Upsert points, or delete them by id or by filter."""
        call = await self._read(partial(wire.write_from_message, request), request, request.request_id.client, context)
        return wire.ack_to_message(await self._host.write(call, _timeout_s(context)))

    async def Search(self, request: Any, context: CallContext) -> Any:
        """Return the best k points for each query."""
        call = await self._read(partial(searches.shard_search_from_message, request), request, request.terms.caller, context)
        found = await self._host.search(call, _timeout_s(context))
        asker, deadline = Asker(caller=call.terms.caller), self._conversions.deadline(_timeout_s(context))
        many = len(found.hits) > MANY_HITS
        return await self._conversions.aside(lambda _: searches.shard_found_to_message(found), asker, deadline, long=many)

    async def SearchShards(self, request: Any, context: CallContext) -> Any:
        """Return the best k points for each query over several shards."""
        caller, read = request.search.terms.caller, partial(searches.shards_search_from_message, request)
        call = await self._read(read, request.search, caller, context)
        found = await self._host.search_shards(call, _timeout_s(context))
        asker, deadline = Asker(caller=caller), self._conversions.deadline(_timeout_s(context))
        many = len(found.hits) > MANY_HITS
        return await self._conversions.aside(lambda _: searches.shards_found_to_message(call, found), asker, deadline, long=many)

    def search_shards_at_once(self, request: bytes, context: CallContext) -> bytes | Later | None:
        """Return the answer of a search that all its shards can answer now and shortly, or the work of a longer one;
        None for every other request, and for one with a fault: `SearchShards` answers these.
        """
        asked = None if self._express is None or _timeout_s(context) <= 0 else self._forms.read(request)
        if asked is None or self._express is None:
            return None
        form, queries = asked
        search = self._express.ready(form.call, queries)
        if search is None:
            return None
        if search.cost_us > ON_LOOP_US:
            return partial(self._search_in_pool, search, form, request, context)
        try:
            hits = search.run()
        except ShoalError:
            return None
        return None if hits is None else bytes_of_hits(hits) + form.answered

    async def _search_in_pool(self, search: PreparedSearch, form: ShardsForm, request: bytes, context: CallContext) -> bytes:
        deadline = deadline_of(_timeout_s(context))
        try:
            hits = await search.run_in_pool(deadline)
        except ShoalError:
            hits = None
        if hits is None:
            # Each replica says what is wrong when it is searched alone.
            answer: bytes = (await self.SearchShards(message_of_request(request), context)).SerializeToString()
            return answer
        asker, many = Asker(caller=form.call.caller), len(hits) > MANY_HITS
        return await self._conversions.aside(lambda _: bytes_of_hits(hits) + form.answered, asker, deadline, long=many)

    async def TextStats(self, request: Any, context: CallContext) -> Any:
        """Count the words of text queries."""
        caller = request.shards.caller
        many = len(request.queries) > text_calls.MANY_WORDS
        call = await self._read(lambda _: text_calls.stats_from_message(request), request, caller, context, long=many)
        found = await self._host.text_stats(call, _timeout_s(context))
        asker, deadline = Asker(caller=caller), self._conversions.deadline(_timeout_s(context))
        many = len(found.statistics.holding) > text_calls.MANY_WORDS
        return await self._conversions.aside(lambda _: text_calls.stats_found_to_message(found), asker, deadline, long=many)

    async def TextSearch(self, request: Any, context: CallContext) -> Any:
        """Return the best k points for each text query."""
        caller = request.shards.caller
        read = partial(text_calls.text_search_from_message, request)
        many = max(len(request.queries), len(request.statistics.words)) > text_calls.MANY_WORDS
        call = await self._read(read, request, caller, context, long=many)
        found = await self._host.text_search(call, _timeout_s(context))
        asker, deadline = Asker(caller=caller), self._conversions.deadline(_timeout_s(context))
        many = len(found.hits) > MANY_HITS
        return await self._conversions.aside(lambda _: text_calls.text_found_to_message(found), asker, deadline, long=many)

    async def TextMarks(self, request: Any, context: CallContext) -> Any:
        """Tell where the words of a text query are in the texts of points."""
        marks = await self._host.text_marks(text_calls.marks_call_from_message(request), _timeout_s(context))
        return text_calls.marks_found_to_message(marks)

    async def Get(self, request: Any, context: CallContext) -> Any:
        """Return points by id."""
        return wire.points_to_reply(await self._host.get(wire.get_from_message(request), _timeout_s(context)))

    async def Scroll(self, request: Any, context: CallContext) -> Any:
        """Return points in id order."""
        call = await self._read(partial(wire.scroll_from_message, request), request, request.terms.caller, context)
        return wire.points_to_reply(await self._host.scroll(call, _timeout_s(context)))

    async def Count(self, request: Any, context: CallContext) -> Any:
        """Return the number of points."""
        call = await self._read(partial(wire.count_from_message, request), request, request.terms.caller, context)
        return wire.count_to_reply(await self._host.count(call, _timeout_s(context)))

    async def Stats(self, request: Any, context: CallContext) -> Any:
        """Return the figures of a replica."""
        return wire.stats_to_message(await self._host.stats(wire.shard_of_request(request), _timeout_s(context)))

    async def Optimize(self, request: Any, context: CallContext) -> Any:
        """Seal and merge everything."""
        await self._host.optimize(wire.shard_of_request(request), _timeout_s(context))
        return wire.optimized_to_message()

    async def Tune(self, request: Any, context: CallContext) -> Any:
        """Measure recall against cost now."""
        curves = await self._host.tune(recall.shard_tune_from_message(request), _timeout_s(context))
        return recall.shard_tuned_to_message(curves)

    async def MeasureRecall(self, request: Any, context: CallContext) -> Any:
        """Measure the recall that searches have."""
        measured = await self._host.measure_recall(recall.shard_measure_from_message(request), _timeout_s(context))
        return recall.shard_measured_to_message(measured)

    async def Status(self, request: Any, context: CallContext) -> Any:
        """Return the status of the worker."""
        return wire.status_to_message(await self._host.status(_timeout_s(context)))

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(WORKER, self, at_once={"SearchShards": self.search_shards_at_once})

    async def _read(self, read: Callable[[Turn], T], request: Any, caller: str, context: CallContext, *, long: bool = False) -> T:
        """Return the call that a request contains. long: it takes long to read, whatever its filters."""
        deadline = self._conversions.deadline(_timeout_s(context))
        return await self._conversions.aside(read, Asker(caller=caller), deadline, long=long or has_long_filters(request))


def _timeout_s(context: CallContext) -> float:
    remaining = context.time_remaining()
    return DEFAULT_TIMEOUT_S if remaining is None else max(0.0, min(remaining, 24 * 3600.0))
