"""Read a whole replica in the simplest way, for tests that compare it with a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal.core.filter import Filter
from shoal.core.points import PointId
from shoal.core.shard_calls import Exact, QueryGroup, ShardCount, ShardDeleteMatching, ShardScroll, ShardSearch
from tests.support.worker.replica_bench import SHARD, Bench

Stored = tuple[PointId, tuple[float, ...], dict[str, Any] | None]
PAGE = 7
TIMEOUT_S = 20.0


async def scroll(bench: Bench, filter: Filter | None = None) -> list[Stored]:
    """Return every point that matches, read in pages."""
    found: list[Stored] = []
    after: PointId | None = None
    while True:
        page = await bench.replica.scroll(ShardScroll(shard=SHARD, after=after, limit=PAGE, filter=filter, with_vectors=True), TIMEOUT_S)
        payloads = [None if text is None else json.loads(text) for text in page.payloads]
        found += list(zip(page.ids.tolist(), map(tuple, page.vectors.tolist()), payloads, strict=True))
        if len(page.ids) < PAGE:
            return found
        after = page.ids.tolist()[-1]


async def count(bench: Bench, filter: Filter | None = None) -> int:
    return await bench.replica.count(ShardCount(shard=SHARD, filter=filter), TIMEOUT_S)


async def nearest(bench: Bench, query: Sequence[float], k: int, filter: Filter | None = None, vector: str = "") -> list[PointId]:
    """Return the ids of an exact search, best first. vector: the name of the vector that is compared."""
    queries, groups = np.array([query], dtype=np.float32), (QueryGroup(k=k, filter=filter),)
    call = ShardSearch(shard=SHARD, queries=queries, groups=groups, accuracy=Exact(), vector=vector)
    return (await bench.replica.search(call, TIMEOUT_S)).hits.ids.tolist()


async def delete_matching(bench: Bench, filter: Filter) -> None:
    """Delete by a filter until no point matches."""
    more = True
    while more:
        call = ShardDeleteMatching(shard=SHARD, request_id=bench.next_id(), filter=filter)
        more = (await bench.replica.write(call, TIMEOUT_S)).more
