"""Decide how a filter is carried out in one segment: compare the matching rows exactly, or search the index and filter
its hits.

Owns the reasoning of the filter contract; searches nothing. The index is always searched as if there were no filter. So
the recall of the matching rows among its first `rank` hits is the index's own recall at that rank. The decision is how
deep to look, and when comparing every matching row is cheaper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

RECALL_SLACK = 0.002
"""A filtered search may have this much less recall than the unfiltered one.

The contract allows 0.01; the rest is a margin for chance.
"""

HIGHEST_RECALL = 0.994
"""More than this is never required: for few hits an unfiltered search may seem to find all, and no depth guarantees
that."""

SPREAD_SHARE = 0.75
"""Share of the queries for which the first round should be enough; the others are searched again, twice as deep."""

_LEAST_RECALL = 0.01
_DEVIATIONS = 2.0
_PRIOR_QUERIES = 4.0
_PRIOR_FALLBACKS = 0.2
_REMEMBERED_QUERIES = 256.0
_FIRST_SPREAD = 1.5
_SPREAD_STEP = 0.05
_MOST_STEPS = 32
_MOST_SPREAD = 64.0
_LEAST_SPREAD = 0.05


class Plan(StrEnum):
    """How a part was searched, in the words that explain shows."""

    EXACT = "exact"
    INDEX = "index"
    INDEX_THEN_FILTER = "index, then filter"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterHistory:
    """What earlier queries with one filter met in the index of one segment; older queries count less.

    queries: those that began in the index; fallbacks: those of them that had to be finished exactly; spread: rank that
    the wanted matches reached, divided by the rank they would have if the filter were independent of the vectors (0:
    unknown).
    """

    queries: float = 0.0
    fallbacks: float = 0.0
    spread: float = 0.0

    @property
    def fallback_share(self) -> float:
        """Return the expected share of queries that will have to be finished exactly."""
        return (self.fallbacks + _PRIOR_FALLBACKS) / (self.queries + _PRIOR_QUERIES)

    def after(self, *, queries: int, fallbacks: int, spread: float | None) -> FilterHistory:
        """Return the history with one more batch.

        spread: the spread that SPREAD_SHARE of the queries that ended in the index needed; None: no query did.
        """
        kept = max(0.0, 1.0 - queries / _REMEMBERED_QUERIES)
        return replace(
            self,
            queries=self.queries * kept + queries,
            fallbacks=self.fallbacks * kept + fallbacks,
            spread=self.spread if spread is None else _followed(self.spread or _FIRST_SPREAD, spread, queries - fallbacks),
        )


def _followed(known: float, seen: float, queries: int) -> float:
    """Move the known spread towards what `queries` queries needed: farther, the more queries there are.

    A single query moves it up by three steps or down by one, whatever its distance. So it settles where one query in
    four needs more, and a few queries that lie far from all matches do not make all others look as deep.
    """
    step = _SPREAD_STEP * min(queries, _MOST_STEPS)
    wanted = math.log(min(max(seen, _LEAST_SPREAD), _MOST_SPREAD) / known)
    up = step * SPREAD_SHARE / (1 - SPREAD_SHARE)
    return min(known * math.exp(min(max(wanted, -step), up)), _MOST_SPREAD)


def expected_rank(*, k: int, matching: int, rows: int, spread: float = 0.0) -> int:
    """Return the rank among all rows by which nearly every query has met k of the `matching` rows, at most `rows`.

    For a filter independent of the vectors the rank is negative-binomial: mean k / share, variance k (1 - share) /
    share^2. spread: of a FilterHistory; 0: assume that the filter is independent.
    """
    share = matching / rows
    mean = k / share
    rank = mean * spread if spread else mean + _DEVIATIONS * math.sqrt(k * (1.0 - share)) / share
    return min(rows, max(k, _rounded_up(math.ceil(rank))))


def _rounded_up(rank: int) -> int:
    """Round up to five binary digits, so that few different ranks occur and look-ups can be reused."""
    step = 1 << max(0, rank.bit_length() - 5)
    return -(-rank // step) * step


def next_rank(*, seen: int, needed: int, rows: int) -> int:
    """Return the rank to aim at after a round.

    seen: rank down to which it looked in vain; needed: largest rank that its queries are known to need.
    """
    return min(rows, _rounded_up(max(2 * seen, needed)))


def begin_in_index(*, index_us: float, exact_us: float, fallback_share: float) -> bool:
    """Return whether to try the index: its cost, with the exact searches it will still need, is below exact search at
    once."""
    # Before a query falls back, deeper and deeper searches may have cost as much as its exact search.
    return index_us + fallback_share * 2 * exact_us < exact_us


def required_recall(unfiltered: float) -> float:
    """Return the recall that the index must have down to the last wanted match.

    unfiltered: recall of the same search without a filter.
    """
    return max(_LEAST_RECALL, min(HIGHEST_RECALL, unfiltered - RECALL_SLACK))
