"""Fuses the hits of several legs into one order of candidates. Pure; the formulas are in docs/design/hybrid.md.

Each leg gives a point a number that is 0 where the leg did not find it. The fused score is the sum of these numbers,
each times the weight of its leg, divided by what a point would get that is best in every leg that found something. All
numbers are float64, and each is made from the hits of one leg in their order, so the bits of a score do not depend on
which leg has answered first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from shoal.core.fusion_choice import Fusion, FusionKind
from shoal.core.points import IdArray, id_ranks
from shoal.core.topk import concat_ids

Floats = npt.NDArray[np.float64]

_LARGEST = 1e100
"""Scores beyond this count as this; so does infinity. NaN counts as the worst."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LegRule:
    """How the scores of a leg count.

    weight: at least 0; smaller_is_better: of its scores; padded_to: a leg with fewer hits gets zeros up to so many
    scores, before its lowest score and its deviation are computed; 0: none.
    """

    name: str
    weight: float
    smaller_is_better: bool = False
    padded_to: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LegHits:
    """What one leg found for one query, best first. ids: (n,), each once; scores: (n,) float64 as the leg gave them."""

    ids: IdArray
    scores: Floats

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class LegShape:
    """The scores of one leg for one query.

    hits: found; padded: zeros that were added; lowest, highest, deviation: of all of them, as the leg gave them, 0
    without hits; best: what its best hit gets, 0 without hits.
    """

    hits: int
    padded: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    deviation: float = 0.0
    best: float = 0.0

    @property
    def all_equal(self) -> bool:
        """Return whether all scores are equal, so that they tell nothing of one hit against another."""
        return self.lowest == self.highest


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidates:
    """All points that a leg found for one query, best first, the smaller id first where scores are equal.

    ids: (n,); scores: (n,) float64: fused, or of a single leg as it gave them; ranks: (legs, n) int64 from 1, 0 where
    the leg did not find the point; raw: (legs, n) float64 as the leg gave them, NaN there; shapes: of each leg;
    shares: weight of each leg, their sum is 1; whole: what a point best in all legs would get before the division, 0
    for a single leg.
    """

    ids: IdArray
    scores: Floats
    ranks: npt.NDArray[np.int64]
    raw: Floats
    shapes: tuple[LegShape, ...]
    shares: tuple[float, ...]
    whole: float

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: npt.NDArray[np.intp]) -> Candidates:
        """Return the candidates at these positions, in that order."""
        return Candidates(
            ids=self.ids[positions],
            scores=self.scores[positions],
            ranks=self.ranks[:, positions],
            raw=self.raw[:, positions],
            shapes=self.shapes,
            shares=self.shares,
            whole=self.whole,
        )


def fuse(legs: Sequence[LegHits], rules: Sequence[LegRule], fusion: Fusion) -> Candidates:
    """Return the candidates of one query. legs: at least one; rules: of each leg.

    A single leg is not fused: its hits keep their scores and their order.
    """
    if len(legs) == 1:
        return _alone(legs[0], rules[0])
    gains = [leg_gains(hits, rule, fusion) for hits, rule in zip(legs, rules, strict=True)]
    shares = shares_of([rule.weight for rule in rules])
    ids, places = _united(legs)
    ranks = np.zeros((len(legs), len(ids)), dtype=np.int64)
    raw = np.full((len(legs), len(ids)), np.nan)
    total, whole = np.zeros(len(ids)), 0.0
    for number, (hits, place, (gain, shape)) in enumerate(zip(legs, places, gains, strict=True)):
        ranks[number, place] = np.arange(1, len(hits) + 1)
        raw[number, place] = hits.scores
        total[place] += shares[number] * gain
        whole += shares[number] * shape.best
    scores = np.minimum(total / whole, 1.0) if whole > 0.0 else total
    # Integers come in ascending order, which a stable sort keeps where scores are equal.
    order = np.argsort(-scores, kind="stable") if ids.dtype == np.int64 else np.lexsort((id_ranks(ids), -scores))
    found = Candidates(ids=ids, scores=scores, ranks=ranks, raw=raw, shapes=tuple(shape for _, shape in gains), shares=shares, whole=whole)
    return found.take(order)


def shares_of(weights: Sequence[float]) -> tuple[float, ...]:
    """Return weights, at least 0 and not all 0, divided by their sum."""
    largest = max(weights)
    scaled = [weight / largest for weight in weights]
    total = math.fsum(scaled)
    return tuple(each / total for each in scaled)


def arithmetic(candidates: Candidates, at: int, rules: Sequence[LegRule], fusion: Fusion) -> str:
    """Return how the candidate at a position got its score, with numbers."""
    if not candidates.whole:
        return _shown(candidates.scores[at])
    terms = [
        f"{_shown(share)} x {_term(shape, rule, fusion, int(candidates.ranks[number, at]), float(candidates.raw[number, at]))}"
        for number, (share, shape, rule) in enumerate(zip(candidates.shares, candidates.shapes, rules, strict=True))
    ]
    return f"({' + '.join(terms)}) / {_shown(candidates.whole)}"


def _alone(hits: LegHits, rule: LegRule) -> Candidates:
    _, shape = leg_gains(hits, replace(rule, padded_to=0), Fusion())
    return Candidates(
        ids=hits.ids,
        scores=hits.scores,
        ranks=np.arange(1, len(hits) + 1)[None, :],
        raw=hits.scores[None, :],
        shapes=(shape,),
        shares=(1.0,),
        whole=0.0,
    )


def leg_gains(hits: LegHits, rule: LegRule, fusion: Fusion) -> tuple[Floats, LegShape]:
    """Return what the leg gives each of its hits before it is weighted, (n,) float64, and the shape of its scores."""
    count, padded = len(hits), max(0, rule.padded_to - len(hits))
    if not count:
        return np.empty(0), LegShape(hits=0, padded=padded)
    sign = -1.0 if rule.smaller_is_better else 1.0
    good = _finite(hits.scores, sign)
    high, low = float(good[0]), float(good[-1])
    if padded:
        low, high = min(low, 0.0), max(high, 0.0)
    # Scaled to 0..1 first: the squares of differences of any size then neither overflow nor vanish.
    scaled = (good - low) / (high - low) if high > low else np.ones(count)
    spread = _deviation(scaled, padded, -low / (high - low)) if high > low else 0.0
    match fusion.kind:
        case FusionKind.RRF:
            gains = 1.0 / (fusion.c + np.arange(1, count + 1, dtype=np.float64))
        case FusionKind.ZSCORE if spread:
            gains = scaled / spread
        case _:
            # All scores are equal: every hit gets 1, the mean of two z-scores, and so more than a point without a hit.
            gains = scaled
    lowest, highest = sorted((sign * low, sign * high))
    shape = LegShape(hits=count, padded=padded, lowest=lowest, highest=highest, deviation=spread * (high - low), best=float(gains[0]))
    return gains, shape


def _finite(scores: Floats, sign: float) -> Floats:
    """Return the scores of hits, best first, so that larger is better, and none is beyond _LARGEST."""
    # NaN comes last, and no score is beyond the first and the last one.
    if abs(float(scores[0])) <= _LARGEST and abs(float(scores[-1])) <= _LARGEST:
        return sign * scores
    return np.clip(np.where(np.isnan(scores), -_LARGEST, sign * scores), -_LARGEST, _LARGEST)


def _deviation(values: Floats, padded: int, padding: float) -> float:
    """Return the standard deviation of the values and of `padded` times the value `padding` together."""
    count = len(values) + padded
    mean = (float(np.add.reduce(values)) + padded * padding) / count
    squares = float(np.add.reduce((values - mean) ** 2)) + padded * (padding - mean) ** 2
    return math.sqrt(squares / count)


def _united(legs: Sequence[LegHits]) -> tuple[IdArray, list[npt.NDArray[np.intp]]]:
    """Return the ids of all hits, each once, integers ascending, and where the hits of each leg stand among them."""
    together = concat_ids([hits.ids for hits in legs])
    if together.dtype == np.int64:
        ids, places = np.unique(together, return_inverse=True)
    else:
        place_of = {value: at for at, value in enumerate(dict.fromkeys(together.tolist()))}
        ids = np.empty(len(place_of), dtype=object)
        ids[:] = list(place_of)
        places = np.fromiter(map(place_of.__getitem__, together.tolist()), dtype=np.intp, count=len(together))
    ends = list(accumulate((len(hits) for hits in legs), initial=0))
    return ids, [places[start:end] for start, end in pairwise(ends)]


def _term(shape: LegShape, rule: LegRule, fusion: Fusion, rank: int, score: float) -> str:
    if not rank:
        return "0"
    if fusion.kind is FusionKind.RRF:
        return f"1 / ({_shown(fusion.c)} + {rank})"
    if shape.all_equal:
        return "1"
    over = f"({_shown(shape.highest)} - {_shown(score)})" if rule.smaller_is_better else f"({_shown(score)} - {_shown(shape.lowest)})"
    if fusion.kind is FusionKind.MINMAX:
        return f"{over} / ({_shown(shape.highest)} - {_shown(shape.lowest)})"
    return f"{over} / {_shown(shape.deviation)}"


def _shown(value: float) -> str:
    return f"{value:.6g}"
