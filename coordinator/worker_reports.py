"""Keeps the newest status of each worker, so that rounds and plans know sizes, builds and copies under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.deadline import Clock
from shoal.core.ids import WorkerId
from shoal.core.shard_calls import WorkerStatus

EVERY_S = 4.0
"""Pause in seconds between two questions to all workers while no plan runs."""

OFTEN_S = 1.0
"""Pause in seconds between two questions to all workers while a plan runs."""

ANSWER_S = 2.0
"""Longest time in seconds for an answer."""

HOLDS_S = 15.0
"""How long an answer is used, in seconds."""


class StatusCalls(Protocol):
    """Asks workers for their status. A worker that does not answer is missing in the result."""

    async def statuses(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, WorkerStatus]:
        """Ask all these workers at the same time, each for at most timeout_s seconds."""
        ...


class WorkerReports:
    """The newest status of each worker. It asks only while this coordinator leads, once for each worker and time."""

    def __init__(self, *, calls: StatusCalls, cluster: Callable[[], ClusterMap], leads: Callable[[], bool], clock: Clock) -> None:
        self._calls, self._cluster, self._leads, self._clock = calls, cluster, leads, clock
        self._heard: dict[WorkerId, tuple[float, WorkerStatus]] = {}
        self._asked_at: float | None = None

    async def run(self) -> None:
        """Ask again and again, without end."""
        while True:
            if self._is_due():
                await self.ask()
            await asyncio.sleep(OFTEN_S)

    def _is_due(self) -> bool:
        plan = self._cluster().rebalance
        every_s = OFTEN_S if plan is not None and not plan.ended else EVERY_S
        return not self._leads() or self._asked_at is None or self._clock() - self._asked_at >= every_s

    async def fresh(self) -> Mapping[WorkerId, WorkerStatus]:
        """Return the newest answers. If a live worker has none, all are asked first."""
        if self._cluster().workers.keys() - self.newest().keys():
            await self.ask()
        return self.newest()

    async def ask(self) -> None:
        """Ask every live worker once. Forgets all answers while another coordinator leads."""
        if not self._leads():
            self._heard.clear()
            self._asked_at = None
            return
        workers = self._cluster().workers
        asked_at = self._asked_at = self._clock()
        answers = await self._calls.statuses(workers.values(), ANSWER_S)
        kept = {worker: said for worker, said in self._heard.items() if worker in workers}
        self._heard = kept | {worker: (asked_at, answer) for worker, answer in answers.items()}

    def newest(self) -> Mapping[WorkerId, WorkerStatus]:
        """Return the answers of the last HOLDS_S seconds."""
        now = self._clock()
        return {worker: answer for worker, (at, answer) in self._heard.items() if now - at <= HOLDS_S}
