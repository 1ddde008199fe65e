"""Cut a batch of queries of any size into searches that a router takes. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from shoal.client.cutting import cut
from shoal.client.flow import Flow
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.shard_calls import QueryGroup, k_of_queries

T = TypeVar("T")

_REQUEST_BYTES = DEFAULT_LIMITS.message_bytes // 2
"""Most bytes of the vectors of one search. The rest of the message is for filters and other parts."""

Piece = tuple[int, int]
"""[start, end) of the queries of one search."""


def pieces_of(groups: Sequence[QueryGroup], queries: int, *, query_bytes: int, found: int = 1, hits_of_k: int = 1) -> list[Piece]:
    """Return consecutive pieces, each with at most 4,096 queries, 1,000,000 hits and 16 MiB of vectors.

    query_bytes: of the vectors of one query; found: hits of a query beside its k, as of candidates; hits_of_k: hits for
    each of k.
    """
    most = max(1, min(DEFAULT_LIMITS.batch_queries, _REQUEST_BYTES // max(1, query_bytes)))
    hits = np.maximum(hits_of_k * np.broadcast_to(np.asarray(k_of_queries(groups, queries), np.int64), (queries,)), found)
    return cut(hits, max_bytes=DEFAULT_LIMITS.batch_hits, max_count=most)


def groups_within(groups: Sequence[QueryGroup], piece: Piece) -> tuple[QueryGroup, ...]:
    """Return the groups of the queries of a piece, with their positions in it."""
    start, end = piece
    kept = []
    for group in groups:
        if group.queries is None:
            kept.append(group)
            continue
        positions = group.queries[(group.queries >= start) & (group.queries < end)] - start
        if len(positions) == end - start:
            return (dataclasses.replace(group, queries=None),)
        if len(positions):
            kept.append(dataclasses.replace(group, queries=positions))
    return tuple(kept)


def one_after_another(pieces: Sequence[Piece], search: Callable[[Piece], Flow[list[T]]]) -> Flow[list[T]]:
    """Return the answers of all pieces in order. An error of the input names the query as the caller counts."""
    answers: list[T] = []
    for piece in pieces:
        try:
            answers += yield from search(piece)
        except InvalidArgument as error:
            raise _renumbered(error, piece[0]) from None
    return answers


def _renumbered(error: InvalidArgument, start: int) -> InvalidArgument:
    index = error.details.index
    if index is None or not start:
        return error
    details: ErrorDetails = dataclasses.replace(error.details, index=start + index)
    return InvalidArgument(error.message.replace(f"[{index}]", f"[{start + index}]", 1), details)
