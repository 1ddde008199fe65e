"""The tools of directed scripts: a settled cluster, names for its workers, and faults at exact moments."""

from __future__ import annotations

from collections.abc import Callable

from shoal.core.ids import ReplicaId, WorkerId
from shoal.core.shard_config import ShardConfig
from shoal.store.codecs import decode_shard
from shoal.store.interface import Put, Transaction
from tests.simulation.client import WRITES, Client
from tests.simulation.coordinator import Coordinator
from tests.simulation.etcd import KEYS, Follower, Order
from tests.simulation.network import Mishap
from tests.simulation.violation import Violation
from tests.simulation.worker import Worker
from tests.simulation.world import World

Judge = Callable[[ShardConfig, ShardConfig], bool]
"""Judges a change: the configuration in force and the requested one."""


class Stage:
    """One script's world."""

    def __init__(self, seed: int, *, workers: int = 4, replicas: int = 3, clients: int = 3) -> None:
        self.world = World(seed, workers=workers, replicas=replicas, clients=clients, think_s=0.1)
        self.begin()

    def begin(self) -> None:
        """Start every process, and let time pass until the cluster is whole."""
        self.world.begin()
        self.until(self._is_settled, "a whole cluster")

    def _is_settled(self) -> bool:
        world = self.world
        return world.is_active() and world.is_whole() and all(client.succeeded_at > 0 for client in world.clients)

    @classmethod
    def of(cls, world: World) -> Stage:
        """Return the stage of a world that has not begun yet."""
        stage = cls.__new__(cls)
        stage.world = world
        return stage

    # Whom

    @property
    def config(self) -> ShardConfig:
        """Return the configuration in force."""
        config = self.world.config()
        assert config is not None
        return config

    @property
    def primary(self) -> Worker:
        """Return the worker of the primary."""
        home = self.config.primary_worker
        assert home is not None
        return self.world.workers[home]

    def backups(self) -> list[Worker]:
        """Return the workers of the other members of the isr."""
        config = self.config
        return [self.world.workers[config.worker_of[member]] for member in config.isr if member != config.primary]

    def worker_of(self, replica: ReplicaId) -> Worker:
        """Return the worker of a replica."""
        return self.world.workers[self.config.worker_of[replica]]

    def free(self) -> list[Worker]:
        """Return the workers that hold nothing."""
        taken = set(self.config.worker_of.values())
        return [worker for worker in self.world.workers.values() if worker.me not in taken]

    def homes(self) -> set[WorkerId]:
        """Return the workers of all replicas."""
        return set(self.config.worker_of.values())

    @property
    def leader(self) -> Coordinator:
        """Return the coordinator that leads."""
        self.until(lambda: self.world.etcd.map.leader is not None, "leading coordinator")
        leader = self.world.etcd.map.leader
        assert leader is not None
        return next(each for each in self.world.coordinators if each.name == leader.address)

    # What operators ask

    def move(self, source: Worker, target: Worker) -> None:
        """Apply a plan with one move."""
        assert self.world.operator.apply([(source.me, target.me)])

    def until_moved(self, seconds: float = 60.0) -> None:
        """Let time pass until no plan is active and no shard moves."""
        operator = self.world.operator
        self.until(lambda: self.config.move is None and operator.unfinished() is None and self.world.is_whole(), "end of the plan", seconds)

    # Time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
        """Let time pass until a condition holds. It must hold within `seconds`."""
        self.world.scheduler.run(self.world.now + seconds, stop=condition)
        if not condition():
            raise Violation("the script gets where it wants", f"no {what} within {seconds} s: {self.world.shape()}")

    def until_elected(self) -> None:
        """Let time pass until the next term begins."""
        term = self.config.term
        self.until(lambda: self.config.term > term, f"term after {term}")

    def until_written(self, count: int = 1) -> None:
        """Let time pass until `count` more writes are acknowledged."""
        enough = len(self.world.history.acknowledged) + count
        self.until(lambda: len(self.world.history.acknowledged) >= enough, f"{count} more writes")

    # Faults

    def cut(self, worker: Worker, *others: str) -> None:
        """Let no message pass between a worker and others."""
        for other in others:
            self.world.network.sever(worker.name, other)

    def cut_from_members(self, worker: Worker) -> None:
        """Let no message pass between a worker and the other workers."""
        self.cut(worker, *(name for name in self.world.workers if name != worker.name))

    def cut_from_etcd(self, worker: Worker) -> None:
        """Let no message pass between a worker and etcd."""
        self.cut(worker, "etcd")

    def cut_back(self, worker: Worker, other: str) -> None:
        """Let a worker and another process reach each other again."""
        self.world.network.cut -= {(worker.name, other), (other, worker.name)}

    def lag(self, *processes: Follower, seconds: float) -> None:
        """Let the maps of these processes stay unchanged for `seconds`."""
        for process in processes:
            process.observer.lag_until = self.world.now + seconds

    def only_reads(self, client: Client) -> None:
        """Let a client write no more, so that no write that cannot end keeps it from reading."""
        client.writes = 0.0

    def order(self, judge: Judge, mishap: Mishap | None, met: Callable[[], None]) -> list[bool]:
        """Let the next change of the configuration of this kind meet a mishap.

        The returned list is not empty once that has happened.
        """
        happened: list[bool] = []

        def wanted(transaction: Transaction) -> bool:
            asked = [each for each in transaction.then if isinstance(each, Put) and each.key == KEYS.shard(self.world.shard)]
            return bool(asked) and judge(self.config, decode_shard(self.world.shard, asked[0].key, asked[0].value))

        def note() -> None:
            happened.append(True)
            met()

        self.world.etcd.orders.append(Order(wanted=wanted, mishap=mishap, met=note))
        return happened

    def finish(self, whole: Callable[[], None] = lambda: None) -> None:
        """End all faults, and check that the cluster becomes whole. whole: called when it is."""
        world = self.world
        world.network.heal()
        world.etcd.wake()
        for process in world.servers_in_use():
            process.wake()
            if not process.alive:
                process.boot()
        for process in world.followers():
            process.observer.lag_until = 0.0
        for worker in world.workers.values():
            worker.disk.slow, worker.disk.full, worker.disk.opens = 1.0, False, True
        for worker in world.workers.values():
            worker.builds_until = 0.0
        for client in world.clients:
            client.writes = WRITES
        world.operator.wind_up()
        world.finish(whole)


def expands(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether a change adds a member to the isr."""
    return before.term == after.term and len(after.isr) > len(before.isr)


def shrinks(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether a change removes a member from the isr."""
    return before.term == after.term and len(after.isr) < len(before.isr)


def begins_move(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether a change begins a move."""
    return before.move is None and after.move is not None


def target_joins(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether the target of a move gets in sync."""
    return after.move is not None and after.move.target in after.isr and after.move.target not in before.isr


def asks_to_hand_over(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether a change asks the primary to hand over."""
    return before.successor is None and after.successor is not None


def hands_over(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether the primary makes another replica primary."""
    return after.term == before.term + 1 and before.successor is not None and after.primary == before.successor


def source_leaves(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether the source of a move gets its tombstone."""
    return before.move is not None and before.move.source in after.leaving and before.move.source not in before.leaving


def target_leaves(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether the target of a move that is given up gets its tombstone."""
    return before.move is not None and before.move.target in after.leaving and before.move.target not in before.leaving


def gives_up(before: ShardConfig, after: ShardConfig) -> bool:
    """Return whether a change gives up the eligible replicas."""
    return before.term == after.term and bool(before.elr) and not after.elr
