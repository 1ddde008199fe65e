"""How good an order of points is, by judgements of which are relevant. Pure.

Judgements of a query are grades by id: above 0 is relevant, and twice the grade is twice as good. A point without one
is not relevant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from shoal.core.points import PointId

Judged = Mapping[PointId, float]

DEPTH = 10
"""How many hits are judged, unless the caller gives a number."""


def ndcg(ids: Iterable[PointId], judged: Judged, depth: int = DEPTH) -> float:
    """Return the normalised discounted cumulative gain of the first `depth` ids, best first, each once: 0 to 1.

    The hit of rank r gives its grade / log2(r + 1); the sum is divided by that of the best order (Jarvelin and
    Kekalainen, TOIS 2002, with linear gain as in trec_eval). At least one grade is above 0.
    """
    return _gain(judged.get(each, 0.0) for each in islice(ids, depth)) / best_gain(judged, depth)


def best_gain(judged: Judged, depth: int = DEPTH) -> float:
    """Return the discounted gain of the best order of the judged points."""
    return _gain(sorted(judged.values(), reverse=True)[:depth])


def recall_at(ids: Sequence[PointId], judged: Judged, depth: int = DEPTH) -> float:
    """Return the share of the relevant points, of which there is one, among the first `depth` ids: 0 to 1."""
    relevant = {each for each, grade in judged.items() if grade > 0}
    return len(relevant.intersection(ids[:depth])) / len(relevant)


def discount(rank: int) -> float:
    """Return by what the grade of a hit is multiplied. rank: from 1."""
    return 1.0 / math.log2(rank + 1)


def _gain(grades: Iterable[float]) -> float:
    return math.fsum(grade * discount(rank) for rank, grade in enumerate(grades, start=1) if grade > 0)
