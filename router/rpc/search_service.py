"""The public Search service."""

from __future__ import annotations

import dataclasses
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import Limits
from shoal.core.shard_calls import QueryGroup
from shoal.core.topk import MANY_HITS
from shoal.core.turns import FREE, Asker, Turn
from shoal.router.logic.accuracy import accuracy_of
from shoal.router.logic.checks import check_message_bytes
from shoal.router.logic.questions import SearchAnswer, SearchQuestion
from shoal.router.rpc.requests import caller_of, filter_of, read_aside, reading_of, timeout_of, unless_empty
from shoal.router.verbs.reads import FEWER_HITS, Reads
from shoal.runtime.fair_pool import FairPool
from shoal.v1 import search_pb2, search_pb2_grpc
from shoal.wire.columns import hits_to_message, vectors_from_message
from shoal.wire.searches import explain_to_message, groups_from_message


class SearchService(search_pb2_grpc.SearchServicer):
    """Converts searches."""

    def __init__(self, *, reads: Reads, limits: Limits, default_timeout_s: float, conversions: FairPool) -> None:
        """conversions: reads requests with long filters."""
        self._reads, self._limits, self._default_timeout_s, self._conversions = reads, limits, default_timeout_s, conversions

    async def Search(self, request: search_pb2.SearchRequest, context: Any) -> search_pb2.SearchResponse:
        """The best points for each query."""
        caller, default_s = caller_of(context), self._default_timeout_s
        filters = [request.filter, *(group.filter for group in request.groups)]
        question = await read_aside(self._conversions, lambda turn: question_of(request, caller, turn), filters, context, default_s)
        answer = await self._reads.search(question, timeout_of(context, default_s))
        deadline, many = self._conversions.deadline(timeout_of(context, default_s)), len(answer.hits) > MANY_HITS
        return await self._conversions.aside(lambda _: self._response(answer), Asker(caller=caller), deadline, long=many)

    def _response(self, answer: SearchAnswer) -> search_pb2.SearchResponse:
        response = search_pb2.SearchResponse(
            hits=hits_to_message(answer.hits), missing_shards=answer.missing, explain=map(explain_to_message, answer.explain)
        )
        check_message_bytes(response.ByteSize(), self._limits, FEWER_HITS)
        return response


def question_of(request: search_pb2.SearchRequest, caller: str = "", turn: Turn = FREE) -> SearchQuestion:
    """The question that a request asks.

    Raises InvalidArgument naming the field that cannot be read, or contradicts another.
    """
    return SearchQuestion(
        collection=request.collection,
        queries=vectors_from_message(_only_leg(request).vectors),
        groups=groups_of(request, turn),
        accuracy=accuracy_of(
            exact=request.exact, recall=request.recall if request.HasField("recall") else None, params=dict(request.params)
        ),
        radius=request.radius if request.HasField("radius") else None,
        explain=request.explain,
        allow_partial=request.allow_partial,
        reading=reading_of(
            with_payload=request.with_payload,
            with_vectors=request.with_vectors,
            consistency=request.consistency,
            min_seqs=request.min_seqs,
            caller=caller,
        ),
    )


def groups_of(request: search_pb2.SearchRequest, turn: Turn = FREE) -> tuple[QueryGroup, ...]:
    """The groups of a request: as they are given, else all queries in one.

    Raises InvalidArgument for both ways at once.
    """
    if not request.groups:
        return (QueryGroup(k=request.k, filter=filter_of(request, turn)),)
    for field, given in (("k", request.k), ("filter", request.HasField("filter"))):
        if given:
            raise InvalidArgument(f"{field} stands in each of the groups; it must not be given beside them", ErrorDetails(field=field))
    return tuple(
        group if group.filter is None else dataclasses.replace(group, filter=unless_empty(group.filter))
        for group in groups_from_message(request.groups, turn)
    )


def _only_leg(request: search_pb2.SearchRequest) -> search_pb2.SearchLeg:
    if not request.legs:
        raise InvalidArgument("legs is empty, one with the vectors to look for is needed", ErrorDetails(field="legs"))
    if len(request.legs) > 1:
        raise InvalidArgument(f"{len(request.legs)} legs are not supported by this version, one is", ErrorDetails(field="legs"))
    leg = request.legs[0]
    if leg.field:
        raise InvalidArgument(f"a named vector field ({leg.field!r}) is not supported by this version", ErrorDetails(field="field"))
    return leg
