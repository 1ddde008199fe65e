"""Whether the queries that are asked are still like those that recall was measured on. Pure: places among a sample in,
a level out.

A query far from everything, where the sampled ones lay near, may be as hard for an index as the sample was easy. So a
query is placed among the sample by the distance of its nearest row. One well beyond all of the sample is unlike them:
it is answered without relying on what was measured. And the places of all queries are summed up (CUSUM, Page 1954, over
minus the logarithm of a place's probability): queries like the sample keep the level near 0, queries of another kind
drive it up within a few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

USUAL_SURPRISE = 1.5
"""Taken off for each query. Queries like the sample have a mean surprise of 1 whatever the distances are; one query in
nine beyond all of a sample of 256 is enough to rise."""

ALARM_LEVEL = 24.0
"""Reached by queries like the sample about once in a million, by queries beyond all of a sample of 256 with the
sixth.
"""

_DEVIATIONS = 2.0
_SLACK = 0.005


def surprise(beyond: int, sampled: int) -> float:
    """Of one query, when `beyond` of `sampled` queries lie as far from their nearest row or farther: minus the
    logarithm of its share.
    """
    return math.log((sampled + 1) / (beyond + 1))


def level_after(level: float, surprise: float) -> float:
    """The sum after one more query."""
    return max(0.0, level + surprise - USUAL_SURPRISE)


def misses(recalls: Sequence[float], target: float) -> bool:
    """Whether recalls of single queries say with confidence that their mean lies below the target."""
    count = len(recalls)
    if count < 2:
        return False
    mean = sum(recalls) / count
    variance = sum((recall - mean) ** 2 for recall in recalls) / (count - 1)
    return mean + _DEVIATIONS * math.sqrt(variance / count) < target - _SLACK
