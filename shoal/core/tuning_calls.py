"""The calls of a router to a worker that measure recall, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.ids import ShardId
from shoal.core.points import Matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """breadth: ef or nprobe; fetch: rows taken from the index and scored exactly; recall: measured; us: microseconds of
    one search.
    """

    breadth: int
    fetch: int
    recall: float
    us: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentCurve:
    """Recall against cost of one segment at one k.

    queries: number of queries measured; real_queries: whether they were real, else rows of the segment were used;
    points: in the order of cost; exact_us: microseconds of one exact search; vector: its name, "" if it has none.
    """

    shard: int
    segment: str
    index: str
    rows: int
    breadth_name: str
    queries: int
    real_queries: bool
    points: tuple[CurvePoint, ...]
    exact_us: float
    vector: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTune:
    """Measure the curves of all sealed segments now, and keep the results.

    queries: (n, dim) float32 to measure with and to keep, None for those that were asked; vector: name of the vector;
    "" with named vectors: all of them, then without queries.
    """

    shard: ShardId
    k: int
    queries: Matrix | None = None
    vector: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardMeasureRecall:
    """Search `sample` queries as usual and compare with the exact answer. recall: the target of these searches; vector:
    name of the vector that is compared, "" if it has none.
    """

    shard: ShardId
    k: int
    sample: int
    recall: float
    vector: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecall:
    """Share of the exact k nearest that was found. lowest: of one query; search_us, exact_us: mean microseconds of a
    search.
    """

    shard: int
    queries: int
    real_queries: bool
    recall: float
    lowest: float
    search_us: float
    exact_us: float
