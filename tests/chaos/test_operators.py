"""Tests of the operators of chaos: they end what they begin, a refusal is an answer, and items are counted once."""

from __future__ import annotations

from typing import Any

import shoal
from shoal.core.operations import ApplyRebalance, DescribeRebalance, DrainWorker, ListRebalances, ListWorkers, PlanRebalance, UndrainWorker
from shoal.core.rebalance import RebalancePlan
from tests.chaos.operators import Operators
from tests.chaos.schedule import Fault, Planned
from tests.twins.balancing import PLAN, A, BalancingTwin


class TwinClient:
    """A client whose answers come from the twin; `lost` calls are not answered."""

    def __init__(self) -> None:
        self.twin, self.lost = BalancingTwin(), 0
        self.rebalance = self.workers = self

    def plan(self, undo: str = "", **_: Any) -> Any:
        return self._ask(PlanRebalance(undo=undo))

    def apply(self, plan: RebalancePlan, **_: Any) -> Any:
        return self._ask(ApplyRebalance(plan_id=plan.id, plan=plan))

    def progress(self, plan_id: str) -> Any:
        return self._ask(DescribeRebalance(plan_id=plan_id))

    def history(self, limit: int) -> Any:
        return self._ask(ListRebalances(limit=limit)).plans

    def list(self) -> Any:
        return self._ask(ListWorkers()).workers

    def drain(self, worker: str, primaries: bool, **_: Any) -> Any:
        return self._ask(DrainWorker(worker=worker, primaries_only=primaries))

    def undrain(self, worker: str, **_: Any) -> Any:
        return self._ask(UndrainWorker(worker=worker))

    def _ask(self, request: Any) -> Any:
        if self.lost:
            self.lost -= 1
            raise shoal.Unavailable("nobody leads")
        return getattr(self.twin, type(request).__name__)(request)


def planned(fault: Fault) -> Planned:
    return Planned(fault=fault, target=0, other=0, after_s=0.0, lasts_s=0.1)


def tidied(operators: Operators, client: Any) -> bool:
    return any(operators.tidy(client) for _ in range(20))


def test_items_of_a_plan_are_counted_once_when_it_is_over() -> None:
    client: Any = TwinClient()
    operators = Operators(lambda number: A)
    operators.begin(planned(Fault.PLAN_APPLIED), client)
    assert not operators.tidy(client)
    assert tidied(operators, client)
    assert tidied(operators, client)
    assert operators.operations.items == {"move done": len(PLAN.moves), "hand-over done": len(PLAN.hand_overs)}
    assert operators.operations.outcomes == {"plan done": 1, "apply done": 1}


def test_a_drain_whose_end_was_not_answered_is_ended_later() -> None:
    client: Any = TwinClient()
    operators, drained = Operators(lambda number: A), planned(Fault.WORKER_DRAINED)
    operators.begin(drained, client)
    assert client.twin.workers[A].drain is not None
    client.lost = 2
    operators.end(drained, client)
    assert not operators.tidy(client)
    assert tidied(operators, client)
    assert client.twin.workers[A].drain is None
    assert operators.operations.outcomes == {"drain done": 1, "undrain not answered": 1, "undrain done": 1}


def test_a_plan_that_is_refused_is_noted_and_nothing_else() -> None:
    client: Any = TwinClient()
    client.twin.changed = True
    operators = Operators(lambda number: A)
    operators.begin(planned(Fault.PLAN_APPLIED), client)
    assert tidied(operators, client)
    assert operators.operations.outcomes == {"plan done": 1, "apply refused": 1}
