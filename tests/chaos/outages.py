"""The times in which shards took no writes: percentiles, as numbers and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed (nearest rank); 0.0 for no values."""
    ordered = sorted(seconds)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def in_words(seconds: Sequence[float], ttl_s: float) -> str:
    """Return one line for people."""
    if not seconds:
        return "no failover was measured"
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return (
        f"{len(seconds)} failovers, lease of {ttl_s:g} s: a shard took no writes for {p50:.2f} s (p50), {p99:.2f} s (p99), "
        f"{max(seconds):.2f} s (max)"
    )
