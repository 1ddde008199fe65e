"""A plain twin of the merge of hits: sorts all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shoal.core.metric import Metric
from shoal.core.topk import HitColumns, concat_ids, hit_order, rank_in_group


def merge_by_sorting(parts: Sequence[HitColumns], k: int | np.ndarray, metric: Metric) -> HitColumns:
    """Return what merge_hits returns."""
    queries = len(parts[0].counts)
    parts = [part for part in parts if len(part)] or parts[:1]
    query = np.concatenate([np.repeat(np.arange(queries, dtype=np.int64), part.counts) for part in parts])
    ids = concat_ids([part.ids for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    order = hit_order(query, scores, ids, metric)
    ordered = query[order]
    kept = order[rank_in_group(ordered) < (k if isinstance(k, int) else k[ordered])]
    payloads = [part.payloads for part in parts if part.payloads is not None]
    vectors = [part.vectors for part in parts if part.vectors is not None]
    texts = [text for part in payloads for text in part]
    return HitColumns(
        counts=np.bincount(query[kept], minlength=queries).astype(np.int64),
        ids=ids[kept],
        scores=scores[kept],
        payloads=tuple(texts[at] for at in kept) if len(payloads) == len(parts) else None,
        vectors=np.concatenate(vectors)[kept] if len(vectors) == len(parts) else None,
    )
