"""Merges the text hits of several workers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shoal.core.fusion import LegHits
from shoal.core.points import PointId
from shoal.core.text_calls import TextHitColumns, WordShare
from shoal.core.text_hits import merged_text_hits
from shoal.core.topk import HitColumns


def gather_texts(parts: Sequence[TextHitColumns], k: int) -> TextHitColumns:
    """Return the best k hits of each query over all parts, at least one: by (score, best first; id).

    A part without hits is left out: its answer does not show whether words have shares.
    """
    filled = [part for part in parts if len(part)] or list(parts[:1])
    return merged_text_hits(filled, k)


def leg_hits(hits: HitColumns | TextHitColumns) -> list[LegHits]:
    """Return the hits of each query."""
    ends = np.cumsum(hits.counts)[:-1]
    ids, scores = np.split(hits.ids, ends), np.split(hits.scores.astype(np.float64, copy=False), ends)
    return [LegHits(ids=each, scores=score) for each, score in zip(ids, scores, strict=True)]


def shares_by_query(hits: TextHitColumns) -> list[dict[PointId, tuple[WordShare, ...]]]:
    """Return what words gave to each hit of each query, by its id; nothing if that was not asked for."""
    if hits.shares is None:
        return [{} for _ in hits.counts]
    ends = np.cumsum(hits.counts).tolist()
    ids = hits.ids.tolist()
    return [
        dict(zip(ids[end - count : end], hits.shares[end - count : end], strict=True))
        for end, count in zip(ends, hits.counts.tolist(), strict=True)
    ]
