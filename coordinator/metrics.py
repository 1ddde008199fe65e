"""The metrics of a coordinator, beside those of its calls: whether it leads, and its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shoal.coordinator.act import DONE
from shoal.coordinator.logic.steps import AddLearners, ElectPrimary, Step
from shoal.runtime.metrics import LEASE_AGE_SECONDS, STORE_CONNECTED, Measure, Metrics, MetricSpec, Sample

LEADING = MetricSpec(name="shoal_leading", kind="gauge", text="1 for the coordinator that leads, 0 for one that stands by.")
STEPS = MetricSpec(
    name="shoal_steps_total",
    kind="counter",
    text="Steps tried, by kind (CreateShard, ElectPrimary, ...) and outcome: done, rejected (something had changed) or in_doubt.",
    labels=("step", "outcome"),
)
ELECTIONS = MetricSpec(name="shoal_elections_total", kind="counter", text="Primaries elected, those of workers that came back included.")
REPLACEMENTS = MetricSpec(
    name="shoal_replicas_replaced_total", kind="counter", text="Lost replicas for which a new one was placed on another worker."
)

GATHERED = (LEADING, LEASE_AGE_SECONDS, STORE_CONNECTED)
COORDINATOR_METRICS = (*GATHERED, STEPS, ELECTIONS, REPLACEMENTS)
"""All metrics of this module, and those of every role that are gathered here."""

_ROLE = ("coordinator",)


class StepMeter:
    """Counts steps by kind and outcome, and elections and replacements among them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._made: dict[tuple[str, str], Measure] = {}
        self._elections, self._replacements = metrics.measure(ELECTIONS), metrics.measure(REPLACEMENTS)

    def __call__(self, step: Step, outcome: str) -> None:
        """Count a step that was tried, with its outcome."""
        self._of(type(step).__name__, outcome)(1)
        match step:
            case ElectPrimary() if outcome == DONE:
                self._elections(1)
            case AddLearners(replaced=replaced) if outcome == DONE and replaced:
                self._replacements(len(replaced))

    def _of(self, kind: str, outcome: str) -> Measure:
        measure = self._made.get((kind, outcome))
        if measure is None:
            measure = self._made[kind, outcome] = self._metrics.measure(STEPS, kind, outcome)
        return measure


def gather(metrics: Metrics, *, leads: Callable[[], bool], lease_age_s: Callable[[], float | None], connected: Callable[[], bool]) -> None:
    """Register the metrics that are read on request. The given functions are called on any thread."""

    def read() -> Iterable[Sample]:
        yield Sample(LEADING, leads())
        yield Sample(STORE_CONNECTED, connected(), _ROLE)
        age_s = lease_age_s()
        if age_s is not None:
            yield Sample(LEASE_AGE_SECONDS, age_s, _ROLE)

    metrics.gather(GATHERED, read)
