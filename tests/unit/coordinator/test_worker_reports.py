"""The newest statuses of workers: who is asked when, and how long an answer counts."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from shoal.coordinator import worker_reports
from shoal.coordinator.worker_reports import HOLDS_S, WorkerReports
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import WorkerId
from shoal.core.rebalance import PlanState, RebalanceEntry
from tests.twins.coordinator.bare_coordinator import ManualClock, eventually
from tests.twins.coordinator.bare_operator import ScriptedStatuses, plan_of
from tests.twins.coordinator.world import map_of, worker_entry

W0, W1 = WorkerId("w0"), WorkerId("w1")
ENTRY = RebalanceEntry(plan=plan_of(), state=PlanState.RUNS, asked_by="", started_ms=1)


class Desk:
    def __init__(self) -> None:
        self.calls, self.clock, self.leads = ScriptedStatuses(), ManualClock(), True
        self.map: ClusterMap = map_of(workers=[worker_entry("w0"), worker_entry("w1")])
        self.reports = WorkerReports(calls=self.calls, cluster=lambda: self.map, leads=lambda: self.leads, clock=self.clock)


def test_fresh_asks_only_if_a_live_worker_has_no_answer() -> None:
    async def scenario() -> None:
        it = Desk()
        assert (await it.reports.fresh()).keys() == {W0, W1}
        await it.reports.fresh()
        assert it.calls.asked == 1
        it.calls.silent = {W1}
        it.map = map_of(workers=[worker_entry("w0"), worker_entry("w1"), worker_entry("w2")])
        assert (await it.reports.fresh()).keys() == {W0, W1, WorkerId("w2")}, "an earlier answer of w1 still counts"
        it.clock.advance(HOLDS_S + 1)
        assert (await it.reports.fresh()).keys() == {W0, WorkerId("w2")}
        it.map = map_of(workers=[worker_entry("w0")])
        await it.reports.ask()
        assert it.reports.newest().keys() == {W0}

    asyncio.run(scenario())


def test_an_answer_ends_with_the_leadership_and_with_its_time() -> None:
    async def scenario() -> None:
        it = Desk()
        await it.reports.ask()
        it.clock.advance(HOLDS_S)
        assert it.reports.newest().keys() == {W0, W1}
        it.leads = False
        await it.reports.ask()
        assert not it.reports.newest()
        assert it.calls.asked == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("entry", "seconds"), [(None, 4), (ENTRY, 1), (dataclasses.replace(ENTRY, state=PlanState.DONE, ended_ms=2), 4)])
def test_workers_are_asked_more_often_while_a_plan_runs(
    entry: RebalanceEntry | None, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        it = Desk()
        it.map = dataclasses.replace(it.map, rebalance=entry)
        ticks = 0

        async def second(length_s: float) -> None:
            nonlocal ticks
            it.clock.advance(length_s)
            ticks += 1
            await pause(0)

        monkeypatch.setattr(worker_reports.asyncio, "sleep", second)
        running = asyncio.create_task(it.reports.run())
        await ticked(lambda: ticks >= 40)
        running.cancel()
        assert it.calls.asked == pytest.approx(ticks / seconds, abs=1)

    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def ticked(met: Callable[[], bool]) -> None:
        while not met():
            await pause(0)

    asyncio.run(scenario())


def test_a_coordinator_that_begins_to_lead_asks_at_once() -> None:
    async def scenario() -> None:
        it = Desk()
        running = asyncio.create_task(it.reports.run())
        await eventually(lambda: it.calls.asked == 1)
        running.cancel()

    asyncio.run(scenario())
