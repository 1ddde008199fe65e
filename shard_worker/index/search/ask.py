"""What a search asks of every part: prepared queries and how to answer them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from shoal.core.collection import Metric
from shoal.core.points import Matrix
from shoal.core.shard_calls import Accuracy, Exact
from shoal.core.turns import FREE, Turn


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ask:
    """The k best rows visible at `seq` for each query.

    queries: (nq, dim) float32, contiguous, prepared; accuracy: how sure the answer must be; radius: rows with a worse
    score are not wanted, so that a search may end where they begin (whoever merges the hits drops them); turn: of
    whoever searches.
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
        """The same of the queries `numbers` (m,) alone."""
        return replace(self, queries=self.queries.take(numbers, axis=0))
