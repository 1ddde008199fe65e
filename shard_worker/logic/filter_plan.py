"""How a filter is carried out in one segment: exact over the matching rows, or the index first and the filter on its
hits.

Owns the reasoning of the filter contract; refuses to search. The index is always searched as if there were no filter,
so the recall of the matching rows among its first `rank` hits is the index's own at that rank. What has to be decided
is how deep to look, and when comparing every matching row is cheaper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

RECALL_SLACK = 0.002
"""Recall that a filtered search may lack of the unfiltered one; the contract allows 0.01, most of which is left to
chance.
"""

HIGHEST_RECALL = 0.994
"""More is never required: where few hits are wanted an unfiltered search may seem to find all, which no depth is sure
of.
"""

SPREAD_SHARE = 0.75
"""Part of the queries for which the first round is meant to do; the others are searched again, twice as deep."""

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
    """How a part was searched, in words that explain shows."""

    EXACT = "exact"
    INDEX = "index"
    INDEX_THEN_FILTER = "index, then filter"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterHistory:
    """What earlier queries with one filter met in the index of one segment, older ones fading.

    queries, fallbacks: those that began in the index, and of them those that had to be finished exactly; spread: rank
    that the wanted matches reached, over the rank they would have if the filter were independent of the vectors (0:
    unknown).
    """

    queries: float = 0.0
    fallbacks: float = 0.0
    spread: float = 0.0

    @property
    def fallback_share(self) -> float:
        """Expected share of queries that will have to be finished exactly."""
        return (self.fallbacks + _PRIOR_FALLBACKS) / (self.queries + _PRIOR_QUERIES)

    def after(self, *, queries: int, fallbacks: int, spread: float | None) -> FilterHistory:
        """With one more batch. spread: that SPREAD_SHARE of those of its queries needed that ended in the index; None:
        none did.
        """
        kept = max(0.0, 1.0 - queries / _REMEMBERED_QUERIES)
        return replace(
            self,
            queries=self.queries * kept + queries,
            fallbacks=self.fallbacks * kept + fallbacks,
            spread=self.spread if spread is None else _followed(self.spread or _FIRST_SPREAD, spread, queries - fallbacks),
        )


def _followed(known: float, seen: float, queries: int) -> float:
    """A spread between what was known and what `queries` queries needed, the nearer to this the more they are.

    A single query moves it up by three steps or down by one, wherever it lies, so that it comes to rest where one query
    in four needs more: a few queries that lie far from all that matches do not make all others look as deep.
    """
    step = _SPREAD_STEP * min(queries, _MOST_STEPS)
    wanted = math.log(min(max(seen, _LEAST_SPREAD), _MOST_SPREAD) / known)
    up = step * SPREAD_SHARE / (1 - SPREAD_SHARE)
    return min(known * math.exp(min(max(wanted, -step), up)), _MOST_SPREAD)


def expected_rank(*, k: int, matching: int, rows: int, spread: float = 0.0) -> int:
    """Rank among all rows by which nearly every query has met k of the `matching` ones, at most `rows`.

    For a filter independent of the vectors the rank is negative-binomial: mean k / share, variance k (1 - share) /
    share^2. spread: of a Record; 0: take the filter for independent.
    """
    share = matching / rows
    mean = k / share
    rank = mean * spread if spread else mean + _DEVIATIONS * math.sqrt(k * (1.0 - share)) / share
    return min(rows, max(k, _rounded_up(math.ceil(rank))))


def _rounded_up(rank: int) -> int:
    """To five binary digits, so that few different ranks are asked for and what was looked up for one is of use
    again.
    """
    step = 1 << max(0, rank.bit_length() - 5)
    return -(-rank // step) * step


def next_rank(*, seen: int, needed: int, rows: int) -> int:
    """Rank to aim at after a round. seen: rank down to which it looked in vain; needed: largest rank its queries are
    known to need.
    """
    return min(rows, _rounded_up(max(2 * seen, needed)))


def begin_in_index(*, index_us: float, exact_us: float, fallback_share: float) -> bool:
    """Whether the index is worth a try: its cost and the exact searches it will still take are below going exact at
    once.
    """
    # Before a query falls back it may have been searched ever deeper, for as much as its exact search costs.
    return index_us + fallback_share * 2 * exact_us < exact_us


def required_recall(unfiltered: float) -> float:
    """Recall that the index must have down to the last wanted match. unfiltered: of the same search without a
    filter.
    """
    return max(_LEAST_RECALL, min(HIGHEST_RECALL, unfiltered - RECALL_SLACK))
