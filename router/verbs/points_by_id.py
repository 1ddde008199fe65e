"""Reads points that a search has found, by their ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from shoal.core.collection import Collection
from shoal.core.errors import ResourceExhausted, ShoalError, is_passing
from shoal.core.limits import Limits
from shoal.core.points import IdArray, StoredColumns
from shoal.core.requests import Get, ReadAs
from shoal.core.shard_calls import ShardGet, ShardService
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.gather import page_points, smaller_page
from shoal.router.logic.outcomes import Answered, Missed, may_be_left_out
from shoal.router.logic.read_plan import get_calls
from shoal.router.logic.retry import RetryPatience
from shoal.router.logic.write_plan import parts_of
from shoal.router.shards.replica_reads import ReadKind
from shoal.router.shards.scatter import Scatter, ShardTask

MOST_AT_ONCE = 1_024
"""Points that a shard is asked for in one call, if their payloads are read: these may be long."""

Take = Callable[[StoredColumns], Awaitable[None]]


class PointsById:
    """Reads points. Used from one event loop."""

    def __init__(self, *, view: ClusterView, scatter: Scatter, limits: Limits) -> None:
        self._view, self._scatter, self._limits = view, scatter, limits

    async def read(
        self,
        ids: IdArray,
        collection: Collection,
        patience: RetryPatience,
        take: Take,
        *,
        read: ReadAs,
        with_payload: bool,
        with_vectors: bool,
        allow_partial: bool,
    ) -> frozenset[int]:
        """Pass the points that exist to `take`, in pieces that fit into messages, each shard one piece after the other.
        Return the numbers of the shards that cannot answer; without allow_partial, raise the error of one instead.

        ids: each once.
        """
        if not len(ids):
            return frozenset()
        question = Get(collection=collection.spec.name, ids=ids, with_payload=with_payload, with_vectors=with_vectors, read=read)
        parts = parts_of(ids, self._view.current.shards_of(collection.id), collection.spec.name)
        count = page_points(len(ids), collection.spec.point_dim, with_vectors, self._limits.message_bytes)
        size = min(count, MOST_AT_ONCE) if with_payload else count
        waiting = [deque(_pieces(call, size)) for call in get_calls(question, collection, parts)]
        missing: set[int] = set()
        while waiting:
            calls = [pieces.popleft() for pieces in waiting]
            tasks = [ShardTask(call.shard.number, partial(_get, call), ReadKind("get", read.consistency)) for call in calls]
            outcomes = await self._scatter.each(collection, tasks, patience)
            for call, pieces, outcome in zip(calls, waiting, outcomes, strict=True):
                match outcome:
                    case Answered(value=points):
                        await take(points)
                    case Missed(error=error):
                        self._missed(call, pieces, error, missing, allow_partial=allow_partial)
            waiting = [pieces for pieces in waiting if pieces]
        return frozenset(missing)

    def _missed(self, call: ShardGet, pieces: deque[ShardGet], error: ShoalError, missing: set[int], *, allow_partial: bool) -> None:
        """Take the error of a piece: read it in smaller ones if it was too large, or leave the shard out, or raise."""
        smaller = smaller_page(len(call.ids)) if isinstance(error, ResourceExhausted) and not is_passing(error) else None
        if smaller is not None:
            pieces.extendleft(reversed(_pieces(call, smaller)))
        elif allow_partial and may_be_left_out(error):
            missing.add(call.shard.number)
            pieces.clear()
        else:
            raise error


def _pieces(call: ShardGet, size: int) -> list[ShardGet]:
    return [replace(call, ids=call.ids[start : start + size]) for start in range(0, len(call.ids), size)]


async def _get(call: ShardGet, service: ShardService, left_s: float) -> StoredColumns:
    return await service.get(call, left_s)
