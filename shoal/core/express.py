"""Express search: one search of several shards at one worker in this process, in one call that does not wait.

A worker may offer it beside ShardService. It answers only if nothing is unusual. Else the result is None, and the
caller searches shard by shard, with retries, hedges and errors by shard.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from shoal.core.deadline import Deadline
from shoal.core.points import Matrix
from shoal.core.shard_calls import ShardsSearch
from shoal.core.topk import HitColumns


class PreparedSearch(Protocol):
    """A search that all its shards can answer now. It belongs to the moment of `ready`: use it at once, and once.

    The result has the best k hits of each query over all shards, ordered by (score, id), as if the shards' own answers
    were merged. It is None if a shard cannot answer after all. Both calls raise the ShoalErrors of a search.
    """

    @property
    def cost_us(self) -> float:
        """Return the estimated time of the search in one thread, in microseconds."""
        ...

    @property
    def threads(self) -> int:
        """Return how many threads of the worker carry out searches."""
        ...

    def run(self) -> HitColumns | None:
        """Search now, in the calling thread, which is that of the worker's event loop."""
        ...

    async def run_in_pool(self, deadline: Deadline) -> HitColumns | None:
        """Search in the worker's threads; a batch is cut by queries. Return None also if the deadline passes first."""
        ...


@runtime_checkable
class ExpressService(Protocol):
    """The optional half of a worker's ShardService."""

    def ready(self, call: ShardsSearch, queries: Matrix) -> PreparedSearch | None:
        """Return the search if every shard can answer it now, under its terms; None if one of them cannot, or if its
        time cannot be estimated beforehand.

        queries: (n, dim) float32, to search for instead of those of the call: one call serves many searches.
        """
        ...
