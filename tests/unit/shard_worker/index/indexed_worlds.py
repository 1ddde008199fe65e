"""Worlds of two indexed segments, and what tests of short ways to search them share."""

from __future__ import annotations

from typing import Any

from shoal.core.metric import Metric
from shoal.core.shard_calls import RecallTarget
from shoal.shard_worker.index.likeness import Likeness
from shoal.shard_worker.index.search.search import SearchedView
from tests.unit.shard_worker.index.filter_world import Piece, World, clustered, world

DIM, ROWS = 16, 600
TARGET = RecallTarget(0.9)
METRICS = list(Metric)
KINDS = ["HNSW16", "HNSW16,SQ8", "IVF16,Flat"]


def indexed_world(metric: Metric, kind: str, seed: int, dead: tuple[int, ...] = ()) -> World:
    """Return a world of two segments of ROWS rows with an index of a kind. dead: rows of each segment."""
    vectors, _ = clustered(seed, 2 * ROWS, DIM, 8)
    pieces = [
        Piece(ids=range(at, at + ROWS), vectors=vectors[at : at + ROWS], payloads=[None] * ROWS, dead=dead, kind=kind) for at in (0, ROWS)
    ]
    return world(metric, pieces, clustered(seed + 7, 60, DIM, 8)[0])


def seen(*worlds: World) -> list[SearchedView]:
    """Return the views of worlds, as a search sees them."""
    return [SearchedView(view=each.view, context=each.context(explain=False)) for each in worlds]


class MeasuredTuning:
    """A tuning that trusts its measurement, with this likeness."""

    trusted = True

    def __init__(self, tuning: Any, likeness: Likeness) -> None:
        self._tuning, self.likeness = tuning, likeness

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tuning, name)
