"""Decide whether current queries are still like the queries that recall was measured on. Pure: places in a sample in, a
level out.

The sampled queries may lie near to their nearest rows, and be easy for the index. A query that is far from all rows may
be hard. So each query is compared with the sample by the distance of its nearest row. A query well beyond all of the
sample is unlike them, and is answered without relying on the measurement. In addition, the surprises of all queries are
summed up (CUSUM, Page 1954, over minus the logarithm of a place's probability): queries like the sample keep the level
near 0, and queries of another kind raise it within a few queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

USUAL_SURPRISE = 1.5
"""Subtracted for each query.

Queries like the sample have a mean surprise of 1, whatever the distances are. When one query in nine is beyond all of a
sample of 256, the level rises.
"""

ALARM_LEVEL = 24.0
"""Queries like the sample reach this about once in a million; queries beyond all of a sample of 256 with the sixth
query."""

_DEVIATIONS = 2.0
_SLACK = 0.005


def surprise(beyond: int, sampled: int) -> float:
    """Return the surprise of one query: minus the logarithm of the share of sampled queries that are as far or farther.

    beyond: how many of the `sampled` queries lie at least as far from their nearest row.
    """
    return math.log((sampled + 1) / (beyond + 1))


def level_after(level: float, surprise: float) -> float:
    """Return the level after one more query."""
    return max(0.0, level + surprise - USUAL_SURPRISE)


def misses(recalls: Sequence[float], target: float) -> bool:
    """Return whether recalls of single queries show with confidence that their mean is below the target."""
    count = len(recalls)
    if count < 2:
        return False
    mean = sum(recalls) / count
    variance = sum((recall - mean) ** 2 for recall in recalls) / (count - 1)
    return mean + _DEVIATIONS * math.sqrt(variance / count) < target - _SLACK
