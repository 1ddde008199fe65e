"""Decides which searches travel to the workers as one. Pure.

Only searches that differ in nothing but their queries do. They have the same caller, too: work takes turns by caller,
so a search never waits for those of another client, and is not carried out in its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from shoal.core.errors import DataLoss, DeadlineExceeded, Unavailable
from shoal.core.filter import filter_key, is_long
from shoal.core.shard_calls import ShardsFound, ShardsSearch
from shoal.core.topk import MANY_HITS, HitColumns
from shoal.router.logic.outcomes import Covered

MOST_QUERIES = 64
LONGEST_S = 0.02
"""Searches are joined only as far as their common call probably takes no longer than a turn of a worker."""

_FEW_QUERIES = 8
_WEIGHT = 0.2

_OF_SHARDS = (Unavailable, DeadlineExceeded, DataLoss)
"""Errors that say something about a shard, and nothing about the request."""


def join_key(call: ShardsSearch) -> Hashable | None:
    """Return what searches must have in common to travel together; None if this one travels alone."""
    if call.explain or len(call.groups) != 1 or len(call.queries) > _FEW_QUERIES:
        return None
    (group,) = call.groups
    if group.filter is not None and is_long(group.filter):
        return None
    return (
        call.shards[0].collection,
        len(call.shards),
        group.k,
        None if group.filter is None else filter_key(group.filter),
        call.vector,
        call.accuracy,
        call.radius,
        call.with_payload,
        call.with_vectors,
        call.consistency,
        frozenset(call.min_seqs.items()),
        call.caller,
    )


def most_queries(k: int, query_s: float | None) -> int:
    """Return how many queries may travel together. query_s: seconds that a query has taken of late, None if unknown."""
    if query_s is None:
        return 1
    return max(1, min(MOST_QUERIES, MANY_HITS // k, int(min(LONGEST_S / query_s, MOST_QUERIES)) if query_s > 0 else MOST_QUERIES))


def query_s_after(before: float | None, took_s: float, queries: int) -> float:
    """Return the mean seconds of a query, after a call of so many queries took took_s."""
    now = took_s / queries
    return now if before is None else before + _WEIGHT * (now - before)


def batches(sizes: Sequence[int], most: int) -> list[slice]:
    """Return the searches in batches, in their order. sizes: queries of each search. Only a search that alone has more
    than `most` queries makes a batch of more.
    """
    found, start, queries = [], 0, 0
    for at, size in enumerate(sizes):
        if at > start and queries + size > most:
            found.append(slice(start, at))
            start, queries = at, 0
        queries += size
    if start < len(sizes):
        found.append(slice(start, len(sizes)))
    return found


def joined(calls: Sequence[ShardsSearch]) -> ShardsSearch:
    """Return the search of the queries of all calls, at least one; they have the same join_key."""
    return dataclasses.replace(calls[0], queries=np.concatenate([call.queries for call in calls]))


def is_of_shards(covered: Covered[ShardsFound]) -> bool:
    """Return whether the outcome would be the same for each of the searches alone: what is missed is so because of its
    shard, and not because of the call.
    """
    return all(isinstance(each.error, _OF_SHARDS) for each in covered.missed)


def taken_apart(covered: Covered[ShardsFound], sizes: Sequence[int]) -> list[Covered[ShardsFound]]:
    """Return the outcome of each search, from that of all. sizes: queries of each search, in the order of `joined`."""
    ends = np.cumsum(sizes).tolist()
    return [
        Covered(parts=tuple(ShardsFound(hits=hits_of_queries(part.hits, end - size, end)) for part in covered.parts), missed=covered.missed)
        for size, end in zip(sizes, ends, strict=True)
    ]


def hits_of_queries(hits: HitColumns, start: int, end: int) -> HitColumns:
    """Return the hits of the queries start to end - 1."""
    before, counts = int(hits.counts[:start].sum()), hits.counts[start:end]
    mine = slice(before, before + int(counts.sum()))
    return HitColumns(
        counts=counts,
        ids=hits.ids[mine],
        scores=hits.scores[mine],
        payloads=None if hits.payloads is None else hits.payloads[mine],
        vectors=None if hits.vectors is None else hits.vectors[mine],
    )
