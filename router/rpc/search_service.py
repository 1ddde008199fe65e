"""The public Search service: passes searches to verbs/reads.py."""

from __future__ import annotations

from functools import partial
from typing import Any

from shoal.core.limits import Limits
from shoal.core.replies import Found
from shoal.core.topk import MANY_HITS
from shoal.core.turns import Asker
from shoal.router.logic.checks import check_message_bytes
from shoal.router.rpc.caller import caller_of, read_aside, timeout_of
from shoal.router.verbs.reads import FEWER_HITS, Reads
from shoal.runtime.calls import CallContext, UnaryCall, calls_of
from shoal.runtime.fair_pool import FairPool
from shoal.wire.filters import has_long_filters
from shoal.wire.search_bytes import bytes_of_hits
from shoal.wire.search_forms import SearchForms
from shoal.wire.searches import found_to_message, search_from_message
from shoal.wire.services import SEARCH

AT_ONCE_BYTES = 64 * 1024
"""A search with more bytes is a batch that takes too long for the event loop. It is not converted for nothing."""


class SearchService:
    """Searches. Messages: see proto/shoal/v1/search.proto."""

    def __init__(self, *, reads: Reads, limits: Limits, default_timeout_s: float, conversions: FairPool) -> None:
        """conversions: pool that reads requests with long filters, and makes large answers."""
        self._reads, self._limits, self._default_timeout_s, self._conversions = reads, limits, default_timeout_s, conversions
        self._forms = SearchForms(AT_ONCE_BYTES)

    async def Search(self, request: Any, context: CallContext) -> Any:
        """Return the best points for each query."""
        caller, default_s = caller_of(context), self._default_timeout_s
        read = partial(search_from_message, request, caller)
        question = await read_aside(self._conversions, read, context, default_s, long=has_long_filters(request))
        found = await self._reads.search(question, timeout_of(context, default_s))
        deadline, many = self._conversions.deadline(timeout_of(context, default_s)), len(found.hits) > MANY_HITS
        return await self._conversions.aside(lambda _: self._response(found), Asker(caller=caller), deadline, long=many)

    def search_at_once(self, request: bytes, context: CallContext) -> bytes | None:
        """Return the answer of a search that waits nowhere; None for every other request, and for one with a fault.

        `Search` answers the others, and raises what is wrong. Nothing waits for a turn here, so the caller does not
        matter.
        """
        asked = self._forms.read(request)
        if asked is None or timeout_of(context, 1.0) <= 0:
            return None
        hits = self._reads.search_at_once(*asked)
        if hits is None:
            return None
        response = bytes_of_hits(hits)
        return response if len(response) <= self._limits.message_bytes else None

    def calls(self) -> tuple[UnaryCall, ...]:
        """Return the calls of this service."""
        return calls_of(SEARCH, self, at_once={"Search": self.search_at_once})

    def _response(self, found: Found) -> Any:
        response = found_to_message(found)
        check_message_bytes(response.ByteSize(), self._limits, FEWER_HITS)
        return response
