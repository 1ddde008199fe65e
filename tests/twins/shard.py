"""A plain twin of a shard: a dict of points, and searches that compare with every point."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.filter import Filter
from shoal.core.filter_truth import matches
from shoal.core.ids import RequestId
from shoal.core.metric import Metric
from shoal.core.payload import payload_from_json
from shoal.core.point_change import PointChange, PointUpdate, UpdateNamed, UpdatePacked, UpdateVectors
from shoal.core.points import PointId, StoredColumns, id_array
from shoal.core.scoring import prepared, scores
from shoal.core.shard_calls import QueryGroup, SegmentExplain, ShardFound, ShardSearch, WriteAck
from shoal.core.topk import HitColumns, hit_order
from tests.twins.point_changes import payload_after


@dataclass
class TwinShard:
    """One shard of a worker. points: (vector, payload) by id; with named vectors, the vector is the packed row."""

    spec: CollectionSpec
    points: dict[PointId, tuple[np.ndarray, bytes | None]] = field(default_factory=dict)
    seq: int = 1
    remembered: dict[RequestId, WriteAck] = field(default_factory=dict)

    def vector(self, point_id: PointId, name: str) -> np.ndarray | None:
        """Return the vector of this name of a point; None if it has none."""
        row, start = self.points[point_id][0], 1
        for bit, each in enumerate(self.spec.vectors):
            if each.name == name:
                return row[start : start + each.dim] if int(row[0]) >> bit & 1 else None
            start += each.dim
        assert not name, f"there is no vector {name!r}"
        assert not self.spec.vectors, "a vector needs a name"
        return row


def found_in(shard: TwinShard, call: ShardSearch) -> ShardFound:
    """Return what a search of the shard finds, by comparing with every point."""
    best: dict[int, list[tuple[PointId, np.float32]]] = {}
    for group in call.groups:
        for number in range(len(call.queries)) if group.queries is None else group.queries.tolist():
            best[number] = best_of(shard, call, group, call.queries[number : number + 1])
    flat = [hit for _, hits in sorted(best.items()) for hit in hits]
    rows = [shard.points[point_id] for point_id, _ in flat]
    hits = HitColumns(
        counts=np.array([len(found) for _, found in sorted(best.items())], dtype=np.int64),
        ids=id_array(point_id for point_id, _ in flat),
        scores=np.array([score for _, score in flat], dtype=np.float32),
        payloads=tuple(payload for _, payload in rows) if call.with_payload else None,
        vectors=np.array([vector for vector, _ in rows], dtype=np.float32).reshape(-1, shard.spec.point_dim) if call.with_vectors else None,
    )
    return ShardFound(hits=hits, explain=(explained(call),) if call.explain else ())


def best_of(shard: TwinShard, call: ShardSearch, group: QueryGroup, query: np.ndarray) -> list[tuple[PointId, np.float32]]:
    metric = shard.spec.vector_of(call.vector).metric
    having = [(point_id, shard.vector(point_id, call.vector)) for point_id in matching(shard, group.filter)]
    ids = [point_id for point_id, vector in having if vector is not None]
    if not ids:
        return []
    rows = prepared(np.stack([vector for _, vector in having if vector is not None]), metric)
    values = scores(prepared(query, metric)[0], rows, metric)
    order = hit_order(np.zeros(len(ids), dtype=np.int64), values, id_array(ids), metric)
    within = [(ids[at], values[at]) for at in order if call.radius is None or good_enough(values[at], call.radius, metric)]
    return within[: group.k]


def matching(shard: TwinShard, filter: Filter | None) -> list[PointId]:
    """Return the ids of the points that match by the definition of truth."""
    return [
        point_id
        for point_id, (_, payload) in shard.points.items()
        if filter is None or matches(filter, payload_from_json(payload), point_id)
    ]


def good_enough(score: np.float32, radius: float, metric: Metric) -> bool:
    return bool(score <= radius if metric.smaller_is_better else score >= radius)


def explained(call: ShardSearch) -> SegmentExplain:
    return SegmentExplain(
        shard=call.shard.number,
        segment="growing",
        state="growing",
        index="flat",
        group=0,
        queries=len(call.queries),
        rows=1,
        plan="exact",
        estimated_selectivity=1.0,
        selectivity=1.0,
        candidates=1,
        breadth=0,
        breadth_name="",
        fallbacks=0,
        filter_us=0.0,
        search_us=0.0,
        score_us=0.0,
        filter_cached=False,
        vector=call.vector,
    )


def stored(shard: TwinShard, ids: list[PointId], with_vectors: bool, with_payload: bool) -> StoredColumns:
    rows = [shard.points[each] for each in ids]
    vectors = np.stack([vector for vector, _ in rows]) if rows else np.empty((0, shard.spec.point_dim), dtype=np.float32)
    return StoredColumns(
        ids=id_array(ids),
        vectors=vectors if with_vectors else None,
        payloads=tuple(payload for _, payload in rows) if with_payload else None,
    )


def update(shard: TwinShard, order: PointUpdate) -> int:
    """Change points of the shard; return how many."""
    found = set(matching(shard, order.filter))
    changed = 0
    for at, point_id in enumerate(order.ids.tolist()):
        if point_id in found:
            shard.points[point_id] = point_after(shard.points[point_id], order.change, at)
            changed += 1
    return changed


def point_after(point: tuple[np.ndarray, bytes | None], change: PointChange, at: int) -> tuple[np.ndarray, bytes | None]:
    """Return a point, (vector, payload), after a change. at: its place among the ids of the update."""
    vector, payload = point
    if isinstance(change, UpdateVectors):
        return change.vectors[at].copy(), payload
    if isinstance(change, UpdatePacked):
        return row_after(vector, change.rows[at], change.dims), payload
    assert not isinstance(change, UpdateNamed), "named vectors are packed before they are written"
    return vector, payload_after(payload, change)


def row_after(row: np.ndarray, given: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    """Return a packed row after the vectors that another one has have taken the place of its own."""
    after, start = row.copy(), 1
    for bit, dim in enumerate(dims):
        if int(given[0]) >> bit & 1:
            after[start : start + dim] = given[start : start + dim]
        start += dim
    after[0] = int(row[0]) | int(given[0])
    return after
