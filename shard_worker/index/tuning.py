"""Recall and cost of one sealed segment's index: what a search must ask for to reach a recall, and the recall it then
has.

Owns the look-up in the tables that shoal.shard_worker.tuning.calibrate measures, and the rule used before they exist.
Measures nothing. All look-ups are conservative between and beyond measured points: recall grows concavely with the
logarithm of the breadth, so straight lines between measured points lie below it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from shoal.core.tuning_calls import CurvePoint
from shoal.shard_worker.index.likeness import Likeness
from shoal.shard_worker.logic.tuning.recall_bounds import monotone, tolerated

Table = npt.NDArray[np.float64]
"""(breadths, fetches, ranks) recall, 0-1."""

RANKS = (1, 3, 10, 30, 100, 300, 1000)
"""Numbers of hits at which recall is measured."""

FETCHES = tuple(sorted({*RANKS, 12, *(2**step for step in range(13))}))
"""Numbers of fetched rows at which recall is measured where codes are lossy. For ten hits, bytes hardly need more than
twelve."""

ANY_FETCH = (1,)
"""Where codes are not lossy, recall does not depend on how many rows are fetched, as long as they are enough."""

DEAR_US = 10_000.0
"""Where recall is in doubt, a segment is searched exactly if this takes at most this long."""

PROVISIONAL_QUERIES = 64
"""Most queries that rely on a measurement with rows of the segment before it is confirmed.

If they are answered with recall 0.82 and all others exactly, then 200 in a row have a mean of 0.94, as is promised for
the target 0.95.
"""

_WIDE_SHARE = 0.25
"""Where exact search is too expensive, the widest search replaces it. It takes at most this share of the exact time."""

_REMEMBERED = 4_096
"""Most answers kept of each kind. Then all are dropped by replacing the dictionary, since other threads may read it."""


@dataclass(frozen=True, slots=True)
class BreadthChoice:
    """What to ask of an index.

    breadth: ef or nprobe, 1 where the index has none; 0: search exactly, since no breadth is known to be enough or none
    is cheaper; fetch: rows to take from the index, all of which are scored exactly; 0 when exact.
    """

    breadth: int
    fetch: int

    @property
    def exact(self) -> bool:
        """Return whether the segment is to be searched exactly."""
        return self.breadth == 0


EXACT = BreadthChoice(0, 0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class IndexShape:
    """Figures of an index.

    breadth_name: ef, nprobe or ""; max_breadth: largest useful breadth; quantised: whether its codes are lossy; rows:
    that it holds, dead rows included; dim: of its vectors.
    """

    breadth_name: str
    max_breadth: int
    quantised: bool
    rows: int
    dim: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measures:
    """What was measured of one index.

    breadths, fetches, ranks: ascending, the axes of the tables; expected: mean recall of the first `rank` hits at this
    breadth and fetch, growing along the first two axes and falling along the third; surely: recall that other queries
    will have with confidence, growing along the first two axes; us: microseconds of one search by breadth; score_us: of
    the exact score of one fetched row; exact_call_us, exact_row_us: of one exact search, per call and per row; queries:
    number of queries measured; real: whether users asked them, otherwise they are rows of the segment; remote: how far
    the nearest rows of the queries lie, ascending (see shoal.shard_worker.index.likeness), empty if later queries
    cannot be compared with them.
    """

    breadths: tuple[int, ...]
    fetches: tuple[int, ...]
    ranks: tuple[int, ...]
    expected: Table
    surely: Table
    us: tuple[float, ...]
    score_us: float
    exact_call_us: float
    exact_row_us: float
    queries: int
    real: bool
    remote: tuple[float, ...] = ()


class Tuning:
    """Answers what breadth a search needs. Fast enough for every search: answers are cached.

    Immutable except for `likeness`, which may come to doubt the measurement.
    """

    def __init__(self, shape: IndexShape, measures: Measures) -> None:
        self.shape, self.measures = shape, measures
        self.queries, self.real = measures.queries, measures.real
        self.provisional = not measures.real and bool(measures.remote)
        self.likeness = Likeness(measures.remote, PROVISIONAL_QUERIES if self.provisional else math.inf)
        self._chosen: dict[tuple[int, float, bool], BreadthChoice] = {}
        self._recalls: dict[tuple[int, int, int], float] = {}
        self._ranks: dict[tuple[float, int, int], int] = {}

    @classmethod
    def untuned(cls, *, breadth_name: str, max_breadth: int, quantised: bool, rows: int, dim: int) -> Tuning:
        """Return the tuning before any measurement, by the rule of `rule_measures`. Arguments: as IndexShape."""
        shape = IndexShape(breadth_name=breadth_name, max_breadth=max_breadth, quantised=quantised, rows=rows, dim=dim)
        return cls(shape, rule_measures(shape))

    @property
    def measured(self) -> bool:
        """Return whether it was measured at all."""
        return self.queries > 0

    @property
    def trusted(self) -> bool:
        """Return whether it was measured on queries like the current ones, as far as is known."""
        return (self.real or self.provisional) and not self.likeness.doubted

    def confirmed(self, recall: float) -> bool:
        """Return whether searches with this recall were found to reach it."""
        return self.likeness.serves(recall, PROVISIONAL_QUERIES + 1)

    def choice(self, k: int, recall: float, queries: int = 1) -> BreadthChoice:
        """Return what to ask for now, so that the first k hits of so many queries have this recall."""
        return self.breadth_for(k, recall) if self.relied_on(recall, queries) else self.careful(k, recall)

    def relied_on(self, recall: float, queries: int = 1) -> bool:
        """Return whether so many queries may rely on the measurement now, for this recall."""
        return self.trusted and self.likeness.serves(recall, queries)

    def careful(self, k: int, recall: float) -> BreadthChoice:
        """Return what to ask for when queries may be unlike those measured: EXACT where this is cheap or nothing was
        measured.

        Otherwise, with measurements of stand-ins of several kinds: the breadth these need, with a margin. With
        measurements of real queries: the widest measured search that costs a fraction of an exact one.
        """
        if not self.measured or self.exact_us(self.shape.rows) <= DEAR_US:
            return EXACT
        return self._widest(k) if self.real else self.breadth_for(k, recall)

    def breadth_for(self, k: int, recall: float) -> BreadthChoice:
        """Return the cheapest choice that surely gives the first k hits this recall on queries like those measured.

        EXACT when there is none, or when comparing every row is cheaper.
        """
        return self._choice(k, recall, sure=True)

    def breadth_expected(self, rank: int, recall: float) -> BreadthChoice:
        """Return the cheapest choice with recall_at(rank, breadth, fetch) >= recall; EXACT as in breadth_for.

        For a search that must match the recall of another search of this index: margins for chance would count twice.
        """
        return self._choice(rank, recall, sure=False)

    def unable(self, k: int, recall: float) -> bool:
        """Return whether real queries have shown that no breadth gives the first k hits this recall for less than an
        exact search."""
        measures = self.measures
        tried_all = measures.us[-1] >= self.exact_us(self.shape.rows)
        return self.real and tried_all and recall < 1.0 and self.breadth_for(k, recall).exact

    def recall_at(self, rank: int, breadth: int, fetch: int) -> float:
        """Return the expected recall of the first `rank` hits of an unfiltered search; 0 when rank > fetch, 1 when
        exact.

        Dead rows count as rows.
        """
        key = (rank, breadth, fetch)
        found = self._recalls.get(key)
        if found is None:
            if len(self._recalls) >= _REMEMBERED:
                self._recalls = {}
            found = self._recalls[key] = self._recall(rank, breadth, fetch)
        return found

    def rank_within(self, recall: float, breadth: int, fetch: int) -> int:
        """Return the largest rank with recall_at(rank, breadth, fetch) >= recall; 0 when there is none.

        For comparing whole columns of ranks.
        """
        key = (recall, breadth, fetch)
        found = self._ranks.get(key)
        if found is None:
            if len(self._ranks) >= _REMEMBERED:
                self._ranks = {}
            found = self._ranks[key] = self._last_rank(recall, breadth, fetch)
        return found

    def us_of(self, breadth: int, fetch: int) -> float:
        """Return the microseconds of one search of the index for one query, with exact scores of the fetched rows."""
        if breadth < 1:
            return self.exact_us(self.shape.rows)
        measures = self.measures
        reached = max(breadth, fetch) if self.shape.breadth_name == "ef" else breadth
        return _us_at(measures.breadths, measures.us, reached) + fetch * measures.score_us

    def exact_us(self, rows: int) -> float:
        """Return the microseconds to compare one query with `rows` contiguous rows exactly."""
        return self.measures.exact_call_us + rows * self.measures.exact_row_us

    def curve(self, k: int) -> tuple[CurvePoint, ...]:
        """Return the choices for k hits for which no other choice is better and cheaper, by growing cost, with expected
        recall."""
        points = [self._point(k, breadth, fetch) for breadth in self.measures.breadths for fetch in self._fetches(k)]
        best: list[CurvePoint] = []
        for point in sorted(points, key=lambda point: (point.us, -point.recall)):
            if not best or point.recall > best[-1].recall:
                best.append(point)
        return tuple(best)

    @cached_property
    def _log_breadths(self) -> list[float]:
        return [math.log(breadth) for breadth in self.measures.breadths]

    @cached_property
    def _expected(self) -> list[list[list[float]]]:
        return _by_rank(self.measures.expected)

    @cached_property
    def _surely(self) -> list[list[list[float]]]:
        return _by_rank(self.measures.surely)

    def _recall(self, rank: int, breadth: int, fetch: int) -> float:
        if breadth < 1:
            return 1.0
        if rank > fetch:
            return 0.0
        measures = self.measures
        reached = max(breadth, fetch) if self.shape.breadth_name == "ef" else breadth
        # Beyond the largest rank, use the recall at that rank with breadth and fetch scaled in proportion.
        share = min(1.0, measures.ranks[-1] / rank)
        column = self._column(self._expected, rank, fetch * share)
        return _value_at(self._log_breadths, column, reached * share, measures.breadths[0])

    def _last_rank(self, recall: float, breadth: int, fetch: int) -> int:
        low, high = 0, min(fetch, self.shape.rows) + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._recall(middle, breadth, fetch) >= recall:
                low = middle
            else:
                high = middle
        return low

    def _fetches(self, k: int) -> list[int]:
        """Return the numbers of rows that may be fetched for k hits."""
        if not self.shape.quantised:
            return [k]
        scale = max(1.0, k / self.measures.ranks[-1])
        more = {min(math.ceil(fetch * scale), self.shape.rows) for fetch in self.measures.fetches}
        return [k, *sorted(fetch for fetch in more if fetch > k)]

    def _point(self, k: int, breadth: int, fetch: int) -> CurvePoint:
        reached = max(breadth, fetch) if self.shape.breadth_name == "ef" else breadth
        return CurvePoint(breadth=reached, fetch=fetch, recall=self.recall_at(k, reached, fetch), us=self.us_of(reached, fetch))

    def _choice(self, k: int, recall: float, *, sure: bool) -> BreadthChoice:
        key = (k, recall, sure)
        found = self._chosen.get(key)
        if found is None:
            if len(self._chosen) >= _REMEMBERED:
                self._chosen = {}
            found = self._chosen[key] = self._least(k, recall, sure=sure)
        return found

    def _least(self, k: int, recall: float, *, sure: bool) -> BreadthChoice:
        rows = self.shape.rows
        if k >= rows or recall >= 1.0 or self.shape.max_breadth < 1:
            return EXACT
        candidates = [EXACT, *(self._with_fetch(k, fetch, recall, sure=sure) for fetch in self._fetches(k))]
        return min(candidates, key=lambda choice: self.us_of(choice.breadth, choice.fetch))

    def _widest(self, k: int) -> BreadthChoice:
        if k >= self.shape.rows or self.shape.max_breadth < 1:
            return EXACT
        most_us = _WIDE_SHARE * self.exact_us(self.shape.rows)
        for breadth in reversed(self.measures.breadths):
            for fetch in reversed(self._fetches(k)):
                reached = max(breadth, fetch) if self.shape.breadth_name == "ef" else breadth
                if self.us_of(reached, fetch) <= most_us:
                    return BreadthChoice(reached, fetch)
        return EXACT

    def _with_fetch(self, k: int, fetch: int, recall: float, *, sure: bool) -> BreadthChoice:
        """Return the least breadth that is enough when this many rows are fetched; EXACT when there is none."""
        shape = self.shape
        scale = max(1.0, k / self.measures.ranks[-1])
        wanted = recall - tolerated(recall) if sure else recall
        column = self._column(self._surely if sure else self._expected, k, fetch / scale)
        least = _least_breadth(self._log_breadths, column, wanted)
        if least is None:
            return EXACT
        breadth = math.ceil(least * scale - 1e-9)
        if shape.breadth_name == "ef":
            return BreadthChoice(max(breadth, fetch), fetch) if breadth <= shape.max_breadth else EXACT
        return BreadthChoice(max(1, min(breadth, shape.max_breadth)), fetch)

    def _column(self, tables: list[list[list[float]]], rank: int, fetch: float) -> list[float]:
        """Return recall by breadth at a rank and a number of fetched rows, interpolated where needed."""
        ranks, fetches = self.measures.ranks, self.measures.fetches
        at = bisect_right(ranks, rank) - 1
        column = _across(tables[at], fetches, fetch)
        if at == len(ranks) - 1 or rank == ranks[at]:
            return column
        share = math.log(rank / ranks[at]) / math.log(ranks[at + 1] / ranks[at])
        return _between(column, _across(tables[at + 1], fetches, fetch), share)


class TuningSlot:
    """Holds the Tuning of one segment. `now` is replaced by one reference store, so any thread may read it at
    any time."""

    __slots__ = ("now",)

    def __init__(self, now: Tuning) -> None:
        self.now = now


def rule_measures(shape: IndexShape) -> Measures:
    """Return what is assumed before any measurement. It prices searches, and serves searches with a given breadth.

    No search with a recall target relies on it. Recall 0.95 takes ef max(64, 4 k), or nprobe max(32, 18 k^(1/4)); four
    times as much leaves a fifth of the error. With lossy codes another 0.04 is lost unless more than 16 rows are
    fetched for a hit. On three data sets real queries did better, with at most half the breadth. Costs are those of one
    core at 784 dimensions, scaled.
    """
    most = max(1, shape.max_breadth)
    breadths = tuple(sorted({min(most, 4 * 2**step) for step in range(12)})) if shape.breadth_name else (1,)
    ranks = tuple(rank for rank in RANKS if rank <= max(1, shape.rows // 4))
    fetches = FETCHES if shape.quantised else ANY_FETCH
    table = np.array([[[_assumed(shape, b, fetch, rank) for rank in ranks] for fetch in fetches] for b in breadths])
    table = monotone(table)
    return Measures(
        breadths=breadths,
        fetches=fetches,
        ranks=ranks,
        expected=table,
        surely=table,
        us=tuple(_assumed_us(shape, breadth) for breadth in breadths),
        score_us=0.2 + 7e-4 * shape.dim,
        exact_call_us=30.0,
        exact_row_us=5e-3 + 1.4e-4 * shape.dim,
        queries=0,
        real=False,
    )


def _assumed(shape: IndexShape, breadth: int, fetch: int, rank: int) -> float:
    lost = 0.04 * 16 * rank / fetch if shape.quantised else 0.0
    if shape.breadth_name == "ef":
        lost += 0.05 * (max(64, 4 * rank) / breadth) ** 1.16
    elif shape.breadth_name == "nprobe" and breadth < shape.max_breadth:
        lost += 0.05 * (max(32.0, 18.0 * rank**0.25) / breadth) ** 1.16
    return max(0.0, 1.0 - lost)


def _assumed_us(shape: IndexShape, breadth: int) -> float:
    if shape.breadth_name == "ef":
        return 10.0 + breadth * (0.7 + 2.2e-3 * shape.dim)
    share = breadth / max(1, shape.max_breadth) if shape.breadth_name else 1.0
    per_row = 5e-3 + (4e-5 if shape.quantised else 1.4e-4) * shape.dim
    return 20.0 + shape.rows * share * per_row


def _by_rank(table: Table) -> list[list[list[float]]]:
    """Return [rank][fetch][breadth] as lists: reading scalars from lists is ten times faster than from arrays."""
    found: list[list[list[float]]] = table.transpose(2, 1, 0).tolist()
    return found


def _across(columns: Sequence[list[float]], fetches: Sequence[int], fetch: float) -> list[float]:
    if len(fetches) == 1:
        return columns[0]
    at = max(0, bisect_right(fetches, fetch) - 1)
    if at == len(fetches) - 1 or fetch <= fetches[at]:
        return columns[at]
    return _between(columns[at], columns[at + 1], math.log(fetch / fetches[at]) / math.log(fetches[at + 1] / fetches[at]))


def _between(low: list[float], high: list[float], share: float) -> list[float]:
    return [left + share * (right - left) for left, right in zip(low, high, strict=True)]


def _value_at(log_breadths: Sequence[float], column: Sequence[float], breadth: float, least: int) -> float:
    """Return the recall at a breadth: a line to 0 below the first measured breadth, the last recall beyond the last."""
    if breadth <= least:
        return column[0] * breadth / least
    wanted = math.log(breadth)
    at = bisect_right(log_breadths, wanted) - 1
    if at >= len(column) - 1:
        return column[-1]
    share = (wanted - log_breadths[at]) / (log_breadths[at + 1] - log_breadths[at])
    return column[at] + share * (column[at + 1] - column[at])


def _least_breadth(log_breadths: Sequence[float], column: Sequence[float], recall: float) -> float | None:
    """Return the least breadth with this recall, never below the first measured; None when there is none."""
    at = next((at for at, value in enumerate(column) if value >= recall), None)
    if at is None or at == 0:
        return None if at is None else math.exp(log_breadths[0])
    share = (recall - column[at - 1]) / (column[at] - column[at - 1])
    return math.exp(log_breadths[at - 1] + share * (log_breadths[at] - log_breadths[at - 1]))


def _us_at(breadths: Sequence[int], us: Sequence[float], breadth: float) -> float:
    """Return the time at a breadth: linear between measured breadths, in proportion beyond the last."""
    at = bisect_right(breadths, breadth) - 1
    if at < 0:
        return us[0]
    if at == len(us) - 1:
        return us[-1] * breadth / breadths[-1]
    return us[at] + (us[at + 1] - us[at]) * (breadth - breadths[at]) / (breadths[at + 1] - breadths[at])
