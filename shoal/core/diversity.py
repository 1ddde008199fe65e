"""Maximal marginal relevance: picks hits that are relevant and unlike those picked before. Pure.

Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
summaries", SIGIR 1998. The first pick is the most relevant candidate. Each further one has the largest

    (1 - diversity) x relevance - diversity x largest cosine to a pick

and the earlier candidate is picked where two are equal. So the picks for a small number are the first of those for a
larger one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.points import Matrix

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picks:
    """places: (m,) of the candidates, as they were picked; penalties: (m,) float64, what each lost by being like an
    earlier pick.
    """

    places: npt.NDArray[np.intp]
    penalties: Floats


def diverse_picks(
    relevance: Floats,
    vectors: Matrix,
    diversity: float,
    count: int,
    between: Callable[[], None] = lambda: None,
    before: Matrix | None = None,
) -> Picks:
    """Return at most `count` picks.

    relevance: (n,) of the candidates, best first; vectors: (n, dim) as given; diversity: 0 to 1; between: called
    between two picks; before: (m, dim) vectors that were picked before.
    """
    count = min(count, len(relevance))
    places, penalties = np.empty(count, dtype=np.intp), np.zeros(count)
    units = unit_rows(vectors)
    nearest, left = np.full(len(relevance), -np.inf), (1.0 - diversity) * relevance
    for picked in [] if before is None else unit_rows(before):
        _approach(nearest, units, picked)
    for number in range(count):
        between()
        if number or (before is not None and len(before)):
            at = int(np.argmax(left - diversity * nearest))
            penalties[number] = diversity * nearest[at]
        else:
            at = int(np.argmax(relevance))
        places[number] = at
        left[at] = -np.inf
        _approach(nearest, units, units[at])
    return Picks(places=places, penalties=penalties)


def _approach(nearest: Floats, units: Floats, picked: Floats) -> None:
    """Update the largest cosine of each candidate to a pick, after one more pick."""
    # Not by BLAS: the last bits of its sums depend on the number of rows and of threads.
    np.maximum(nearest, np.einsum("ij,j->i", units, picked), out=nearest)


def cosines_to(query: Matrix, vectors: Matrix) -> Floats:
    """Return the cosine of each row of vectors (n, dim) to one query (dim,): (n,) float64; 0 where one is zero."""
    cosines: Floats = np.einsum("ij,j->i", unit_rows(vectors), unit_rows(query[None, :])[0])
    return cosines


def scaled(scores: Floats, *, smaller_is_better: bool = False) -> Floats:
    """Return scores scaled so that the best is 1 and the worst 0; all are 1 where they are equal. NaN counts as the
    worst.
    """
    if not len(scores):
        return scores
    worst = np.inf if smaller_is_better else -np.inf
    good = np.clip(np.where(np.isnan(scores), worst, scores), -1e100, 1e100) * (-1.0 if smaller_is_better else 1.0)
    low, high = good.min(), good.max()
    return (good - low) / (high - low) if high > low else np.ones(len(good))


def unit_rows(vectors: Matrix) -> Floats:
    """Return rows (n, dim) of length 1, float64; a zero row, and one that is not finite, stays zero."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.add.reduce(wide * wide, axis=1))
    usable = np.isfinite(lengths) & (lengths > 0.0)
    return np.where(usable[:, None], wide, 0.0) / np.where(usable, lengths, 1.0)[:, None]
