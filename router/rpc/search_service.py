"""The public Search service: passes searches to verbs/reads.py, and those of several legs to verbs/fused_reads.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from shoal.core.express import HitBytes
from shoal.core.fused_search import FusedFound
from shoal.core.limits import Limits
from shoal.core.points import Matrix
from shoal.core.replies import Found
from shoal.core.requests import SearchForm
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker
from shoal.router.logic.checks import check_message_bytes
from shoal.router.rpc.caller import caller_of, read_aside, timeout_of
from shoal.router.verbs.fused_reads import FusedReads
from shoal.router.verbs.reads import FEWER_HITS, Reads
from shoal.runtime.calls import CallContext, Later, UnaryCall, calls_of
from shoal.runtime.fair_pool import FairPool
from shoal.wire.filters import has_long_filters
from shoal.wire.fused_searches import fused_found_to_message, fused_from_message, is_fused
from shoal.wire.search_bytes import bytes_of_hits
from shoal.wire.search_forms import SearchForms
from shoal.wire.searches import found_to_message, search_from_message
from shoal.wire.services import SEARCH

AT_ONCE_BYTES = 64 * 1024
"""A search with more bytes is a batch that takes too long for the event loop. It is not converted for nothing."""


MOST_TOGETHER = 16
"""Searches that are carried out as one. More gain nothing."""


class SearchService:
    """Searches. Messages: see proto/shoal/v1/search.proto."""

    def __init__(self, *, reads: Reads, fused: FusedReads, limits: Limits, default_timeout_s: float, conversions: FairPool) -> None:
        """conversions: pool that reads requests with long filters, and makes large answers."""
        self._fused = fused
        self._reads, self._limits, self._default_timeout_s, self._conversions = reads, limits, default_timeout_s, conversions
        self._forms = SearchForms(AT_ONCE_BYTES)

    async def Search(self, request: Any, context: CallContext) -> Any:
        """Return the best points for each query."""
        caller, default_s, long = caller_of(context), self._default_timeout_s, has_long_filters(request)
        if is_fused(request):
            fused = await read_aside(self._conversions, partial(fused_from_message, request, caller), context, default_s, long=long)
            return await self._answer(await self._fused.search(fused, timeout_of(context, default_s)), context)
        question = await read_aside(self._conversions, partial(search_from_message, request, caller), context, default_s, long=long)
        return await self._answer(await self._reads.search(question, timeout_of(context, default_s)), context)

    def search_at_once(self, request: bytes, context: CallContext) -> bytes | Later | None:
        """Return the answer of a search that waits nowhere, or the work of one that goes to a worker in bytes; None for
        every other request, and for one with a fault.

        `Search` answers the others, and raises what is wrong. Where nothing waits for a turn, the caller does not
        matter.
        """
        asked = self._forms.read(request)
        timeout_s = timeout_of(context, self._default_timeout_s)
        if asked is None or timeout_s <= 0:
            return None
        hits = self._reads.search_at_once(*asked)
        if hits is None:
            work = self._reads.search_in_bytes(*asked, caller_of(context), timeout_s)
            return None if work is None else partial(self._in_bytes, work, context)
        response = bytes_of_hits(hits)
        return response if len(response) <= self._limits.message_bytes else None

    def searches_at_once(self, asked: Sequence[tuple[bytes, CallContext]]) -> Sequence[bytes | None]:
        """Return the answers of searches that came together. Those of one form, for one query each, are one search.
        None for every other request: it is then answered alone, by one of the other doors.
        """
        forms: dict[int, tuple[SearchForm, list[int], list[Matrix]]] = {}
        for number, (request, context) in enumerate(asked):
            read = self._forms.read(request)
            if read is None or len(read[1]) != 1 or timeout_of(context, self._default_timeout_s) <= 0:
                continue
            # Searches of a known form have the same object.
            _, numbers, queries = forms.setdefault(id(read[0]), (read[0], [], []))
            numbers.append(number)
            queries.append(read[1])
        answers: list[bytes | None] = [None] * len(asked)
        for form, numbers, queries in forms.values():
            for start in range(0, len(numbers), MOST_TOGETHER):
                self._answer_some(answers, form, numbers[start : start + MOST_TOGETHER], queries[start : start + MOST_TOGETHER])
        return answers

    def _answer_some(self, answers: list[bytes | None], form: SearchForm, numbers: Sequence[int], queries: Sequence[Matrix]) -> None:
        """Put the answers of searches of a form into their places. numbers: their places."""
        for number, hits in zip(numbers, self._reads.searches_at_once(form, queries), strict=True):
            response = None if hits is None else bytes_of_hits(hits)
            if response is not None and len(response) <= self._limits.message_bytes:
                answers[number] = response

    async def _in_bytes(self, work: Callable[[], Awaitable[HitBytes | Found]], context: CallContext) -> bytes:
        found = await work()
        if isinstance(found, bytes):
            return found
        answer: bytes = (await self._answer(found, context)).SerializeToString()
        return answer

    async def _answer(self, found: Found | FusedFound, context: CallContext) -> Any:
        """Return the message of an answer. A large one is made in a thread."""
        deadline, many = self._conversions.deadline(timeout_of(context, self._default_timeout_s)), len(found.hits) > MANY_HITS
        return await self._conversions.aside(lambda _: self._response(found), Asker(caller=caller_of(context)), deadline, long=many)

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(SEARCH, self, at_once={"Search": self.search_at_once}, together={"Search": self.searches_at_once})

    def _response(self, found: Found | FusedFound) -> Any:
        response = found_to_message(found) if isinstance(found, Found) else fused_found_to_message(found)
        check_message_bytes(response.ByteSize(), self._limits, FEWER_HITS)
        return response
