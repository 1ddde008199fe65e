"""What operators ask about replicas and workers: plans, drains and forgotten workers, put into the keys of the store as
the coordinator that leads puts them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ClusterId, ReplicaId, WorkerId
from shoal.core.rebalance import Drain, PlanKind, PlannedHandOver, PlannedMove, PlanState, RebalanceEntry, RebalancePlan
from shoal.core.shard_config import ShardConfig, replica_on
from shoal.store.rebalance_codecs import encode_drain, encode_rebalance
from tests.simulation.etcd import KEYS

if TYPE_CHECKING:
    from tests.simulation.world import World

FOLLOW_UP_S = 2.0

Item = tuple[WorkerId, WorkerId]
"""Source and target."""


class SimOperator:
    """The operators of one world. Each request is refused, by False, as the product refuses it: one plan at a time.

    given_up: workers that they have forgotten, or are about to forget.
    """

    def __init__(self, world: World) -> None:
        self._world, self._random = world, world.scheduler.random
        self._plans = 0
        self.given_up: set[WorkerId] = set()

    @property
    def map(self) -> ClusterMap:
        """Return the newest map."""
        return self._world.etcd.map

    # Plans

    def apply(self, moves: Sequence[Item], hand_overs: Sequence[Item] = (), kind: PlanKind = PlanKind.BALANCE, subject: str = "") -> bool:
        """Apply a plan: moves of replicas of the one shard, then hand-overs. Return whether no other one is left."""
        if self.map.rebalance is not None and not self.map.rebalance.ended:
            return False
        self._plans += 1
        shard = self._world.shard
        plan = RebalancePlan(
            id=hashlib.blake2b(f"plan {self._plans}".encode(), digest_size=3).hexdigest(),
            kind=kind,
            subject=subject,
            cluster=self.map.cluster or ClusterId("sim"),
            revision=self.map.revision,
            fingerprint="",
            tolerance=0.05,
            replicas=len(moves),
            workers=(),
            moves=tuple(
                PlannedMove(
                    number=number, collection="sim", shard=shard, source=source, target=target, memory_bytes=1, disk_bytes=1, why=""
                )
                for number, (source, target) in enumerate(moves, start=1)
            ),
            hand_overs=tuple(
                PlannedHandOver(number=number, collection="sim", shard=shard, source=source, target=target)
                for number, (source, target) in enumerate(hand_overs, start=len(moves) + 1)
            ),
            bytes=len(moves),
            least_bytes=0,
            seconds=1.0,
        )
        self._put(RebalanceEntry(plan=plan, state=PlanState.RUNS, asked_by="sim", started_ms=self._now_ms()))
        return True

    def control(self, state: PlanState) -> bool:
        """Pause the plan that runs, let the paused one go on, or cancel the active one."""
        entry = self.map.rebalance
        if entry is None or not entry.active or entry.state is state:
            return False
        self._put(dataclasses.replace(entry, state=state))
        return True

    def move(self, *, of_primary: bool | None = None) -> bool:
        """Apply a plan with one move of a replica in sync to a free worker."""
        source, targets = self._source(of_primary=of_primary), self.targets()
        if source is None or not targets:
            return False
        return self.apply([(source, self._random.choice(targets))])

    def hand_over(self) -> bool:
        """Apply a plan with one hand-over."""
        item = self._hand_over()
        return item is not None and self.apply([], [item])

    def mix(self) -> bool:
        """Apply a plan with several items, of which some may make no sense by the time they are due."""
        config, workers = self._world.config(), sorted(self._world.workers)
        if config is None:
            return False
        sources, targets = sorted(config.worker_of.values()), self.targets()
        self._random.shuffle(sources)
        self._random.shuffle(targets)
        moves = list(zip(sources, targets, strict=False))[: self._random.choice((1, 2, 2))]
        odd = WorkerId(self._random.choice(workers)), WorkerId(self._random.choice(workers))
        # No plan moves back what it has moved: its items would have no end.
        if self._random.random() < 0.3 and all(odd[0] != target and odd[1] != source for source, target in moves):
            moves.append(odd)
        ends = sorted({*config.worker_of.values(), *(target for _, target in moves)})
        primary = config.primary_worker
        hand_overs = [] if primary is None or self._random.random() < 0.4 else [(primary, self._random.choice(ends))]
        return self.apply([move for move in moves if move[0] != move[1]], [each for each in hand_overs if each[0] != each[1]])

    def _source(self, *, of_primary: bool | None) -> WorkerId | None:
        config = self._world.config()
        if config is None:
            return None
        stay = sorted(each for each in config.isr if each not in config.leaving)
        sources = [each for each in stay if of_primary is None or (each == config.primary) == of_primary]
        return config.worker_of[self._random.choice(sources)] if sources else None

    def _hand_over(self) -> Item | None:
        config = self._world.config()
        source = None if config is None else config.primary_worker
        if config is None or source is None:
            return None
        others = sorted(config.worker_of[each] for each in config.isr if each != config.primary and each not in config.leaving)
        others = [each for each in others if each not in self.map.drains]
        return (source, self._random.choice(others)) if others else None

    def targets(self) -> list[WorkerId]:
        """Return the workers to which a replica could be moved."""
        config, live = self._world.config(), self.map.workers
        taken = set() if config is None else set(config.worker_of.values())
        return [each for each in self.usable() if each not in taken and each in live and live[each].can_move]

    def usable(self) -> list[WorkerId]:
        """Return the workers that may hold replicas as far as operators are concerned, live or not."""
        banned = {*self._wholly_drained(), *self.map.forgotten, *self.given_up}
        return sorted(each.me for each in self._world.workers.values() if each.me not in banned)

    # Workers

    def drain(self, worker: WorkerId, *, primaries_only: bool) -> bool:
        """Drain a worker, with a plan for what it holds. Return whether the rest can hold it."""
        spared = primaries_only or self.can_spare(worker)
        if worker in self.map.forgotten or worker in self.map.drains or not spared:
            return False
        drain = Drain(primaries_only=primaries_only, asked_by="sim", since_ms=self._now_ms())
        self._world.etcd.put_now(KEYS.drain(worker), encode_drain(drain))
        self.follow_up()
        return True

    def undrain(self, worker: WorkerId) -> bool:
        """Let a worker hold and lead replicas again."""
        if worker not in self.map.drains:
            return False
        plan = self.map.rebalance
        if plan is not None and plan.active and plan.plan.subject == worker:
            self.control(PlanState.CANCELLED)
        self._world.etcd.delete_now(KEYS.drain(worker))
        return True

    def can_spare(self, worker: WorkerId) -> bool:
        """Return whether the other workers can hold all replicas, and one more is left for a move."""
        return sum(each != worker for each in self.usable()) > self._most_replicas()

    def forget(self, worker: WorkerId) -> bool:
        """Give a worker up. Return whether it is gone, and is not the only one with an eligible replica."""
        config, banned = self._world.config(), {worker, *self.map.forgotten}
        if config is None or worker in self.map.workers or worker in self.map.forgotten:
            return False
        eligible = [config.worker_of[member] for member in (*config.isr, *config.elr)]
        if all(home in banned for home in eligible):
            return False
        self._world.etcd.put_now(KEYS.forgotten(worker), b"{}")
        return True

    def follow_up(self) -> None:
        """Plan the drains of workers that still hold a replica, as operators do until a drained worker is empty."""
        config = self._world.config()
        for worker in self._wholly_drained():
            replica, targets = None if config is None else replica_on(config, worker), self.targets()
            if config is not None and replica is not None and self._stays(config, replica) and targets:
                self.apply([(worker, self._random.choice(targets))], kind=PlanKind.DRAIN, subject=worker)

    def wind_up(self) -> None:
        """End what is paused, end drains that the rest cannot bear, and follow up until the collection is dropped."""
        self.given_up = {*self.map.forgotten}
        if self.map.rebalance is not None and self.map.rebalance.state is PlanState.PAUSED:
            self.control(self._random.choice((PlanState.RUNS, PlanState.CANCELLED)))
        for worker in self._wholly_drained():
            if len(self.usable()) <= self._most_replicas():
                self.undrain(worker)
        self._follow_up_often()

    def unfinished(self) -> str | None:
        """Return what operators asked for and is not done yet; None if all is done."""
        config, plan = self._world.config(), self.map.rebalance
        if plan is not None and not plan.ended:
            return f"plan {plan.plan.id} {plan.state}"
        if config is None:
            return None
        left = [each for each in self._wholly_drained() if replica_on(config, each) is not None]
        if left and len(self.usable()) >= self._world.spec.replicas:
            return f"{left} are drained and hold replicas"
        willing = [each for each in config.isr if config.worker_of[each] not in self.map.drains]
        if willing and config.primary_worker in self.map.drains:
            return f"{config.primary_worker} is drained and leads"
        return None

    def _follow_up_often(self) -> None:
        if self._world.is_active():
            self.follow_up()
            self._world.scheduler.at(self._world.now + FOLLOW_UP_S, self._follow_up_often)

    def _wholly_drained(self) -> list[WorkerId]:
        return sorted(worker for worker, drain in self.map.drains.items() if not drain.primaries_only)

    def _most_replicas(self) -> int:
        return max(3, self._world.spec.replicas)

    def _stays(self, config: ShardConfig, replica: ReplicaId) -> bool:
        return replica in config.members and replica not in config.leaving

    def _put(self, entry: RebalanceEntry) -> None:
        self._world.etcd.put_now(KEYS.rebalance, encode_rebalance(entry))

    def _now_ms(self) -> int:
        return int(self._world.now * 1000)
