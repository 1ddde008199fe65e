"""Compute, from recalls of single queries, what can be promised to other queries. Owns the statistics; searches
nothing.

If a choice is made where the mean recall of a sample just reaches a target, half of all other samples miss the target.
So a lower confidence bound must reach it: Wilson's interval for a share (Wilson 1927). The number of independent trials
is derived from the spread between queries (the design effect of cluster sampling, Kish 1965).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Recalls = npt.NDArray[np.float64]
"""(breadths, fetches, ranks, queries) recall of each query."""

Table = npt.NDArray[np.float64]
"""(breadths, fetches, ranks)."""

DEVIATIONS = 2.0
"""Standard deviations between the mean and the bound."""

BORROWING_DEVIATIONS = 0.7
"""The same for the limit of a bound that borrows from larger ranks, whose recall is lower but more certain."""

ASSUMED_CORRELATION = 0.2
"""Assumed correlation between the hits of one query, until a sample shows it: they are found or missed together."""

PRIOR_QUERIES = 8.0
"""Weight of the assumed correlation against what the sample shows."""

MOST_TOLERATED = 0.003
"""A bound may be this much below the target."""

WINDOW = 200
"""The mean recall of this many successive queries is promised to reach the target within 0.01."""

WINDOW_DEVIATIONS = 2.0
"""Standard deviations between the mean of a window and the overall mean, which is itself a lower bound."""

WINDOW_SLACK = 0.01 - MOST_TOLERATED

STAND_IN_ERROR = 4.0
"""Real queries are assumed to have this many times the error of stand-ins.

On sentence embeddings (SciFact) real queries missed 2.2 to 3.7 times as much as rows of the segment in inverted lists,
and 3 to 13 times as much in a graph, whose paths lead to its own rows.
"""

STAND_IN_BREADTH = 2.0
"""In a graph this many times the breadth is taken in addition: there the factor on the error is not enough."""


def tolerated(recall: float) -> float:
    """Return how far a bound may be below a target: less, the closer the target is to 1."""
    return min(MOST_TOLERATED, 0.3 * (1.0 - recall))


def expected_recalls(recalls: Recalls) -> Table:
    """Return the mean recalls, made monotone: growing with breadth and fetch, falling with rank."""
    return monotone(recalls.mean(axis=3))


def sure_recalls(recalls: Recalls, ranks: Sequence[int], breadths: Sequence[int]) -> Table:
    """Return lower confidence bounds of the recall of other queries, growing with breadth and fetch.

    As far as its own sample allows, a bound may borrow from a larger rank, and from half the breadth, where the error
    is at least twice as large (measured: 2.0 to 3 times, for graphs and inverted lists). It also holds for the mean of
    any WINDOW queries.
    """
    trials = _trials(recalls, ranks)
    bound = _wilson(recalls.mean(axis=3), trials, DEVIATIONS)
    kept = _wilson(recalls.mean(axis=3), trials, BORROWING_DEVIATIONS)
    for at in range(len(ranks) - 2, -1, -1):
        bound[:, :, at] = np.maximum(bound[:, :, at], np.minimum(kept[:, :, at], bound[:, :, at + 1]))
    bound = _growing(bound)
    for at in range(1, len(breadths)):
        half = int(np.searchsorted(breadths, breadths[at] / 2, side="right")) - 1
        if half >= 0:
            bound[at] = np.maximum(bound[at], np.minimum(kept[at], 1.0 - (1.0 - bound[half]) / 2))
    return _growing(_in_windows(_growing(bound), trials / recalls.shape[3]))


def lower_bounds(recalls: Recalls, ranks: Sequence[int], deviations: float) -> Table:
    """Return Wilson's lower bounds of mean recalls, `deviations` standard deviations below them."""
    return _wilson(recalls.mean(axis=3), _trials(recalls, ranks), deviations)


def reaches(recalls: Sequence[float], k: int, target: float) -> bool:
    """Return whether recalls of single queries at k hits show with confidence that their mean is the target - 0.01."""
    if not recalls:
        return False
    table = np.asarray(recalls, dtype=np.float64)[None, None, None, :]
    return bool(lower_bounds(table, (k,), DEVIATIONS)[0, 0, 0] >= target - MOST_TOLERATED - WINDOW_SLACK)


def _in_windows(bound: Table, trials_of_one: Table) -> Table:
    """Lower a bound on the mean of all queries to a bound on the mean of any WINDOW queries, minus WINDOW_SLACK.

    trials_of_one: independent trials per query.
    """
    deviation = np.sqrt(bound * (1.0 - bound) / (WINDOW * trials_of_one))
    lowered: Table = np.maximum(0.0, np.minimum(bound, bound - WINDOW_DEVIATIONS * deviation + WINDOW_SLACK))
    return lowered


def _trials(recalls: Recalls, ranks: Sequence[int]) -> Table:
    """Return how many independent trials the hits of all queries count as."""
    queries, hits = recalls.shape[3], np.asarray(ranks, dtype=np.float64)
    mean = recalls.mean(axis=3)
    spread = recalls.var(axis=3) * queries / max(1, queries - 1)
    single = mean * (1.0 - mean)
    # The prior needs a scale, even where nothing was missed: assume half a missed hit in all.
    scale = np.maximum(single, 0.5 / (queries * hits))
    assumed = scale * (1.0 + (hits - 1.0) * ASSUMED_CORRELATION) / hits
    weight = PRIOR_QUERIES / (PRIOR_QUERIES + queries * single / scale)
    trials: Table = queries * np.clip(scale / (weight * assumed + (1.0 - weight) * spread), 1.0, hits)
    return trials


def _wilson(mean: Table, trials: Table, deviations: float) -> Table:
    square = deviations * deviations
    centre = mean + square / (2 * trials)
    spread = np.sqrt(mean * (1.0 - mean) / trials + square / (4 * trials * trials))
    bound: Table = (centre - deviations * spread) / (1 + square / trials)
    # Rounding may make it slightly negative.
    return np.maximum(0.0, bound)


def with_stand_in_margin(surely: Table, breadths: Sequence[int], *, graph: bool) -> Table:
    """Return what stand-ins promise for real queries.

    That is STAND_IN_ERROR times the error; in a graph, of the breadth divided by STAND_IN_BREADTH.
    """
    if graph:
        at = np.log(np.asarray(breadths, dtype=np.float64))
        narrower = at - np.log(STAND_IN_BREADTH)
        columns = surely.reshape(len(breadths), -1)
        shifted = [np.interp(narrower, at, columns[:, column], left=0.0) for column in range(columns.shape[1])]
        surely = np.stack(shifted, axis=1).reshape(surely.shape)
    return np.maximum(0.0, 1.0 - STAND_IN_ERROR * (1.0 - surely))


def monotone(table: Table) -> Table:
    """Make the table grow with breadth and fetch, and fall with rank."""
    return np.minimum.accumulate(_growing(table), axis=2)


def _growing(table: Table) -> Table:
    return np.maximum.accumulate(np.maximum.accumulate(table, axis=0), axis=1)
