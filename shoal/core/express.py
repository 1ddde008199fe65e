"""Short ways of searches, which a worker may offer beside ShardService. The caller goes the long way, with retries,
hedges and errors by shard, where something is unusual.

Express search: several shards of one worker in this process, in one call that does not wait. Its result is None where
something is unusual. Encoded search: several shards of one worker in another process, without a look at the values.
"""

from __future__ import annotations

from typing import NewType, Protocol, runtime_checkable

from shoal.core.deadline import Deadline
from shoal.core.points import Matrix
from shoal.core.shard_calls import ShardsFound, ShardsSearch
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

    def run_for_each(self, queries: Matrix) -> list[HitColumns] | None:
        """Return the hits of each of some searches for one query that came together: (n, dim) float32, n >= 2.

        Call it instead of `run`. The search was prepared for one query. Each answer is that of a search alone. None if
        each has to be carried out alone.
        """
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


HitBytes = NewType("HitBytes", bytes)
"""The hits of a search, as the bytes of a public answer that says nothing else."""


class EncodedSearch(Protocol):
    """A search of several shards, put into bytes once for all searches that differ only in queries and callers."""

    async def run(self, queries: Matrix, caller: str, timeout_s: float) -> HitBytes | ShardsFound:
        """Return the hits if all shards have answered, and nothing but hits was said; else the answer as a value.

        queries: (n, dim) float32, in the shape of those of the call. Raises what `search_shards` raises.
        """
        ...


@runtime_checkable
class EncodedService(Protocol):
    """The optional half of the ShardService of a worker in another process."""

    def encoded(self, call: ShardsSearch) -> EncodedSearch:
        """Return the search. Its queries and its caller do not count, but for the shape of the queries."""
        ...
