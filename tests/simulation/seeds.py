"""One seed: a history with faults, its outcome, and whether it did enough to count."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.faults import Faults
from tests.simulation.patience import short_patience
from tests.simulation.product_logs import only_defects, told
from tests.simulation.violation import Violation
from tests.simulation.virtual_loop import unlisted_tasks
from tests.simulation.world import World, end_world, uncollected

FAULTS_S, GROWS_AT_S = 110.0, 8.0
LEAST = {"acknowledged writes": 150, "failovers": 2, "expansions": 2}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a seed. counts: see World.counts, with the totals of the history; violation: the violated
    invariant, as text.
    """

    seed: int
    counts: Counter[str]
    simulated_s: float
    wall_s: float
    digest: str
    violation: str | None = None
    invariant: str | None = None
    lines: tuple[str, ...] = field(default=(), repr=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the work of which it did too little to count."""
        return tuple(f"{self.counts[name]} {name}, at least {least}" for name, least in LEAST.items() if self.counts[name] < least)


def run_seed(seed: int, *, trace: bool = False) -> Outcome:
    """Play one seed."""
    with uncollected(), only_defects(), unlisted_tasks(), short_patience():
        try:
            return _play(seed, trace=trace)
        finally:
            end_world()


def _play(seed: int, *, trace: bool) -> Outcome:
    began = time.perf_counter()
    world = World(seed, workers=5 + seed % 2, replicas=(3, 2, 2, 3, 1)[seed % 5])
    if world.spec.replicas == 1:
        world.scheduler.at(GROWS_AT_S, lambda: world.alter(3))
    if trace:
        world.lines = []
        with told(world.trace):
            return _ended(world, began, trace=True)
    return _ended(world, began, trace=False)


def _ended(world: World, began: float, *, trace: bool) -> Outcome:
    violation: BaseException | None = None
    try:
        world.begin()
        faults = Faults(world)
        world.run(FAULTS_S)
        faults.stop()
        world.trace("all faults are over")
        world.finish()
    except Exception as error:
        if trace and not isinstance(error, Violation):
            raise
        violation = error
    return Outcome(
        seed=world.seed,
        counts=totals(world),
        simulated_s=world.now,
        wall_s=time.perf_counter() - began,
        digest=world.history.digest(),
        violation=None if violation is None else f"{type(violation).__name__}: {violation}",
        invariant=None if violation is None else violation.invariant if isinstance(violation, Violation) else "the product asserts",
        lines=tuple(world.lines or ()),
    )


def totals(world: World) -> Counter[str]:
    """Return all counts of a history."""
    configurations, history = world.configurations, world.history
    counts = Counter(world.counts)
    counts["acknowledged writes"] = len(history.acknowledged)
    counts["writes of unknown outcome"] = len(history.open_ended)
    counts["writes refused"] = len(history.refused)
    counts["elections"] = configurations.elections
    counts["failovers"] = configurations.failovers
    counts["expansions"] = configurations.expansions
    counts["shrinks"] = configurations.shrinks
    counts.update(configurations.moves.counts)
    for kind, number in history.reads.items():
        counts[f"{kind} reads"] = number
    return counts
