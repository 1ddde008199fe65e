"""Reads a driven engine, for comparison with a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal.core.errors import DataLoss
from shoal.core.filter import Filter
from shoal.core.points import PointId
from shoal.core.shard_calls import Exact, QueryGroup, ShardScroll, ShardSearch
from tests.support.worker.engine_driver import ENOUGH, Driven
from tests.support.worker.replica_bench import SHARD


def stored(driven: Driven) -> dict[PointId, tuple[list[float], dict[str, Any] | None]]:
    """Return every point of the store: vector and payload by id."""
    page = driven.engine.reading.scroll(ShardScroll(shard=SHARD, after=None, limit=ENOUGH, with_vectors=True))
    assert page.vectors is not None
    assert page.payloads is not None
    payloads = [None if text is None else json.loads(text) for text in page.payloads]
    return {each: (vector, payload) for each, vector, payload in zip(page.ids.tolist(), page.vectors.tolist(), payloads, strict=True)}


def nearest(driven: Driven, query: Sequence[float], k: int, filter: Filter | None = None, vector: str = "") -> list[PointId]:
    """Return the ids of an exact search, best first. Raises DataLoss if the index holds a row that the store lacks.
    vector: the name of the vector that is compared."""
    call = ShardSearch(shard=SHARD, queries=np.array([query], dtype=np.float32), groups=(QueryGroup(k=k, filter=filter),), accuracy=Exact())
    reading = driven.engine.searched[vector].reading
    found = reading.search(reading.view(), call)
    if found is None:
        raise DataLoss("a row that the index holds is not in the store")
    return list(found.hits.ids.tolist())


def count(driven: Driven, filter: Filter | None = None) -> int:
    """Return the number of points. Raises DataLoss as nearest does."""
    if filter is None:
        return driven.engine.reading.count()
    counted = driven.engine.reading.count_matching(driven.engine.reading.view(), filter)
    if counted is None:
        raise DataLoss("a row that the index holds is not in the store")
    return counted


def matching(driven: Driven, filter: Filter) -> tuple[list[PointId], list[int]]:
    """Return ids and rows of the points that match."""
    found = driven.engine.reading.matching(driven.engine.reading.view(), filter, ENOUGH)
    assert found is not None
    assert not found.more
    return found.ids.tolist(), found.rows.tolist()
