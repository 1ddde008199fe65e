"""Order and merge hits of text searches: the higher score first, the smaller id first where scores are equal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shoal.core.points import IdArray, id_array, id_ranks
from shoal.core.text_calls import TextHitColumns, WordShare
from shoal.core.topk import concat_ids


def text_hit_order(scores: npt.NDArray[np.float64], ids: IdArray) -> npt.NDArray[np.intp]:
    """Return the order of hits (n,), best first."""
    return np.lexsort((id_ranks(ids) if ids.dtype == object else ids, -scores))


def no_text_hits(queries: int, *, shares: bool = False) -> TextHitColumns:
    """Return no hits for so many queries."""
    return TextHitColumns(
        counts=np.zeros(queries, dtype=np.int64),
        ids=id_array(()),
        scores=np.empty(0, dtype=np.float64),
        shares=() if shares else None,
    )


def merged_text_hits(parts: Sequence[TextHitColumns], k: int | npt.NDArray[np.int64]) -> TextHitColumns:
    """Return the best k hits of each query over parts, at least one, that hold no point twice.

    k: for all queries, or (queries,). All parts have shares, or none has.
    """
    if len(parts) == 1 and (parts[0].counts <= k).all():
        return parts[0]
    queries = len(parts[0].counts)
    wanted = np.broadcast_to(np.asarray(k, dtype=np.int64), (queries,))
    query = np.concatenate([np.repeat(np.arange(queries), part.counts) for part in parts])
    ids, scores = concat_ids([part.ids for part in parts]), np.concatenate([part.scores for part in parts])
    order = np.lexsort((id_ranks(ids) if ids.dtype == object else ids, -scores, query))
    starts = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=queries))])
    rank = np.arange(len(order)) - starts[query[order]]
    kept = order[rank < wanted[query[order]]]
    shares = _shares(parts)
    return TextHitColumns(
        counts=np.bincount(query[kept], minlength=queries).astype(np.int64),
        ids=ids[kept],
        scores=scores[kept],
        shares=None if shares is None else tuple(shares[at] for at in kept.tolist()),
    )


def joined_text_hits(queries: Sequence[TextHitColumns]) -> TextHitColumns:
    """Return hits of several queries, at least one, as those of a batch in this order."""
    if len(queries) == 1:
        return queries[0]
    shares = _shares(queries)
    return TextHitColumns(
        counts=np.concatenate([each.counts for each in queries]),
        ids=concat_ids([each.ids for each in queries]),
        scores=np.concatenate([each.scores for each in queries]),
        shares=None if shares is None else tuple(shares),
    )


def _shares(parts: Sequence[TextHitColumns]) -> list[tuple[WordShare, ...]] | None:
    listed = [part.shares for part in parts if part.shares is not None]
    return [each for shares in listed for each in shares] if len(listed) == len(parts) else None


def without_words(parts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the queries, ascending, that are in each of the parts: those that hold no word to search for anywhere."""
    return tuple(sorted(frozenset.intersection(*map(frozenset, parts)))) if parts else ()
