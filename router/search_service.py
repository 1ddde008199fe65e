"""The public Search service."""

from __future__ import annotations

from typing import Any

from router.logic.checks import check_message_bytes
from router.logic.questions import SearchQuestion
from router.reads import FEWER_HITS, Reads
from router.requests import reading_of, refuse, timeout_of, unsupported
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import Limits
from shoal.v1 import search_pb2, search_pb2_grpc
from shoal.wire.columns import hits_to_message, vectors_from_message


class SearchService(search_pb2_grpc.SearchServicer):
    """Converts searches."""

    def __init__(self, *, reads: Reads, limits: Limits, default_timeout_s: float) -> None:
        self._reads, self._limits, self._default_timeout_s = reads, limits, default_timeout_s

    async def Search(self, request: search_pb2.SearchRequest, context: Any) -> search_pb2.SearchResponse:
        """The best k points for each query."""
        answer = await self._reads.search(question_of(request), timeout_of(context, self._default_timeout_s))
        response = search_pb2.SearchResponse(hits=hits_to_message(answer.hits), missing_shards=answer.missing)
        check_message_bytes(response.ByteSize(), self._limits, FEWER_HITS)
        return response


def question_of(request: search_pb2.SearchRequest) -> SearchQuestion:
    """The question that a request asks. Raises InvalidArgument naming the field that this version refuses or cannot read."""
    refuse(request, "filter", "recall", "radius")
    if request.params:
        raise unsupported("params")
    if request.explain:
        raise unsupported("explain")
    return SearchQuestion(
        collection=request.collection,
        queries=vectors_from_message(_only_leg(request).vectors),
        k=request.k,
        exact=request.exact,
        allow_partial=request.allow_partial,
        reading=reading_of(
            with_payload=request.with_payload,
            with_vectors=request.with_vectors,
            consistency=request.consistency,
            min_seqs=request.min_seqs,
        ),
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
