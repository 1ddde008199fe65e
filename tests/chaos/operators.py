"""What operators do while the cluster is harmed: they balance it, drain workers, and add and remove one.

A call that is refused or not answered is noted, and nothing else: what is under way is ended by `tidy`, as an operator
does who looks again.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import shoal
from shoal.core.operations import RebalanceProgress
from shoal.core.rebalance import ItemState
from tests.chaos.schedule import Fault, Planned

T = TypeVar("T")

CALL_S = 3.0
"""Timeout of a call while something may be harmed."""

_JOINS_WITHIN_S = 5.0
_MOST_PLANS = 1_000


class Spare(Protocol):
    """A cluster that can have one more worker (RoleCluster)."""

    def add_worker(self) -> int: ...
    def remove_worker(self) -> Path: ...
    def worker_id(self, worker: int) -> str: ...
    def data(self, worker: int) -> Path: ...


@dataclass
class Operations:
    """What became of what operators did.

    outcomes: of their calls; items: of moves and hand-overs of plans, as `move done`.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Operations) -> Operations:
        self.outcomes += other.outcomes
        self.items += other.items
        return self


class Operators:
    """worker_id: returns the id of a worker by its number; spare: None if there can be no newcomer."""

    def __init__(self, worker_id: Callable[[int], str], spare: Spare | None = None) -> None:
        self._worker_id, self._spare = worker_id, spare
        self._drained: dict[Planned, str] = {}
        self._newcomer: int | None = None
        self._newcomer_leaves = False
        self._counted: set[tuple[str, int]] = set()
        self.operations = Operations()

    def begin(self, planned: Planned, client: shoal.Client) -> None:
        """Begin what is planned."""
        match planned.fault:
            case Fault.WORKER_DRAINED | Fault.WORKER_YIELDS:
                self._drained[planned] = self._worker_id(planned.target)
                self._drain(client, self._drained[planned], primaries=planned.fault is Fault.WORKER_YIELDS)
            case Fault.NEWCOMER_ADDED:
                self._add(client)
            case _:
                self._apply(client)

    def end(self, planned: Planned, client: shoal.Client) -> None:
        """Take back what is planned, as far as it can be; `tidy` does the rest."""
        match planned.fault:
            case Fault.WORKER_DRAINED | Fault.WORKER_YIELDS:
                worker = self._drained.pop(planned)
                self._asked("undrain", lambda: client.workers.undrain(worker, timeout=CALL_S))
            case Fault.NEWCOMER_ADDED:
                self._newcomer_leaves = True
            case Fault.PLAN_CANCELLED:
                self._asked("cancel", lambda: client.rebalance.cancel(timeout=CALL_S))
            case _:
                pass

    def tidy(self, client: shoal.Client) -> bool:
        """Return whether no plan runs, nobody is drained and the newcomer is gone. End what is not."""
        if self._newcomer is not None and self._newcomer_leaves and not self._sent_away(client, self._newcomer):
            return False
        try:
            drained = [each.worker for each in client.workers.list() if each.drain is not None]
        except (shoal.Unavailable, shoal.DeadlineExceeded):
            return False
        for worker in drained:
            self._asked("undrain", lambda worker=worker: client.workers.undrain(worker, timeout=CALL_S))
        return not drained and self._plans_are_over(client)

    def _plans_are_over(self, client: shoal.Client) -> bool:
        """Return whether every plan has ended. Counts the items of those that have."""
        try:
            listed = client.rebalance.history(_MOST_PLANS)
            new = [each for each in listed if (each.id, each.started_ms) not in self._counted]
            progresses = [client.rebalance.progress(each.id) for each in new]
        except (shoal.Unavailable, shoal.DeadlineExceeded):
            return False
        for progress in progresses:
            if progress.over:
                self._count(progress)
        return all(progress.over for progress in progresses)

    def _count(self, progress: RebalanceProgress) -> None:
        plan = progress.entry.plan
        moves = {each.number for each in plan.moves}
        states = {item.number: item.state for item in progress.items}
        self._counted.add((plan.id, progress.entry.started_ms))
        for number, state in states.items():
            self.operations.items[f"{'move' if number in moves else 'hand-over'} {state.value}"] += 1
        unknown = [number for number, state in states.items() if not state.ended or state is ItemState.UNKNOWN]
        assert not unknown, f"plan {plan.id} is over, and items {unknown} have not ended: {states}"

    def _drain(self, client: shoal.Client, worker: str, *, primaries: bool = False) -> None:
        self._asked("drain", lambda: client.workers.drain(worker, primaries, wait=False, timeout=CALL_S))

    def _apply(self, client: shoal.Client) -> None:
        """Apply a plan that balances; if that is empty, one that takes the last plan back."""
        plan = self._asked("plan", lambda: client.rebalance.plan(timeout=CALL_S))
        if plan is not None and plan.empty:
            plan = self._asked("plan undo", lambda: client.rebalance.plan(undo="last", timeout=CALL_S))
        if plan is not None and not plan.empty:
            self._asked("apply", lambda: client.rebalance.apply(plan, asked_by="chaos", timeout=CALL_S))

    def _add(self, client: shoal.Client) -> None:
        """Start the newcomer and, once it has joined, apply a plan that gives it something."""
        assert self._spare is not None
        self._newcomer, self._newcomer_leaves = self._spare.add_worker(), False
        deadline = time.monotonic() + _JOINS_WITHIN_S
        while not self._has_joined(client, self._newcomer):
            if time.monotonic() > deadline:
                self.operations.outcomes["newcomer joins late"] += 1
                return
            time.sleep(0.05)
        self._apply(client)

    def _has_joined(self, client: shoal.Client, number: int) -> bool:
        worker = self._id_of(number)
        try:
            return any(each.id == worker and each.state == "up" for each in client.cluster(timeout=CALL_S).workers)
        except (shoal.Unavailable, shoal.DeadlineExceeded):
            return False

    def _sent_away(self, client: shoal.Client, number: int) -> bool:
        """Drain the newcomer, stop it once it is empty, forget it, delete its folder. Return whether that is done."""
        assert self._spare is not None
        worker = self._id_of(number)
        try:
            standing = next((each for each in client.workers.list() if each.worker == worker), None)
        except (shoal.Unavailable, shoal.DeadlineExceeded):
            return False
        if standing is None:
            return False
        if standing.drain is None:
            self._drain(client, standing.worker)
            return False
        if standing.replicas or standing.primaries:
            return False
        shutil.rmtree(self._spare.remove_worker())
        self._newcomer = None
        deadline = time.monotonic() + _JOINS_WITHIN_S
        while self._asked("forget", lambda: client.workers.forget(standing.worker, confirm=True, timeout=CALL_S)) is None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return True

    def _id_of(self, number: int) -> str | None:
        """Return the id of the newcomer; None before it has made its folder."""
        assert self._spare is not None
        return self._spare.worker_id(number) if (self._spare.data(number) / "worker.json").exists() else None

    def _asked(self, what: str, call: Callable[[], T]) -> T | None:
        """Return the answer; None if it was refused, or there was none."""
        try:
            answer = call()
        except (shoal.PreconditionFailed, shoal.NotFound):
            self.operations.outcomes[f"{what} refused"] += 1
        except (shoal.Unavailable, shoal.DeadlineExceeded):
            self.operations.outcomes[f"{what} not answered"] += 1
        else:
            self.operations.outcomes[f"{what} done"] += 1
            return answer
        return None
