"""`collection fit`: chooses how the legs of a collection's searches are fused, from judged queries. Pure.

Cross-validation: queries are dealt into five folds. For each fold, a choice is made on the other four and judged on
this one. So each query has a gain over what the collection does now that the choice had not seen. Only if the lower end
of the 95 % interval of the mean gain is above 0 may the choice of all queries be saved.

The interval is that of a paired t-test, half as wide again. Choices of the folds are made on much the same queries, so
their gains are not independent; 1/5 + 1/4 instead of 1/5 in the variance corrects this (Nadeau and Bengio, Machine
Learning 52, 2003). Without it, 8 of 100 fits to noise saw a gain.

A choice is the most preferred one (see shoal/core/fit_choices.py) that is no worse than the best by more than one
standard error of their difference (Breiman and others, Classification and Regression Trees, 1984, section 3.4.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fit_choices import Boosts, FitChoice, defaults_of, fit_choices
from shoal.core.fit_outcomes import LegTerms, ReadQuery, Scores, outcomes
from shoal.core.fusion import LegHits
from shoal.core.fusion_choice import SearchDefaults

FOLDS = 5
LEAST_QUERIES = 10
MOST_QUERIES = 20_000
"""Judged queries: fewer say too little, and more take more than minutes."""

_CONFIDENCE = 0.95
_CORRECTION = ((1 / FOLDS + 1 / (FOLDS - 1)) * FOLDS) ** 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class FitRead:
    """All that was read for a fit.

    queries: those with at least one relevant point are judged, the others are left out; boosts: of each reading of the
    text leg, the present ones first, as boosts_to_read tells.
    """

    queries: tuple[ReadQuery, ...]
    boosts: tuple[Boosts, ...]
    terms: LegTerms


@dataclass(frozen=True, kw_only=True, slots=True)
class FitFold:
    """One fold. queries: held out; choice: made on the others; present, held_out: mean nDCG@10 of what the collection
    does now and of the choice on the queries of the fold.
    """

    queries: int
    choice: SearchDefaults
    present: float
    held_out: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """What a fit found. Scores are means of nDCG@10.

    queries, left_out: judged ones, and those without a relevant point; choice: made on all queries; changes: whether it
    differs from what the collection does now; present: of what it does now; held_out: of choices on queries that they
    had not seen; on_all: of `choice` on the queries that it was made on, so it flatters; dense, text: of each leg
    alone, at the present boosts; low, high: 95 % interval of the mean gain on held-out queries.
    """

    queries: int
    left_out: int
    folds: tuple[FitFold, ...]
    choice: SearchDefaults
    changes: bool
    present: float
    held_out: float
    on_all: float
    dense: float
    text: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """Return the mean gain on held-out queries."""
        return self.held_out - self.present

    @property
    def may_be_saved(self) -> bool:
        """Return whether the choice differs from what the collection does now, and its gain is surely above 0."""
        return self.changes and self.low > 0


def fitted(read: FitRead, present: SearchDefaults, *, seed: int = 0) -> Fitted:
    """Choose fusion, weights and boosts. seed: of the dealing into folds; equal input and seed give equal results.

    present: what the collection does now. Raises InvalidArgument for fewer than LEAST_QUERIES judged queries, more than
    MOST_QUERIES, and readings that do not fit each other.
    """
    judged = [each for each in read.queries if any(grade > 0 for grade in each.judged.values())]
    _check(read, len(judged))
    choices = fit_choices(present, len(read.boosts))
    table = outcomes(judged, choices, read.terms)
    folds = np.random.default_rng(seed).permutation(len(judged)) % FOLDS
    found, held_out = [], np.empty(len(judged))
    for fold in range(FOLDS):
        inside = folds == fold
        chosen = _chosen(table[~inside])
        held_out[inside] = table[inside, chosen]
        found.append(
            FitFold(
                queries=int(inside.sum()),
                choice=_defaults(choices[chosen], read.boosts),
                present=float(table[inside, 0].mean()),
                held_out=float(held_out[inside].mean()),
            )
        )
    chosen = _chosen(table)
    low, high = mean_interval(held_out - table[:, 0], _CORRECTION)
    return Fitted(
        queries=len(judged),
        left_out=len(read.queries) - len(judged),
        folds=tuple(found),
        choice=present if chosen == 0 else _defaults(choices[chosen], read.boosts),
        changes=chosen != 0,
        present=float(table[:, 0].mean()),
        held_out=float(held_out.mean()),
        on_all=float(table[:, chosen].mean()),
        dense=float(table[:, _lone(choices, 1.0)].mean()),
        text=float(table[:, _lone(choices, 0.0)].mean()),
        low=low,
        high=high,
    )


def mean_interval(values: npt.NDArray[np.float64], correction: float = 1.0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of at least ten values, by Student's t.

    correction: of the standard error, 1 for independent values.
    """
    middle = float(values.mean())
    reach = correction * student_t(len(values) - 1) * float(values.std(ddof=1)) / len(values) ** 0.5
    return middle - reach, middle + reach


def student_t(freedom: int, confidence: float = _CONFIDENCE) -> float:
    """Return the two-sided quantile of Student's t: right to 0.001 from 9 degrees of freedom on.

    The expansion by the normal quantile is 26.7.5 of Abramowitz and Stegun, Handbook of Mathematical Functions.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def _chosen(table: Scores) -> int:
    """Return the column of the first choice that is not surely worse than the best one. table: (queries, choices)."""
    best = int(table.mean(axis=0).argmax())
    behind = table[:, best : best + 1] - table
    error = behind.std(axis=0, ddof=1) / len(table) ** 0.5
    return int((behind.mean(axis=0) <= error).argmax())


def _lone(choices: Sequence[FitChoice], dense: float) -> int:
    return next(at for at, each in enumerate(choices) if each.dense == dense)


def _defaults(choice: FitChoice, boosts: Sequence[Boosts]) -> SearchDefaults:
    return defaults_of(choice, boosts[choice.reading])


def _check(read: FitRead, judged: int) -> None:
    if judged < LEAST_QUERIES:
        raise InvalidArgument(
            f"{judged} of {len(read.queries)} queries have a relevant point, at least {LEAST_QUERIES} are needed: "
            "fewer say too little about the choice",
            ErrorDetails(field="qrels", limit="LEAST_QUERIES"),
        )
    if judged > MOST_QUERIES:
        raise InvalidArgument(
            f"{judged:,} queries are judged, at most {MOST_QUERIES:,} are allowed", ErrorDetails(field="queries", limit="MOST_QUERIES")
        )
    for index, query in enumerate(read.queries):
        if not all(math.isfinite(grade) for grade in query.judged.values()):
            raise InvalidArgument(f"query {index} has a grade that is no finite number", ErrorDetails(field="qrels", index=index))
        if len(query.texts) != len(read.boosts):
            raise InvalidArgument(
                f"query {index} has {len(query.texts)} readings of the text leg, there are {len(read.boosts)} sets of boosts",
                ErrorDetails(field="queries", index=index),
            )
        _check_leg(query.dense, index, read.terms, smaller_is_better=read.terms.smaller_is_better)
        for leg in query.texts:
            _check_leg(leg, index, read.terms, smaller_is_better=False)


def _check_leg(leg: LegHits, index: int, terms: LegTerms, *, smaller_is_better: bool) -> None:
    if len(leg.ids) != len(leg.scores) or len(leg) > terms.candidates:
        raise InvalidArgument(
            f"query {index} has a leg of {len(leg.ids)} ids and {len(leg.scores)} scores, allowed are as many of both, "
            f"and at most {terms.candidates} (candidates)",
            ErrorDetails(field="queries", index=index),
        )
    if not np.isfinite(leg.scores).all():
        raise InvalidArgument(f"query {index} has a score that is no finite number", ErrorDetails(field="queries", index=index))
    steps = np.diff(leg.scores)
    if (steps < 0).any() if smaller_is_better else (steps > 0).any():
        raise InvalidArgument(f"query {index} has a leg whose hits are not best first", ErrorDetails(field="queries", index=index))
    if len(set(leg.ids.tolist())) < len(leg):
        raise InvalidArgument(f"query {index} has a leg that found a point twice", ErrorDetails(field="queries", index=index))
