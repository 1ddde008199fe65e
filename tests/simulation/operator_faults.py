"""What operators do in a seeded history, at any moment, beside the faults: plans, drains, workers that are forgotten,
and programs of another version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shoal.core.rebalance import PlanState
from tests.simulation.worker import Worker
from tests.simulation.world import World

FORGET_AFTER_S = (7.0, 25.0)
"""Longer than the lease of a worker: one that is registered cannot be forgotten."""

BUILDS_S = (2.0, 15.0)


class FaultTools(Protocol):
    """What faults have in common."""

    def later(self, low_s: float, high_s: float, work: Callable[[], None]) -> bool: ...
    def running_worker(self) -> Worker | None: ...
    def crash_worker(self, worker: Worker | None, low_s: float, high_s: float) -> bool: ...
    def may_be_lost(self, worker: Worker) -> bool: ...


class OperatorFaults:
    """The kinds of requests, with their weights and names."""

    def __init__(self, world: World, tools: FaultTools) -> None:
        self._world, self._tools = world, tools
        self._random, self._operator = world.scheduler.random, world.operator
        mixed = world.seed % 3 == 0
        self.kinds: list[tuple[int, str, Callable[[], bool]]] = [
            (9, "a move", self._operator.move),
            (5, "a move of the primary", lambda: self._operator.move(of_primary=True)),
            (3, "a plan of several items", self._operator.mix),
            (4, "a plan cancelled", lambda: self._operator.control(PlanState.CANCELLED)),
            (2, "a plan paused", self._pause),
            (6, "a hand-over", self._operator.hand_over),
            (3, "a worker drained", lambda: self._drain(primaries_only=False)),
            (2, "a worker drained of primaries", lambda: self._drain(primaries_only=True)),
            (4, "a drain ended", self._undrain),
            (2, "a worker forgotten", self._forget),
            (2, "long builds", self._build),
            (2 if mixed else 0, "a program of another version", self._change_version),
        ]
        if mixed:
            next(iter(world.workers.values())).moves = False

    def _pause(self) -> bool:
        def resume() -> None:
            self._operator.control(PlanState.RUNS)

        return self._operator.control(PlanState.PAUSED) and self._tools.later(1.0, 8.0, resume)

    def _drain(self, *, primaries_only: bool) -> bool:
        holders = self._world.config()
        homes = [] if holders is None else sorted(holders.worker_of.values())
        some = homes if homes and self._random.random() < 0.8 else sorted(self._world.workers)
        return self._operator.drain(self._world.workers[self._random.choice(some)].me, primaries_only=primaries_only)

    def _undrain(self) -> bool:
        drained = sorted(self._operator.map.drains)
        return bool(drained) and self._operator.undrain(self._random.choice(drained))

    def _forget(self) -> bool:
        """A worker crashes, and is forgotten if that loses nothing. Else it returns."""
        worker, given_up = self._tools.running_worker(), self._operator.given_up
        if worker is None or not self._operator.can_spare(worker.me) or not self._tools.may_be_lost(worker):
            return False
        worker.crash(power=self._random.random() < 0.5)
        given_up.add(worker.me)

        def decide() -> None:
            if worker.alive or (self._tools.may_be_lost(worker) and self._operator.forget(worker.me)):
                return
            given_up.discard(worker.me)
            worker.boot()

        return self._tools.later(*FORGET_AFTER_S, decide)

    def _build(self) -> bool:
        worker = self._tools.running_worker()
        if worker is not None:
            worker.builds_until = self._world.now + self._random.uniform(*BUILDS_S)
        return worker is not None

    def _change_version(self) -> bool:
        """A worker is stopped, and its program replaced by a newer or older one."""
        worker = self._tools.running_worker()
        if worker is not None:
            worker.moves = not worker.moves
        return self._tools.crash_worker(worker, 0.1, 3.0)
