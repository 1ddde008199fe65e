"""A collection with texts and vectors in a twin cluster, and what a search of it finds by brute force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from shoal.core.fused_search import DenseLeg, FusedFound, FusedSearch, TextLeg
from shoal.core.fusion import Candidates, LegHits, fuse
from shoal.core.fusion_choice import Fusion, SearchDefaults
from shoal.core.ids import CollectionId, ShardId
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, PointId, id_array
from shoal.core.requests import Upsert
from shoal.core.shard_calls import Exact, QueryGroup, ShardSearch
from shoal.core.text_calls import TextSearchCall
from shoal.core.text_query import TextAsk
from shoal.router.logic.rounds import LegsPlan
from tests.twins.cluster import TwinCluster
from tests.twins.shard import TwinShard, found_in
from tests.twins.shard_texts import found_texts

DIM = 4
WORDS = ("ant", "bee", "cat", "dog", "eel", "fox")
CALL_S = 10.0
ANY_SHARD = ShardId(CollectionId("all"), 0)


def made_points(count: int, seed: int = 0, groups: int = 4) -> dict[PointId, tuple[np.ndarray, dict[str, Any]]]:
    """Return points with a text, a title, and a group in their payload. Some ids are texts, some texts are missing."""
    rng = np.random.default_rng(seed)
    points: dict[PointId, tuple[np.ndarray, dict[str, Any]]] = {}
    for at in range(count):
        payload: dict[str, Any] = {"at": at, "doc": {"id": f"d{int(rng.integers(groups))}"}}
        if at % 5:
            payload["body"] = " ".join(rng.choice(WORDS, size=int(rng.integers(1, 9))))
        if at % 3:
            payload["title"] = " ".join(rng.choice(WORDS, size=int(rng.integers(1, 3))))
        points[f"p{at}" if at % 4 == 3 else at] = (rng.integers(-3, 4, DIM).astype(np.float32) + np.float32(0.5), payload)
    return points


def scene(
    points: Mapping[PointId, tuple[np.ndarray, dict[str, Any]]],
    *,
    shards: int = 3,
    workers: int = 2,
    metric: Metric = Metric.COSINE,
    replicas: int = 1,
    defaults: SearchDefaults = SearchDefaults(),
    **options: Any,
) -> TwinCluster:
    cluster = TwinCluster(workers=workers, **options)
    cluster.add("a", dim=DIM, shards=shards, metric=metric, replicas=replicas, text=("title", "body"), defaults=defaults)
    if points:
        columns = PointColumns(
            ids=id_array(points),
            vectors=np.stack([vector for vector, _ in points.values()]),
            payloads=tuple(json.dumps(payload).encode() for _, payload in points.values()),
        )
        asyncio.run(cluster.router.writes.upsert(Upsert(collection="a", points=columns), CALL_S))
    for worker in cluster.workers.values():
        worker.calls.clear()
        worker.timeouts.clear()
    return cluster


def hybrid(queries: np.ndarray, asks: tuple[TextAsk, ...], k: int = 5, **options: Any) -> FusedSearch:
    legs = (DenseLeg(queries=queries), TextLeg(asks=asks))
    return FusedSearch(**{"collection": "a", "legs": legs, "groups": (QueryGroup(k=k),), "accuracy": Exact(), **options})


def ask(cluster: TwinCluster, question: FusedSearch, timeout_s: float = CALL_S) -> FusedFound:
    return asyncio.run(cluster.router.fused.search(question, timeout_s))


def calls_of(cluster: TwinCluster, kind: type) -> list[Any]:
    return [call for worker in cluster.workers.values() for call in worker.calls if isinstance(call, kind)]


def candidates_by_brute_force(cluster: TwinCluster, plan: LegsPlan, question: FusedSearch, query: int, depth: int) -> Candidates:
    """Return the candidates of a query, from one shard that holds all points."""
    spec = cluster.view.current.by_name["a"].spec
    whole = TwinShard(spec, dict(cluster.points()))
    group = next(each for each in question.groups if each.queries is None or query in each.queries)
    alone = (QueryGroup(k=depth, filter=group.filter),)
    found = []
    for leg, weight in zip(plan.legs, plan.weights, strict=True):
        if not weight:
            found.append(LegHits(ids=id_array(()), scores=np.empty(0)))
        elif isinstance(leg, DenseLeg):
            call = ShardSearch(shard=ANY_SHARD, queries=leg.queries[query : query + 1], groups=alone, radius=leg.min_score)
            hits = found_in(whole, call).hits
            found.append(LegHits(ids=hits.ids, scores=hits.scores.astype(np.float64)))
        else:
            texts = TextSearchCall(shards=(ANY_SHARD,), asks=leg.asks[query : query + 1], groups=alone, min_score=leg.min_score)
            answer = found_texts({ANY_SHARD: whole}, texts).hits
            found.append(LegHits(ids=answer.ids, scores=answer.scores))
    return fuse(found, plan.rules(depth), plan.fusion or Fusion())


def ids_by_query(found: FusedFound) -> list[list[PointId]]:
    ends = np.cumsum(found.hits.counts).tolist()
    ids = found.hits.ids.tolist()
    return [ids[end - count : end] for end, count in zip(ends, found.hits.counts.tolist(), strict=True)]
