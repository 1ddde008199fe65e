"""Sends one read to one replica after the other, or to several at the same time.

The first good answer wins; the other calls are cancelled.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shoal.core.deadline import Clock
from shoal.core.errors import ShoalError
from shoal.core.ids import ShardId
from shoal.router.logic.hedge import hedge_at, silent_at
from shoal.router.logic.outcomes import may_be_answered_elsewhere, worst_of_copies
from shoal.router.logic.replica_choice import ReplicaChoice
from shoal.router.shards.metrics import ShardCallMeter
from shoal.router.shards.traffic import Sent, Traffic
from shoal.router.shards.under_way import Overtaken

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Won(Generic[T]):
    value: T


class Race(Generic[T]):
    """One read. choices: at least one, in the order in which they are asked. ask: sends the read to one replica.

    kind: name of the ReadKind.
    """

    def __init__(
        self,
        *,
        shard: ShardId,
        choices: Sequence[ReplicaChoice],
        ask: Callable[[ReplicaChoice], Coroutine[Any, Any, T]],
        kind: str,
        traffic: Traffic,
        clock: Clock,
        meter: ShardCallMeter,
    ) -> None:
        self._shard, self._ask, self._kind = shard, ask, kind
        self._traffic, self._clock, self._meter = traffic, clock, meter
        self._p95 = traffic.times(kind).p95
        self._waiting = list(choices)
        self._running: dict[asyncio.Task[T], Sent] = {}
        self._errors: list[ShoalError] = []
        self._hedge_looked_at = False
        self._hedge: asyncio.Task[T] | None = None

    async def run(self) -> T:
        """Return the first good answer.

        Raises an error at once if no other replica would answer otherwise. If all replicas fail, raises the error that
        worst_of_copies picks.
        """
        try:
            self._send_next()
            while self._running:
                await asyncio.wait(self._running, timeout=self._patience_s(), return_when=asyncio.FIRST_COMPLETED)
                won = self._collect()
                if won is not None:
                    return won.value
                if self._waiting:
                    self._send_more()
            raise worst_of_copies(self._errors)
        finally:
            await self._withdraw()

    def _send_next(self) -> asyncio.Task[T]:
        choice = self._waiting.pop(0)
        sent = self._traffic.sent((self._shard,), choice.worker, probe=choice.probe)
        task = asyncio.create_task(self._copy(choice, sent))
        self._running[task] = sent
        return task

    async def _copy(self, choice: ReplicaChoice, sent: Sent) -> T:
        """Send the read to one replica, and record how it ended."""
        try:
            value = await self._ask(choice)
        except Overtaken as error:
            self._traffic.given_up(sent)
            self._meter.ended(error.status)
            raise
        except ShoalError as error:
            self._traffic.failed(sent, error)
            self._meter.ended(error.status)
            raise
        except BaseException:
            self._traffic.withdrawn(sent, self._kind)
            self._meter.ended("CANCELLED")
            raise
        self._traffic.answered(sent, self._kind)
        self._meter.ended("ok")
        return value

    def _patience_s(self) -> float | None:
        """Return the seconds until the next decision if no answer comes before; None for no limit."""
        if not self._waiting:
            return None
        newest = self._newest()
        at = min(self._hedge_at(newest), self._silent_at(newest))
        return None if at == math.inf else max(0.0, at - self._clock())

    def _collect(self) -> _Won[T] | None:
        """Take the calls that have ended. Raises an error that another replica would also return."""
        for task in [each for each in self._running if each.done()]:
            del self._running[task]
            error = task.exception()
            if error is None:
                if task is self._hedge:
                    self._meter.hedge_won()
                return _Won(task.result())
            if not isinstance(error, ShoalError) or not may_be_answered_elsewhere(error):
                raise error
            self._errors.append(error)
        return None

    def _send_more(self) -> None:
        if not self._running:
            self._meter.retried()
            self._send_next()
            return
        newest, now = self._newest(), self._clock()
        if now >= self._silent_at(newest):
            self._traffic.silent(newest)
            self._meter.retried()
            self._send_next()
        elif now >= self._hedge_at(newest):
            self._hedge_looked_at = True
            if newest.probe or self._traffic.hedges.spend():
                self._meter.hedged()
                self._hedge = self._send_next()

    def _newest(self) -> Sent:
        return next(reversed(self._running.values()))

    def _hedge_at(self, newest: Sent) -> float:
        return math.inf if self._hedge_looked_at else hedge_at(sent_at=newest.at, p95=self._p95, probe=newest.probe)

    def _silent_at(self, newest: Sent) -> float:
        return silent_at(sent_at=newest.at, heard_at=newest.traffic.heard_at, p95=self._p95, copies=len(self._running))

    async def _withdraw(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
