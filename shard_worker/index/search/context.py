"""What searches of one replica share: hot filters, learnt costs, the way to its payloads, a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shoal.core.deadline import Clock
from shoal.core.errors import Unavailable
from shoal.core.shard_calls import DEFAULT_RECALL
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.paces import Paces

ReadPayloads = Callable[[npt.NDArray[np.int64]], Sequence[bytes | None] | None]
"""Payloads of rows (n,) of the store, in this order; None when one of them has meanwhile been replaced."""


class ViewOutdated(Unavailable):
    """A payload that the view needs has been replaced since: search a newer view."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SearchContext:
    """Made once per replica and used by all threads that search it; `dataclasses.replace` gives one that explains.

    read_payloads: any thread may call it; clock: seconds from any beginning; explain: whether searches say how they
    were carried out; recall: target where a search names none.
    """

    hot: HotFilters
    read_payloads: ReadPayloads
    clock: Clock
    paces: Paces = field(default_factory=Paces)
    explain: bool = False
    recall: float = DEFAULT_RECALL
