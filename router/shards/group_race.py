"""Sends the search of a group of shards to the worker of their first replicas, and to others if that one fails, is slow
or silent. The first answers that cover all shards win; the other calls are cancelled.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from shoal.core.deadline import Clock
from shoal.core.errors import ShoalError
from shoal.core.ids import ShardId
from shoal.core.shard_calls import OlderWorker
from shoal.router.logic.group_cover import Cover, GroupCall, GroupCover, Moves
from shoal.router.logic.hedge import hedge_at, silent_at
from shoal.router.logic.outcomes import error_of_shard
from shoal.router.logic.shard_groups import AskedAlone, ShardGroup
from shoal.router.shards.group_ask import F
from shoal.router.shards.metrics import ShardCallMeter
from shoal.router.shards.traffic import Sent, Traffic
from shoal.router.shards.under_way import Overtaken


@dataclass(frozen=True, slots=True)
class Raced(Generic[F]):
    """Answers that count, and the errors of the shards that none of them covers, by number."""

    found: tuple[F, ...]
    failed: Mapping[int, ShoalError]


@dataclass(frozen=True, slots=True, eq=False)
class _Running(Generic[F]):
    call: GroupCall
    sent: Sent
    task: asyncio.Task[F]


class GroupRace(Generic[F]):
    """The call on one group. shards: id of each shard, by number. ask: sends the call on a group to its worker.

    kind: name of a ReadKind for calls of this size.
    """

    def __init__(
        self,
        *,
        group: ShardGroup,
        alone: AskedAlone,
        shards: Mapping[int, ShardId],
        ask: Callable[[ShardGroup], Coroutine[Any, Any, F]],
        kind: str,
        traffic: Traffic,
        clock: Clock,
        meter: ShardCallMeter,
    ) -> None:
        self._cover = GroupCover(group, alone)
        self._shards, self._ask, self._kind = shards, ask, kind
        self._traffic, self._clock, self._meter = traffic, clock, meter
        self._p95 = traffic.times(kind).p95
        self._running: dict[int, _Running[F]] = {}
        self._leaving: list[asyncio.Task[F]] = []
        self._answers: dict[int, F] = {}
        self._hedge_looked_at = False
        self._hedges: frozenset[int] = frozenset()

    async def run(self) -> Raced[F]:
        """Return the first answers that cover the shards; shards that no replica answers have failed."""
        try:
            self._send((self._cover.first,))
            while (outcome := self._cover.outcome) is None:
                tasks = [each.task for each in self._running.values()]
                await asyncio.wait(tasks, timeout=self._patience_s(), return_when=asyncio.FIRST_COMPLETED)
                self._collect()
                if self._cover.outcome is None:
                    self._ask_others()
            return self._raced(outcome)
        finally:
            self._withdraw(tuple(self._running))
            if self._leaving:
                await asyncio.gather(*self._leaving, return_exceptions=True)

    def _send(self, calls: Sequence[GroupCall]) -> None:
        for call in calls:
            group = call.group
            sent = self._traffic.sent(tuple(self._shards[each] for each in group.numbers), group.worker, probe=group.probe)
            self._running[call.id] = _Running(call, sent, asyncio.create_task(self._copy(group, sent)))

    async def _copy(self, group: ShardGroup, sent: Sent) -> F:
        """Send the search to one worker, and record how it ended."""
        try:
            found = await self._ask(group)
        except (Overtaken, OlderWorker) as error:
            self._traffic.given_up(sent)
            self._meter.ended(error.status, len(sent.shards))
            raise
        except ShoalError as error:
            self._traffic.failed(sent, error)
            self._meter.ended(error.status, len(sent.shards))
            raise
        except BaseException:
            self._traffic.withdrawn(sent, self._kind)
            self._meter.ended("CANCELLED", len(sent.shards))
            raise
        self._traffic.answered(sent, self._kind, found.failed)
        self._meter.answered(len(sent.shards), found.failed.values())
        return found

    def _patience_s(self) -> float | None:
        """Return the seconds until the next decision if no answer comes before; None for no limit."""
        at = min((min(self._hedge_at(each), self._silent_at(each)) for each in self._replaceable()), default=math.inf)
        return None if at == math.inf else max(0.0, at - self._clock())

    def _collect(self) -> None:
        """Take the calls that have ended, and ask elsewhere for the shards that they do not answer."""
        for call, running in list(self._running.items()):
            if call not in self._running or not running.task.done():
                continue
            del self._running[call]
            error = running.task.exception()
            if error is None:
                found = self._answers[call] = running.task.result()
                moves = self._cover.ended(call, {shard.number: each for shard, each in found.failed.items()})
            elif isinstance(error, ShoalError):
                moves = self._cover.ended(call, dict.fromkeys(running.call.group.numbers, error))
            else:
                raise error
            self._again(moves)

    def _ask_others(self) -> None:
        """Send the search of a slow or silent worker to others, too."""
        now = self._clock()
        for running in self._replaceable():
            call = running.call.id
            if now >= self._silent_at(running):
                self._traffic.silent(running.sent)
                self._again(self._cover.slow(call))
            elif now >= self._hedge_at(running):
                self._hedge_looked_at = True
                if running.sent.probe or self._traffic.hedges.spend():
                    self._meter.hedged()
                    moves = self._cover.slow(call)
                    self._hedges = frozenset(each.id for each in moves.send)
                    self._send(moves.send)

    def _again(self, moves: Moves) -> None:
        self._withdraw(moves.withdraw)
        self._meter.retried(sum(len(each.group.shards) for each in moves.send))
        self._send(moves.send)

    def _replaceable(self) -> list[_Running[F]]:
        return [each for call, each in self._running.items() if self._cover.may_be_replaced(call)]

    def _hedge_at(self, running: _Running[F]) -> float:
        if self._hedge_looked_at:
            return math.inf
        return hedge_at(sent_at=running.sent.at, p95=self._p95, probe=running.sent.probe)

    def _silent_at(self, running: _Running[F]) -> float:
        sent = running.sent
        return silent_at(sent_at=sent.at, heard_at=sent.traffic.heard_at, p95=self._p95, copies=running.call.copies)

    def _raced(self, outcome: Cover) -> Raced[F]:
        if not self._hedges.isdisjoint(outcome.calls):
            self._meter.hedge_won()
        found = tuple(self._answers[call] for call in outcome.calls)
        return Raced(found, {number: error_of_shard(errors) for number, errors in outcome.missed.items()})

    def _withdraw(self, calls: Sequence[int]) -> None:
        for call in calls:
            running = self._running.pop(call)
            running.task.cancel()
            self._leaving.append(running.task)
