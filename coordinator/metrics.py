"""What a coordinator measures beside its calls: whether it leads, and the steps it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shoal.runtime.metrics import LEASE_AGE_SECONDS, STORE_CONNECTED, Measure, Metrics, MetricSpec, Sample

LEADING = MetricSpec(name="shoal_leading", kind="gauge", text="1 for the coordinator that leads, 0 for one that stands by.")
STEPS = MetricSpec(
    name="shoal_steps_total",
    kind="counter",
    text="Steps tried, by kind (CreateShard, ElectPrimary, ...) and outcome: done, rejected (somebody was faster) or in_doubt.",
    labels=("step", "outcome"),
)

GATHERED = (LEADING, LEASE_AGE_SECONDS, STORE_CONNECTED)
COORDINATOR_METRICS = (*GATHERED, STEPS)
"""All of them."""

_ROLE = ("coordinator",)


class StepMeter:
    """Counts steps."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._made: dict[tuple[str, str], Measure] = {}

    def __call__(self, step: str, outcome: str) -> None:
        """A step of that kind was tried, and ended so."""
        measure = self._made.get((step, outcome))
        if measure is None:
            measure = self._made[step, outcome] = self._metrics.measure(STEPS, step, outcome)
        measure(1)


def gather(metrics: Metrics, *, leads: Callable[[], bool], lease_age_s: Callable[[], float | None], connected: Callable[[], bool]) -> None:
    """Let what is only read be read, on any thread."""

    def read() -> Iterable[Sample]:
        yield Sample(LEADING, leads())
        yield Sample(STORE_CONNECTED, connected(), _ROLE)
        age_s = lease_age_s()
        if age_s is not None:
            yield Sample(LEASE_AGE_SECONDS, age_s, _ROLE)

    metrics.gather(GATHERED, read)
