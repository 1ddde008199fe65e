"""Search of a view: every part, then one merge by (score, id).

Owns the order of the final hits. Refuses threads and writers: a view does not change.
"""

from __future__ import annotations

import numpy as np

from shard_worker.index.approximate import part_hits
from shard_worker.index.ask import Ask
from shard_worker.index.exact import exact_hits
from shard_worker.index.view import NO_HITS, Found, PartHits, View, join_hits
from shoal.core.collection import Metric
from shoal.core.errors import InvalidArgument
from shoal.core.points import Matrix
from shoal.core.scoring import prepared
from shoal.core.topk import hit_order, rank_in_group


def search_view(view: View, queries: Matrix, k: int, *, exact: bool, ef: int, metric: Metric) -> Found:
    """The k best points of each query: exactly min(k, visible points) hits a query, by (score, id), best first.

    queries: (nq, dim) float32 as given, of the collection's dimension, finite, and not zero under cosine; ef: breadth of the
    search in graphs. exact: the answer is that of the scoring kernel over all points, a tie at the k-th place resolved by id.
    Raises InvalidArgument when k or ef is below 1.
    """
    if k < 1 or ef < 1:
        raise InvalidArgument(f"k is {k} and ef is {ef}, both must be at least 1")
    prepared_queries = np.ascontiguousarray(prepared(queries, metric), dtype=np.float32)
    ask = Ask(queries=prepared_queries, seq=view.seq, k=k, ef=ef, metric=metric)
    if not len(ask):
        return _best(NO_HITS, ask)
    search_part = exact_hits if exact else part_hits
    return _best(join_hits([search_part(part, ask) for part in view.parts if part.live]), ask)


def _best(hits: PartHits, ask: Ask) -> Found:
    """The k best of `hits` of each query, in order."""
    order = hit_order(hits.query, hits.scores, hits.ids, ask.metric)
    if len(ask) == 1:
        order = order[: ask.k]
        counts = np.array([len(order)], dtype=np.int64)
    else:
        order = order[rank_in_group(hits.query.take(order)) < ask.k]
        counts = np.bincount(hits.query.take(order), minlength=len(ask))
    return Found(counts=counts, ids=hits.ids.take(order), scores=hits.scores.take(order), rows=hits.rows.take(order))
