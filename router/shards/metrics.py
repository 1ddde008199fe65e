"""The metrics of a router about its calls on shards, beside those of its own calls."""

from __future__ import annotations

from collections.abc import Callable, Collection

from shoal.core.errors import ShoalError
from shoal.runtime.metrics import STORE_CONNECTED, Measure, Metrics, MetricSpec, NoMetrics, Sample

SHARD_CALLS = MetricSpec(
    name="shoal_shard_calls_total",
    kind="counter",
    text="Shards asked for, retries included, each shard of a call on several: ok, or the status it failed with (unavailable, ...).",
    labels=("outcome",),
)
SHARD_RETRIES = MetricSpec(name="shoal_shard_retries_total", kind="counter", text="Shards that were asked for again.")
HEDGED_READS = MetricSpec(
    name="shoal_hedged_reads_total",
    kind="counter",
    text="Calls that took longer than usual, so that their shards were asked for at other replicas, too; at most 5 of 100.",
)
HEDGES_WON = MetricSpec(name="shoal_hedges_won_total", kind="counter", text="Hedged calls that the other replicas answered first.")
JOINED_SEARCHES = MetricSpec(
    name="shoal_joined_searches_total",
    kind="counter",
    text="Searches that went to the workers, or ran here, together with others of the same client and kind.",
)
BREAKERS_OPENED = MetricSpec(
    name="shoal_breakers_opened_total",
    kind="counter",
    text="Times that a worker, or its replica of a shard, failed so often in a row that reads ask it last for a while.",
)

GATHERED = (STORE_CONNECTED,)
ROUTER_METRICS = (*GATHERED, SHARD_CALLS, SHARD_RETRIES, HEDGED_READS, HEDGES_WON, JOINED_SEARCHES, BREAKERS_OPENED)
"""All metrics of a router, beside those of its calls."""


class ShardCallMeter:
    """Counts calls on shards."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._by_outcome: dict[str, Measure] = {}
        self._retries = metrics.measure(SHARD_RETRIES)
        self._hedged, self._won = metrics.measure(HEDGED_READS), metrics.measure(HEDGES_WON)
        self._joined, self._opened = metrics.measure(JOINED_SEARCHES), metrics.measure(BREAKERS_OPENED)
        self.ended("ok", 0)

    def ended(self, outcome: str, calls: int = 1) -> None:
        """Count calls that ended. outcome: "ok" or a gRPC status name."""
        measure = self._by_outcome.get(outcome)
        if measure is None:
            measure = self._by_outcome[outcome] = self._metrics.measure(SHARD_CALLS, outcome.lower())
        measure(calls)

    def answered(self, shards: int, failed: Collection[ShoalError]) -> None:
        """Count a call on several shards that was answered. failed: the errors of the shards that were not read."""
        self.ended("ok", shards - len(failed))
        for error in failed:
            self.ended(error.status)

    def retried(self, calls: int = 1) -> None:
        """Count calls that are tried again."""
        self._retries(calls)

    def hedged(self) -> None:
        """Count a read that is also sent to a second replica."""
        self._hedged(1)

    def hedge_won(self) -> None:
        """Count a hedge that answered first."""
        self._won(1)

    def joined(self, searches: int) -> None:
        """Count searches that go to the workers as one."""
        self._joined(searches)

    def breaker_opened(self) -> None:
        """Count a breaker that opened."""
        self._opened(1)


UNMETERED = ShardCallMeter(NoMetrics())


def gather(metrics: Metrics, connected: Callable[[], bool]) -> None:
    """Register the metrics that are read on request."""
    metrics.gather(GATHERED, lambda: (Sample(STORE_CONNECTED, connected(), ("router",)),))
