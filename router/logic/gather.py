"""Merges the answers of the shards into one answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Collection
from shoal.core.ids import ReplicaId
from shoal.core.metric import Metric
from shoal.core.points import IdArray, StoredColumns, id_ranks
from shoal.core.replies import CollectionInfo, Got, Page
from shoal.core.shard_calls import ShardStats
from shoal.core.shard_config import ShardConfig
from shoal.core.topk import HitColumns, concat_ids, merge_hits
from shoal.router.logic.named_points import NAME_BYTES, POSITION_BYTES

_ROW_OVERHEAD_BYTES = 24
"""Most bytes of a point's id, lengths and tags, beside its texts."""

_WAITING_TEXTS = 4


def gather_hits(parts: Sequence[HitColumns], k: int | npt.NDArray[np.int64], metric: Metric) -> HitColumns:
    """Return the best k hits of each query over all shards. parts: at least one, each sorted and cut at k. k: one for
    all queries, or (queries,) int64.

    A shard without hits is left out: its answer does not show whether there are payloads.
    """
    filled = [part for part in parts if len(part)] or list(parts[:1])
    return filled[0] if len(filled) == 1 else merge_hits(filled, k, metric)


def gather_points(asked: IdArray, parts: Sequence[StoredColumns]) -> StoredColumns:
    """Return the points that were found, in the order of `asked`. A point that is asked for twice is returned twice."""
    found = _joined(parts)
    row_of = {value: row for row, value in enumerate(found.ids.tolist())}
    rows = [row_of[value] for value in asked.tolist() if value in row_of]
    return _taken(found, np.array(rows, dtype=np.intp))


def gather_part(asked: IdArray, parts: Sequence[StoredColumns], message_bytes: int, names: int = 0) -> Got:
    """Return the points of the first ids, as gather_points does, as many as fit into a message; at least one point.

    An id without a point takes no room. names: number of named vectors, of which the rows of the parts are made.
    """
    found = gather_points(asked, parts)
    fitting = _rows_within(found, message_bytes, names)
    if fitting >= len(found):
        return Got(points=found, answered=len(asked))
    known = set(found.ids.tolist())
    stands = [at for at, value in enumerate(asked.tolist()) if value in known]
    return Got(points=_taken(found, np.arange(fitting)), answered=stands[fitting])


def page_points(limit: int, dim: int, with_vectors: bool, message_bytes: int) -> int:
    """Return how many points to ask for, 1 to limit, so that their ids and vectors fit into a message. dim: of the rows
    that are stored.
    """
    row_bytes = _ROW_OVERHEAD_BYTES + (4 * dim if with_vectors else 0)
    return max(1, min(limit, message_bytes // row_bytes))


def smaller_page(limit: int) -> int | None:
    """Return the next size to try if a shard's answer was too large for a message; None if there is none."""
    return None if limit == 1 else max(1, limit // 8)


def gather_page(parts: Sequence[StoredColumns], limit: int, message_bytes: int, names: int = 0) -> Page:
    """Return the first points over all shards, in id order: at most `limit`, as many as fit into a message, at least
    one.

    parts: the first `limit` points of each shard; a shard that returned fewer has no more. names: as in gather_part.
    """
    found = _joined(parts)
    order = np.argsort(id_ranks(found.ids), kind="stable")
    ordered = _taken(found, order[:limit])
    fitting = _rows_within(ordered, message_bytes, names)
    more = fitting < len(found) or any(len(part) >= limit for part in parts)
    return Page(points=ordered if fitting == len(ordered) else _taken(ordered, np.arange(fitting)), more=more)


def shard_figures(config: ShardConfig, told: Mapping[ReplicaId, ShardStats]) -> ShardStats | None:
    """Return the figures of a shard from those of its replicas; None if no replica in sync has answered.

    Points are those of the primary; without it, those of the replica in sync that has applied most. Rows and builds are
    the worst over the replicas in sync, so that 0 means 0 on all of them. Bytes and memory are the sum over all
    replicas that have answered.
    """
    in_sync = [told[replica] for replica in config.isr if replica in told]
    if not in_sync:
        return None
    first = told[config.primary] if config.primary in told else max(in_sync, key=lambda each: each.applied_seq)
    return dataclasses.replace(
        first,
        growing_rows=max(each.growing_rows for each in in_sync),
        sealed_rows=min(each.sealed_rows for each in in_sync),
        segments=max(each.segments for each in in_sync),
        builds_pending=max(each.builds_pending for each in in_sync),
        bytes=sum(each.bytes for each in told.values()),
        memory_bytes=sum(each.memory_bytes for each in told.values()),
        waiting=_joined_words(each.waiting for each in in_sync),
    )


def gather_figures(collection: Collection, parts: Iterable[ShardStats]) -> CollectionInfo:
    """Return the sum over all shards. `waiting` holds each different text once."""
    stats = tuple(parts)
    return CollectionInfo(
        id=collection.id,
        spec=collection.spec,
        state=collection.state.value,
        points=sum(each.points for each in stats),
        growing_rows=sum(each.growing_rows for each in stats),
        sealed_rows=sum(each.sealed_rows for each in stats),
        segments=sum(each.segments for each in stats),
        builds_pending=sum(each.builds_pending for each in stats),
        bytes=sum(each.bytes for each in stats),
        memory_bytes=sum(each.memory_bytes for each in stats),
        waiting=_joined_words([each.waiting for each in stats]),
    )


def _joined_words(texts: Iterable[str]) -> str:
    """Return the first few different texts that are not empty, in order."""
    different = list(dict.fromkeys(text for text in texts if text))
    unsaid = len(different) - _WAITING_TEXTS
    return "; ".join(different[:_WAITING_TEXTS]) + (f"; and {unsaid} more" if unsaid > 0 else "")


def _joined(parts: Sequence[StoredColumns]) -> StoredColumns:
    filled = [part for part in parts if len(part)] or list(parts[:1])
    if len(filled) == 1:
        return filled[0]
    vectors = [part.vectors for part in filled if part.vectors is not None]
    payloads = [part.payloads for part in filled if part.payloads is not None]
    return StoredColumns(
        ids=concat_ids([part.ids for part in filled]),
        vectors=np.concatenate(vectors) if len(vectors) == len(filled) else None,
        payloads=tuple(text for texts in payloads for text in texts) if len(payloads) == len(filled) else None,
    )


def _taken(points: StoredColumns, rows: npt.NDArray[np.intp]) -> StoredColumns:
    return StoredColumns(
        ids=points.ids[rows],
        vectors=None if points.vectors is None else points.vectors[rows],
        payloads=None if points.payloads is None else tuple(points.payloads[row] for row in rows.tolist()),
    )


def _rows_within(points: StoredColumns, message_bytes: int, names: int) -> int:
    sizes = np.full(len(points), _ROW_OVERHEAD_BYTES, dtype=np.int64)
    if points.vectors is not None:
        sizes += 4 * points.vectors.shape[1] + POSITION_BYTES * names
        message_bytes -= NAME_BYTES * names
    if points.payloads is not None:
        sizes += np.fromiter((0 if text is None else len(text) for text in points.payloads), dtype=np.int64, count=len(points))
    if points.ids.dtype == object:
        texts = (len(value.encode("utf-8")) if isinstance(value, str) else 0 for value in points.ids.tolist())
        sizes += np.fromiter(texts, dtype=np.int64, count=len(points))
    fitting = int(np.searchsorted(np.cumsum(sizes), message_bytes, side="right"))
    return min(len(points), max(1, fitting))
