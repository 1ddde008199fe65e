"""Build views by hand for tests of the planner. The FAISS indexes are real and have the interface of NativeIndex. The
payload index asks the definition of truth. The tuning is measured on other queries than those of the test. A dumb twin
gives the expected answers.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import faiss
import numpy as np
from pyroaring import BitMap

from shoal.core.filter import Filter
from shoal.core.filter_truth import matches
from shoal.core.metric import Metric
from shoal.core.payload import payload_from_json
from shoal.core.points import PointId, id_array, id_order
from shoal.core.scoring import prepared, scores
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.tuning import EXACT, BreadthChoice
from shoal.shard_worker.index.view import ALIVE, IndexHits, IndexView, SegmentView
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.payload.matched import Matched
from tests.support.worker.steady_paces import SteadyPaces

RANKS = (1, 3, 10, 30, 100, 300, 1000)
SEQ = 1_000


class FakeNative:
    """A FAISS index with the interface of NativeIndex. kind: FAISS factory string."""

    def __init__(self, vectors: np.ndarray, metric: Metric, kind: str) -> None:
        measure = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(vectors.shape[1], kind, measure)
        self.index.train(vectors)
        self.index.add(vectors)
        self.is_graph = kind.startswith("HNSW")
        self.quantised = "SQ" in kind or "PQ" in kind
        self.breadth_name = "ef" if self.is_graph else "nprobe" if kind.startswith("IVF") else ""
        self.max_breadth = self.index.nlist if kind.startswith("IVF") else len(vectors)
        self.searches: list[tuple[int, int, int]] = []
        self.broken = False

    def search(self, queries: np.ndarray, fetch: int, breadth: int) -> np.ndarray:
        self.searches.append((len(queries), fetch, breadth))
        parameters = None
        if self.breadth_name == "ef":
            parameters = faiss.SearchParametersHNSW(efSearch=breadth)
        elif self.breadth_name == "nprobe":
            parameters = faiss.SearchParametersIVF(nprobe=breadth)
        found = self.index.search(queries, fetch, params=parameters)[1]
        return np.where(np.arange(fetch) < fetch // 2, found, -1) if self.broken else found


class FakeTuning:
    """Recall of an index, measured on the queries `asked`, which are not those of the test. It is a table by fetched
    rows for each wanted row, breadth and rank. Between two measured places the worse one counts.
    """

    queries, real, trusted = 0, True, False

    def __init__(self, vectors: np.ndarray, metric: Metric, native: FakeNative, asked: np.ndarray) -> None:
        rows = len(vectors)
        self._ranks = [rank for rank in RANKS if rank <= rows // 3] or [1]
        self._breadths = _grid(native.max_breadth)
        self._multiples = [1, 2, 4, 8, 16, 32] if native.quantised else [1]
        truth = np.stack([_nearest(query, vectors, metric, self._ranks[-1]) for query in asked])
        table = np.zeros((len(self._multiples), len(self._breadths), len(self._ranks)))
        for at, breadth in enumerate(self._breadths):
            found = native.search(asked, min(rows, self._ranks[-1] * self._multiples[-1]), breadth)
            place = np.stack([_places(row, rows)[true] for row, true in zip(found, truth, strict=True)])
            for number, multiple in enumerate(self._multiples):
                for column, rank in enumerate(self._ranks):
                    table[number, at, column] = np.mean(place[:, :rank] < rank * multiple)
        falling = np.minimum.accumulate(table, axis=2)
        self._table = np.maximum.accumulate(np.maximum.accumulate(falling, axis=0), axis=1)
        self.us_per_breadth = 1.0
        native.searches.clear()

    def recall_at(self, rank: int, breadth: int, fetch: int) -> float:
        column = int(np.searchsorted(self._ranks, rank))
        row = int(np.searchsorted(self._breadths, breadth, side="right")) - 1
        number = int(np.searchsorted(self._multiples, fetch / rank, side="right")) - 1
        if column >= len(self._ranks) or row < 0 or number < 0:
            return 0.0
        return float(self._table[number, row, column])

    def breadth_for(self, k: int, recall: float, queries: int = 1) -> BreadthChoice:
        choices = [BreadthChoice(breadth, k * multiple) for multiple in self._multiples for breadth in self._breadths]
        return next((choice for choice in choices if self.recall_at(k, choice.breadth, choice.fetch) >= recall), EXACT)

    breadth_expected = choice = careful = breadth_for

    def relied_on(self, recall: float, queries: int = 1) -> bool:
        return True

    def rank_within(self, recall: float, breadth: int, fetch: int) -> int:
        ends = {*self._ranks, *(fetch // multiple for multiple in self._multiples)}
        return max([rank for rank in ends if 1 <= rank <= fetch and self.recall_at(rank, breadth, fetch) >= recall], default=0)

    def us_of(self, breadth: int, fetch: int) -> float:
        return 5.0 + self.us_per_breadth * breadth

    def exact_us(self, rows: int) -> float:
        return 0.01 * rows


@dataclass
class Slot:
    now: Any


class TruthPayloads:
    """A payload index that asks the definition of truth. It is unsure of every row for which `unsure(position)` is
    true.
    """

    def __init__(self, payloads: Sequence[Mapping[str, Any] | None], unsure: Callable[[int], bool] = lambda _: False) -> None:
        self.payloads, self.unsure, self.asked = list(payloads), unsure, 0

    def match(self, filter: Filter, ids: np.ndarray, turn: Turn = FREE) -> Matched:
        self.asked += 1
        told = {at: matches(filter, payload, ids[at]) for at, payload in enumerate(self.payloads) if not self.unsure(at)}
        return Matched(
            sure=BitMap([at for at, passed in told.items() if passed]),
            unsure=BitMap(at for at in range(len(self.payloads)) if at not in told),
        )

    def memory_bytes(self) -> int:
        return 0

    def __len__(self) -> int:
        return len(self.payloads)


@dataclass
class World:
    """A view made of parts, and all live points as a dictionary: id to (vector as given, payload)."""

    metric: Metric
    view: IndexView
    points: dict[PointId, tuple[np.ndarray, Mapping[str, Any] | None]]
    texts: dict[int, bytes | None]
    gone: set[int] = field(default_factory=set)

    def read_payloads(self, rows: np.ndarray) -> list[bytes | None] | None:
        wanted = rows.tolist()
        return None if self.gone & set(wanted) else [self.texts[row] for row in wanted]

    def context(self, *, limit_bytes: int = 1 << 26, explain: bool = True) -> SearchContext:
        return SearchContext(
            hot=HotFilters(limit_bytes), read_payloads=self.read_payloads, clock=Ticks(), paces=SteadyPaces(), explain=explain
        )


class Ticks:
    """A clock that stands still, so that searches learn nothing from the speed of a test."""

    def __call__(self) -> float:
        return 0.0


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one part of a view is made of. vectors: as given. dead: positions that are dead in the view. kind: FAISS
    factory string of its index, "" for none (exact search).
    """

    ids: Sequence[PointId]
    vectors: np.ndarray
    payloads: Sequence[Mapping[str, Any] | None]
    dead: Sequence[int] = ()
    kind: str = ""
    unsure: Callable[[int], bool] = lambda _: False


def world(metric: Metric, pieces: Sequence[Piece], asked: np.ndarray) -> World:
    """Build one view whose parts are the pieces. asked: queries (m, dim) on which the indexes are measured."""
    parts, points, texts, row = [], {}, {}, 1
    for key, piece in enumerate(pieces, start=1):
        part = _part(key, piece, metric, row, prepared(asked.astype(np.float32), metric))
        row += len(part)
        parts.append(part)
        dead = set(piece.dead)
        for at, (point_id, vector, payload) in enumerate(zip(piece.ids, piece.vectors, piece.payloads, strict=True)):
            texts[int(part.rows[at])] = None if payload is None else json.dumps(payload).encode()
            if at not in dead:
                points[point_id] = (vector, payload)
    return World(metric=metric, view=IndexView(seq=SEQ, parts=tuple(parts)), points=points, texts=texts)


def _part(key: int, piece: Piece, metric: Metric, first_row: int, asked: np.ndarray) -> SegmentView:
    vectors = np.ascontiguousarray(prepared(piece.vectors.astype(np.float32), metric))
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    deaths = np.full(len(vectors), ALIVE, dtype=np.int64)
    deaths[list(piece.dead)] = SEQ - 1
    native = FakeNative(vectors, metric, piece.kind) if piece.kind else None
    return SegmentView(
        key=key,
        name=f"segment-{key}" if native else "",
        state=SegmentState.SEALED if native else SegmentState.GROWING,
        index=piece.kind or "flat",
        vectors=vectors,
        squares=squares.astype(np.float32),
        ids=id_array(piece.ids),
        rows=np.arange(first_row, first_row + len(vectors), dtype=np.int64),
        deaths=deaths,
        dead=len(piece.dead),
        reach=float(np.sqrt(squares.max(initial=0.0))),
        native=native,
        payloads=TruthPayloads(piece.payloads, piece.unsure),
        tuning=Slot(None if native is None else FakeTuning(vectors, metric, native, asked)),
    )


Hits = list[tuple[PointId, float]]


def truth(world: World, queries: np.ndarray, filter: Filter | None, k: int | None, radius: float | None = None) -> list[Hits]:
    """Return the k best matching points of each query, all of them when k is None. Compares every point."""
    kept = [(at, vector) for at, (vector, payload) in world.points.items() if filter is None or matches(filter, payload, at)]
    if not kept:
        return [[] for _ in queries]
    kept.sort(key=lambda point: id_order(point[0]))
    ids = [point_id for point_id, _ in kept]
    rows, asked = prepared(np.stack([vector for _, vector in kept]).astype(np.float32), world.metric), prepared(queries, world.metric)
    sign = 1 if world.metric.smaller_is_better else -1
    answers = []
    for query in asked:
        found = scores(query, rows, world.metric)
        order = np.argsort(sign * found, kind="stable")[:k].tolist()
        hits = [(ids[at], float(found[at])) for at in order]
        answers.append([hit for hit in hits if radius is None or sign * hit[1] <= sign * radius])
    return answers


def by_query(found: IndexHits) -> list[Hits]:
    """Split the hits by query."""
    ends = np.cumsum(found.counts)
    return [
        list(zip(found.ids[end - count : end].tolist(), found.scores[end - count : end].tolist(), strict=True))
        for end, count in zip(ends, found.counts, strict=True)
    ]


def recall(found: list[Hits], expected: list[Hits]) -> float:
    """Return the mean share of the expected hits that were found. A query that expects none counts as 1."""
    return float(np.mean([_share([i for i, _ in f], [i for i, _ in e]) for f, e in zip(found, expected, strict=True)]))


def payload_of(text: bytes | None) -> Any:
    return payload_from_json(text)


@functools.cache
def clustered(seed: int, rows: int, dim: int, clusters: int, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Draw normal clouds of points around random centres. Return the vectors and the number of each one's cluster."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim)) * 1.2
    label = rng.integers(0, clusters, size=rows)
    return (centres[label] + rng.normal(size=(rows, dim)) * spread).astype(np.float32), label


def _nearest(query: np.ndarray, vectors: np.ndarray, metric: Metric, count: int) -> np.ndarray:
    found = scores(query, vectors, metric)
    return np.argsort(found if metric.smaller_is_better else -found, kind="stable")[:count]


def _places(found: np.ndarray, rows: int) -> np.ndarray:
    """Return the place of each of `rows` rows in `found`, shape (rows,). A row that was not found gets the place
    `rows`.
    """
    places = np.full(rows, rows)
    kept = np.flatnonzero(found >= 0)
    places[found[kept]] = kept
    return places


def _grid(most: int) -> list[int]:
    return sorted({min(most, int(4 * 1.5**step)) for step in range(18)} | {1, 2})


def _share(found: Iterable[Any], expected: Sequence[Any] | np.ndarray) -> float:
    return len({*found} & {*expected}) / len(expected) if len(expected) else 1.0
