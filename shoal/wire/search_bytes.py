"""The bytes of usual searches, and their answers, each in one step.

`searches` defines what they mean. The bytes of a request are put together from parts that are the same for many
searches. Where an answer is not a usual one, `found_from_message` reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from shoal.core.points import Matrix, PointId
from shoal.core.requests import Search, ShardToken
from shoal.core.topk import HitColumns
from shoal.v1 import search_pb2
from shoal.wire.call_parts import tokens_to_messages
from shoal.wire.columns import fill_hits
from shoal.wire.point_bytes import varint
from shoal.wire.searches import search_to_message

FLOAT32 = np.dtype(np.float32)

IS_USED = sys.byteorder == "little"
"""Whether float32 arrays have the bytes of a message."""

_LEGS, _FIELD, _VECTORS = b"\x12", b"\x0a", b"\x12"
_DIM, _DATA = b"\x08", b"\x12"
"""Tags of fields of SearchRequest, SearchLeg and Vectors."""


def head_of(search: Search) -> bytes:
    """Return the bytes of a search without its queries, the name of their vector, and its tokens."""
    message = search_to_message(search)
    message.ClearField("legs")
    message.ClearField("min_seqs")
    return message.SerializeToString()


def bytes_of_tokens(tokens: Iterable[ShardToken]) -> bytes:
    """Return the bytes of the tokens of a search."""
    return search_pb2.SearchRequest(min_seqs=tokens_to_messages(tokens)).SerializeToString()


def bytes_before_queries(rows: int, dim: int, vector: str = "") -> bytes:
    """Return the bytes of a search that stand before the numbers of its queries, (rows, dim) float32, at its end.

    vector: name of the vector to search by. It is no part of head_of, because it stands beside the queries.
    """
    data = _DIM + varint(dim) + _DATA + varint(4 * rows * dim)
    name = vector.encode()
    field = _FIELD + varint(len(name)) + name if name else b""
    leg = field + _VECTORS + varint(len(data) + 4 * rows * dim) + data
    return _LEGS + varint(len(leg) + 4 * rows * dim) + leg


def bytes_of_search(head: bytes, tokens: bytes, before: bytes, queries: Matrix) -> bytes:
    """Return the bytes of a search. queries: float32, as one piece of memory."""
    return b"".join((head, tokens, before, queries.data))


def bytes_of_hits(hits: HitColumns) -> bytes:
    """Return the bytes of an answer with these hits, and nothing else."""
    message = search_pb2.SearchResponse()
    fill_hits(message.hits, hits)
    return message.SerializeToString()


class HitLists(NamedTuple):
    """The hits of a batch of queries, flat: those of query 0 first, best first within a query.

    counts: hits per query; payloads: JSON texts, "" for none; empty if there are none at all.
    """

    counts: list[int]
    ids: list[PointId]
    scores: list[float]
    payloads: list[str]
    missing_shards: tuple[str, ...]


def lists_of_answer(answer: bytes) -> HitLists | None:
    """Return the hits in the bytes of an answer without vectors and explanations; None for another answer.

    None also if its ids are mixed or its columns differ in length.
    """
    try:
        message = search_pb2.SearchResponse.FromString(answer)
    except DecodeError:
        return None
    hits, ids = message.hits, message.hits.ids
    listed: list[PointId] = list(ids.strings or ids.integers)
    counts, scores, payloads, count = list(hits.counts), list(hits.scores), list(hits.payloads), len(listed)
    fits = len(scores) == sum(counts) == count and len(payloads) in (0, count)
    if not fits or (ids.strings and ids.integers) or message.explain or hits.HasField("vectors") or hits.named:
        return None
    return HitLists(counts, listed, scores, payloads, tuple(message.missing_shards))
