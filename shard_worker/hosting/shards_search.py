"""One search of several replicas of this worker. Payloads and vectors are read only for the hits that stay after the
merge.

A replica that fails does not fail the others: its error is part of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from shoal.core.deadline import Deadline
from shoal.core.errors import ShoalError, to_keep
from shoal.core.express import PreparedSearch
from shoal.core.ids import ShardId
from shoal.core.points import StoredColumns, id_array
from shoal.core.shard_calls import SegmentExplain, ShardSearch, ShardsFound, ShardsSearch, k_of_queries
from shoal.core.topk import HitColumns, PartRows, concat_ids, merge_order
from shoal.runtime.clock import boot_s
from shoal.shard_worker.replica.reading import FoundRows
from shoal.shard_worker.replica.replica import Replica

_MARGIN_S = 0.05
_MARGIN_SHARE = 0.1
"""The replicas get a little less time than the call has, so that one that is late does not make the answer late."""

ON_LOOP_US = 2_000.0
"""Searches of several replicas estimated below this time run on the event loop: passing one to a pool costs a
millisecond, and its data is then in the cache of another core."""

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What one replica found. rows: if it is not None, payloads and vectors of the hits are still to be read."""

    replica: Replica
    call: ShardSearch
    hits: HitColumns
    explain: tuple[SegmentExplain, ...]
    rows: FoundRows | None = None


async def search_replicas(
    replica_of: Callable[[ShardId], Replica], call: ShardsSearch, timeout_s: float, prepared: PreparedSearch | None = None
) -> ShardsFound:
    """Return the best k points for each query over the shards that can answer, and the errors of the others.

    replica_of: returns the open replica of a shard, or raises a ShoalError. prepared: the search of all replicas as
    one, if they can answer it now. If it does not come to an end, each replica is searched.
    """
    deadline = deadline_of(timeout_s)
    together = None if prepared is None else await _together(prepared, deadline)
    if together is not None:
        return ShardsFound(hits=together)
    failed: dict[ShardId, ShoalError] = {}
    parts = await each_shard({shard: partial(_found, replica_of, call.of(shard), deadline) for shard in call.shards}, failed)
    while parts:
        hits, replaced = await _merged(call, parts, deadline, failed)
        parts = {shard: part for shard, part in parts.items() if shard not in failed}
        if hits is not None:
            return ShardsFound(hits=hits, failed=failed, explain=tuple(each for part in parts.values() for each in part.explain))
        # The merge is done again: without the replicas that have failed, and with new answers of those that have
        # replaced a row meanwhile. These answers are complete, so this ends.
        parts |= await each_shard({shard: partial(_searched, parts[shard], deadline) for shard in replaced}, failed)
        parts = {shard: parts[shard] for shard in call.shards if shard in parts and shard not in failed}
    nothing = HitColumns(counts=np.zeros(len(call.queries), dtype=np.int64), ids=id_array(()), scores=np.empty(0, dtype=np.float32))
    return ShardsFound(hits=nothing, failed=failed)


def deadline_of(timeout_s: float) -> Deadline:
    """Return the deadline of the replicas in a call that may take timeout_s seconds."""
    return Deadline.after(timeout_s - min(_MARGIN_S, _MARGIN_SHARE * timeout_s), boot_s)


async def _together(prepared: PreparedSearch, deadline: Deadline) -> HitColumns | None:
    """Return the hits of all replicas, searched as one; None if that did not work."""
    try:
        return prepared.run() if prepared.cost_us <= ON_LOOP_US else await prepared.run_in_pool(deadline)
    except ShoalError:
        # Each replica says what is wrong when it is searched alone.
        return None


async def _found(replica_of: Callable[[ShardId], Replica], call: ShardSearch, deadline: Deadline) -> _Part:
    replica = replica_of(call.shard)
    found = await replica.find(call, deadline)
    hits = HitColumns(counts=found.hits.counts, ids=found.hits.ids, scores=found.hits.scores)
    return _Part(replica=replica, call=call, hits=hits, explain=found.explain, rows=found)


async def _searched(before: _Part, deadline: Deadline) -> _Part:
    """Return the answer of a replica with the payloads and vectors of all its hits."""
    found = await before.replica.search(before.call, deadline.left_s)
    return _Part(replica=before.replica, call=before.call, hits=found.hits, explain=found.explain)


async def _merged(
    call: ShardsSearch, parts: Mapping[ShardId, _Part], deadline: Deadline, failed: dict[ShardId, ShoalError]
) -> tuple[HitColumns | None, list[ShardId]]:
    """Return the best hits of all parts; None if a replica failed or replaced rows, and the shards of the latter."""
    columns = [part.hits for part in parts.values()]
    reading = next(iter(parts.values())).replica.vectors.of(call.vector).reading
    order = merge_order(columns, k_of_queries(call.groups, len(call.queries)), reading.metric)
    places = PartRows.of([len(each) for each in columns], order.kept)
    stored: dict[ShardId, StoredColumns | None] = {}
    if call.with_payload or call.with_vectors:
        rows = {shard: places.row[places.part == number] for number, shard in enumerate(parts)}
        stored = await each_shard(
            {shard: partial(_stored, parts[shard], each, deadline) for shard, each in rows.items() if len(each)}, failed
        )
    replaced = [shard for shard, each in stored.items() if each is None]
    if replaced or not failed.keys().isdisjoint(parts):
        return None, replaced
    kept = [(number, each) for number, shard in enumerate(parts) if (each := stored.get(shard)) is not None]
    return (
        HitColumns(
            counts=order.counts,
            ids=concat_ids([each.ids for each in columns])[order.kept],
            scores=np.concatenate([each.scores for each in columns])[order.kept],
            payloads=_payloads(places, kept) if call.with_payload else None,
            vectors=_vectors(places, kept, reading.point_dim) if call.with_vectors else None,
        ),
        [],
    )


async def _stored(part: _Part, rows: npt.NDArray[np.intp], deadline: Deadline) -> StoredColumns | None:
    """Return payloads and vectors of some hits of a part; None if one of their rows was replaced meanwhile."""
    if part.rows is not None:
        return await part.replica.complete(part.rows, rows, part.call, deadline)
    hits = part.hits
    return StoredColumns(
        ids=hits.ids[rows],
        vectors=None if hits.vectors is None else hits.vectors[rows],
        payloads=None if hits.payloads is None else tuple(hits.payloads[row] for row in rows.tolist()),
    )


def _payloads(places: PartRows, kept: list[tuple[int, StoredColumns]]) -> tuple[bytes | None, ...]:
    texts = np.empty(len(places.part), dtype=object)
    for number, columns in kept:
        texts[places.part == number] = columns.payloads
    return tuple(texts.tolist())


def _vectors(places: PartRows, kept: list[tuple[int, StoredColumns]], dim: int) -> npt.NDArray[np.float32]:
    vectors = np.empty((len(places.part), dim), dtype=np.float32)
    for number, columns in kept:
        vectors[places.part == number] = columns.vectors
    return vectors


async def each_shard(works: Mapping[K, Callable[[], Coroutine[Any, Any, T]]], failed: dict[K, ShoalError]) -> dict[K, T]:
    """Do the work of each shard, or of each other part, at once.

    Return the results in the order of the shards, and add the errors to `failed`.
    """
    done: dict[K, T] = {}

    async def one(shard: K, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        try:
            done[shard] = await work()
        except ShoalError as error:
            failed[shard] = to_keep(error)

    if len(works) == 1:
        await one(*next(iter(works.items())))
        return done
    async with asyncio.TaskGroup() as group:
        for shard, work in works.items():
            group.create_task(one(shard, work))
    return {shard: done[shard] for shard in works if shard in done}
