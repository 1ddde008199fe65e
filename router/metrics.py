"""What a router measures beside its own calls: what became of those on shards."""

from __future__ import annotations

from collections.abc import Callable

from shoal.runtime.metrics import STORE_CONNECTED, Measure, Metrics, MetricSpec, NoMetrics, Sample

SHARD_CALLS = MetricSpec(
    name="shoal_shard_calls_total",
    kind="counter",
    text="Calls on shards, retries included: ok, or the status they failed with (unavailable, deadline_exceeded, ...).",
    labels=("outcome",),
)
SHARD_RETRIES = MetricSpec(name="shoal_shard_retries_total", kind="counter", text="Calls on shards that were tried again.")

GATHERED = (STORE_CONNECTED,)
ROUTER_METRICS = (*GATHERED, SHARD_CALLS, SHARD_RETRIES)
"""All of them."""


class ShardCallMeter:
    """Counts calls on shards."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._by_outcome: dict[str, Measure] = {}
        self._retries = metrics.measure(SHARD_RETRIES)
        self.ended("ok", 0)

    def ended(self, outcome: str, calls: int = 1) -> None:
        """So many calls ended so. outcome: "ok" or a gRPC status name."""
        measure = self._by_outcome.get(outcome)
        if measure is None:
            measure = self._by_outcome[outcome] = self._metrics.measure(SHARD_CALLS, outcome.lower())
        measure(calls)

    def retried(self) -> None:
        """A call is tried again."""
        self._retries(1)


UNMETERED = ShardCallMeter(NoMetrics())


def gather(metrics: Metrics, connected: Callable[[], bool]) -> None:
    """Let what is only read be read."""
    metrics.gather(GATHERED, lambda: (Sample(STORE_CONNECTED, connected(), ("router",)),))
