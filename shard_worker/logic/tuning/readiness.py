"""Decides which measurements a replica still lacks before its searches are as fast as they will be."""

from __future__ import annotations

from collections.abc import Sequence

from shoal.shard_worker.logic.tuning.plan import Asked, Measurable, due


def uncertain(segments: Sequence[Measurable], asked: Asked, *, now_s: float) -> frozenset[str]:
    """Return the segments that are to be measured now and whose searches cost more than necessary until then."""
    return frozenset(each.name for each in due([each for each in segments if each.uncertain], asked, now_s=now_s))
