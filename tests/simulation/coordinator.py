"""A coordinator: the product's election, rounds and commits, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.coordinator.act import Actor
from shoal.coordinator.election import Election
from shoal.coordinator.logic.reconcile import Questions
from shoal.coordinator.logic.snapshot import Told
from shoal.coordinator.logic.steps import ElectPrimary, Step
from shoal.coordinator.loop import Loop
from shoal.coordinator.server import COMMITS_AT_ONCE, STEPS_PER_ROUND
from shoal.coordinator.worker_reports import WorkerReports
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, replica_on
from shoal.runtime.change_signal import ChangeSignal
from tests.simulation.etcd import KEYS, Follower
from tests.simulation.network import Handler, NoAnswer, NobodyThere
from tests.simulation.sim_store import SimStore
from tests.simulation.violation import hold
from tests.simulation.virtual_loop import TICKS_PER_TTL, VirtualThreads

if TYPE_CHECKING:
    from tests.simulation.world import World

TTL_S = 5
STORE_TIMEOUT_S = 3.0
EVERY_S = 1.0
REPLACE_AFTER_S = 15.0
UNTOLD = "inv 8: data is deleted only where as many others have just told that they are open"
SILENCE = 'inv 9: silence after "it is not open" elects nobody'


class Coordinator(Follower):
    """One candidate for the leadership. `boot` begins a life."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.scheduler, name, rate=1.0 + world.scheduler.random.uniform(-0.024, 0.024))
        self._world = world

    def boot(self) -> None:
        """Start the process."""
        self.start()
        loop, self._heard, self._rounds = self._world.new_loop(self), Heard(), 0
        changes, store = ChangeSignal(), SimStore(self._world.etcd, self, loop)
        self.observer = self._world.etcd.observe(self, lambda _: changes.notify())
        self._election = Election(
            store=store,
            keys=KEYS,
            observer=self.observer,
            changes=changes,
            clock=self.clock,
            lease_ttl_s=TTL_S,
            timeout_s=STORE_TIMEOUT_S,
            threads=VirtualThreads(self),
            ticks_per_ttl=TICKS_PER_TTL,
        )
        actor = CheckedActor(
            self._heard, store=store, keys=KEYS, leadership=self._election.leadership, at_once=COMMITS_AT_ONCE, timeout_s=STORE_TIMEOUT_S
        )
        reports = SimReports(self, self._world, self._heard)
        statuses = WorkerReports(calls=reports, cluster=lambda: self.map, leads=self._leads, clock=self.clock)
        rounds = Loop(
            observer=self.observer,
            changes=changes,
            actor=actor,
            reports=reports,
            leads=self._leads,
            new_seed=self._new_seed,
            clock=self.clock,
            every_s=EVERY_S,
            replace_after_s=REPLACE_AFTER_S,
            steps_per_round=STEPS_PER_ROUND,
            statuses=statuses.newest,
            wall_ms=self.wall_ms,
        )
        loop.spawn(self._election.run(self.name))
        loop.spawn(rounds.run())
        loop.spawn(statuses.run())

    @property
    def map(self) -> ClusterMap:
        """Return the map as it sees it."""
        return self.observer.map

    def _leads(self) -> bool:
        leads = self._election.leadership() is not None
        if not leads:
            self._heard.closed.clear()
        return leads

    def _new_seed(self) -> str:
        self._rounds += 1
        return f"{self.name} {self.life} {self._rounds}"


class Heard:
    """The answers of workers, kept for the checker, which does not rely on the product's own memory.

    closed: replicas reported as not open, with the registration of their workers; open_now: replicas reported as open
    in this round.
    """

    def __init__(self) -> None:
        self.closed: dict[ReplicaId, Revision] = {}
        self.open_now: frozenset[ReplicaId] = frozenset()

    def note(self, asked: Questions, told: Told, seen: ClusterMap) -> None:
        """Note the answers of one round."""
        self.open_now = frozenset(told.ends)
        for worker in told.answered:
            for shard in asked[worker]:
                replica = replica_on(seen.shards[shard].config, worker)
                if replica is not None and replica in told.ends:
                    self.closed.pop(replica, None)
                elif replica is not None:
                    self.closed[replica] = seen.workers[worker].registration


class CheckedActor(Actor):
    """An Actor whose steps are checked against the answers of workers (invariants 8 and 9)."""

    def __init__(self, heard: Heard, **parts: object) -> None:
        super().__init__(**parts)  # type: ignore[arg-type]
        self._heard = heard

    async def carry_out(self, steps: Sequence[Step]) -> Revision:
        """See Actor."""
        for step in steps:
            self._check(step)
        self._heard.open_now = frozenset()
        return await super().carry_out(steps)

    def _check(self, step: Step) -> None:
        before, after = getattr(step, "before", None), getattr(step, "config", None)
        if isinstance(before, ShardEntry) and isinstance(after, ShardConfig) and before.config.state is ShardState.ACTIVE:
            for victim in sorted({*after.leaving} - {*before.config.leaving}):
                self._check_tombstone(before.config, victim)
        if isinstance(step, ElectPrimary):
            elected, others = step.config.primary, {*step.config.isr, *step.config.elr} - {step.config.primary}
            hears_closed = self._heard.closed.get(elected) == step.config.primary_reg
            hold(not (others and hears_closed), SILENCE, f"{elected} is elected, last heard of was that it is not open")

    def _check_tombstone(self, config: ShardConfig, victim: ReplicaId) -> None:
        open_now = self._heard.open_now
        keep = [each for each in config.isr if each != victim and each not in config.leaving and each in open_now]
        hold(len(keep) >= config.rf, UNTOLD, f"{victim} gets its tombstone, {keep} have told that they are open, {config.rf} are wanted")


class SimReports:
    """ReplicaReports over the simulated network."""

    def __init__(self, coordinator: Coordinator, world: World, heard: Heard) -> None:
        self._coordinator, self._world, self._heard = coordinator, world, heard
        self._loop = world.loop_of(coordinator)

    async def log_ends(self, questions: Questions, workers: Mapping[WorkerId, WorkerEntry], timeout_s: float) -> Told:
        """See ReplicaReports."""
        seen = self._coordinator.map
        answers = await asyncio.gather(*(self._ask(worker, shards, timeout_s) for worker, shards in questions.items()))
        heard = {worker: answer for worker, answer in zip(questions, answers, strict=True) if answer is not None}
        ends = {replica: end for answer in heard.values() for replica, end in answer.items()}
        told = Told(ends=ends, answered=heard.keys())
        self._heard.note(questions, told, seen)
        return told

    async def failures(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, frozenset[str]]:
        """Not simulated: only recoveries call it."""
        raise NotImplementedError

    async def statuses(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, WorkerStatus]:
        """See StatusCalls."""
        asked = [each.id for each in workers]
        answers = await asyncio.gather(*(self._call(worker, self._world.workers[worker].status, timeout_s) for worker in asked))
        return {worker: answer for worker, answer in zip(asked, answers, strict=True) if answer is not None}

    async def _ask(self, worker: WorkerId, shards: Sequence[ShardId], timeout_s: float) -> Mapping[ReplicaId, LogEnd] | None:
        target = self._world.workers[worker]
        answer: Mapping[ReplicaId, LogEnd] | None = await self._call(
            worker, lambda resume: target.log_ends(tuple(shards), resume), timeout_s
        )
        return answer

    async def _call(self, worker: WorkerId, handler: Handler, timeout_s: float) -> Any:
        """Return the answer of a worker, None for none."""
        call = self._world.network.call(self._coordinator, self._world.workers[worker], handler, timeout_s)
        try:
            return await self._loop.wait(call)
        except (NoAnswer, NobodyThere):
            return None
