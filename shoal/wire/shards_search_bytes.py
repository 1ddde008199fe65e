"""The bytes of searches of several shards, and of their answers, put together from parts that many searches share.

`searches` defines what they mean. A reader merges the parts of a message that is given in several pieces, so what is
the same for all searches of a kind is one piece, the caller another one, and the numbers of the queries the last one.
"""

from __future__ import annotations

import dataclasses

from shoal.core.express import HitBytes
from shoal.core.points import Matrix
from shoal.core.shard_calls import ShardsSearch
from shoal.v1 import worker_pb2
from shoal.wire.columns import LITTLE_F32
from shoal.wire.point_bytes import varint
from shoal.wire.searches import shards_search_to_message

_MOST_CALLERS = 1_024
_MOST_LENGTH_BYTES = 10

_SEARCH, _QUERIES, _DATA = b"\x0a", b"\x12", b"\x12"
"""Tags of SearchShardsRequest.search, of ShardSearchRequest.queries, and of Vectors.data."""

_HITS = b"\x0a"
"""Tag of the hits in SearchShardsResponse, and in SearchResponse."""


class ShardsSearchBytes:
    """The bytes of searches that differ only in their queries and callers, and of their usual answers."""

    def __init__(self, call: ShardsSearch) -> None:
        """call: one of the searches. Only the shape of its queries counts."""
        rows, dim = call.queries.shape
        message = shards_search_to_message(dataclasses.replace(call, caller="", queries=call.queries[:0]))
        data = _DATA + varint(4 * rows * dim)
        vectors = _QUERIES + varint(len(data) + 4 * rows * dim) + data
        self._head = message.SerializeToString()
        self._before = _SEARCH + varint(len(vectors) + 4 * rows * dim) + vectors
        self._callers: dict[str, bytes] = {}
        self._answered = answered_bytes(call)

    def request(self, queries: Matrix, caller: str) -> bytes:
        """Return the bytes of a search. queries: float32, in the shape of those of the call."""
        numbers = queries if queries.dtype == LITTLE_F32 and queries.flags.c_contiguous else queries.astype(LITTLE_F32, order="C")
        return b"".join((self._head, self._callers.get(caller) or self._of_caller(caller), self._before, numbers.data))

    def hits_in(self, answer: bytes) -> HitBytes | None:
        """Return the hits in the bytes of an answer; None unless all shards have answered, and only hits are given."""
        end = len(answer) - len(self._answered)
        if end <= 0 or not answer.endswith(self._answered) or not answer.startswith(_HITS):
            return None
        size = 0
        for at in range(1, min(end, _MOST_LENGTH_BYTES + 1)):
            size |= (answer[at] & 0x7F) << 7 * (at - 1)
            if answer[at] < 0x80:
                return HitBytes(answer[:end]) if at + 1 + size == end else None
        return None

    def _of_caller(self, caller: str) -> bytes:
        if len(self._callers) >= _MOST_CALLERS:
            self._callers.clear()
        terms = worker_pb2.ReadTerms(caller=caller)
        message = worker_pb2.SearchShardsRequest(search=worker_pb2.ShardSearchRequest(terms=terms))
        made = self._callers[caller] = message.SerializeToString()
        return made


def answered_bytes(call: ShardsSearch) -> bytes:
    """Return the bytes by which an answer says that it is about all shards of a call. The hits stand before them."""
    return worker_pb2.SearchShardsResponse(answered=[shard.number for shard in call.shards]).SerializeToString()


def message_of_request(data: bytes) -> worker_pb2.SearchShardsRequest:
    """Return the message in the bytes of a search that was read before."""
    return worker_pb2.SearchShardsRequest.FromString(data)
