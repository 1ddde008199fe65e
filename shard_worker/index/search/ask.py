"""The input of a search: what it wants of every segment, and what all searches of one replica share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from shoal.core.deadline import Clock
from shoal.core.errors import Unavailable
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.shard_calls import DEFAULT_RECALL, Accuracy, Exact
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.paces import Paces


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ask:
    """A request for the k best rows visible at `seq`, for each query.

    queries: (nq, dim) float32, contiguous, prepared; accuracy: how certain the answer must be; radius: rows with a
    worse score are not wanted, so a search may stop there, and the merge of the hits drops these rows; turn: of the
    searcher.
    """

    queries: Matrix
    seq: int
    k: int
    metric: Metric
    accuracy: Accuracy = Exact()
    radius: float | None = None
    turn: Turn = FREE

    def __len__(self) -> int:
        return len(self.queries)

    def only(self, numbers: npt.NDArray[np.int64]) -> Ask:
        """Return the same request for only the queries numbered `numbers` (m,)."""
        return replace(self, queries=self.queries.take(numbers, axis=0))


ReadPayloads = Callable[[npt.NDArray[np.int64]], Sequence[bytes | None] | None]
"""Returns the payloads of rows (n,) of the store, in this order; None when one of the rows has been replaced meanwhile.
"""


class ViewOutdated(Unavailable):
    """A payload that the view needs has been replaced since. Search a newer view."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SearchContext:
    """What all searches of one replica share. Made once per replica; used by all threads that search it.

    `dataclasses.replace` gives a context that explains. read_payloads: any thread may call it; clock: seconds, from any
    starting point; explain: whether searches report how they were carried out; recall: target of searches that name
    none.
    """

    hot: HotFilters
    read_payloads: ReadPayloads
    clock: Clock
    paces: Paces = field(default_factory=Paces)
    explain: bool = False
    recall: float = DEFAULT_RECALL
