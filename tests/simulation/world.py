"""A whole cluster of one shard in virtual time: etcd, workers, two coordinators, clients, and the checkers of all of
them.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import CollectionId, ReplicaId, ShardId
from shoal.core.rebalance import PlannedHandOver, PlannedMove, RebalanceEntry
from shoal.core.shard_config import ShardConfig
from shoal.shard_worker.logic.replication.leadership import REPLAY_BYTES
from shoal.store.codecs import encode_collection
from tests.simulation.client import Client
from tests.simulation.committed import CommittedLog
from tests.simulation.configurations import Configurations
from tests.simulation.coordinator import Coordinator
from tests.simulation.disk import ReplicaDisk
from tests.simulation.etcd import KEYS, Etcd, Follower
from tests.simulation.history import History
from tests.simulation.holdings import Holdings
from tests.simulation.move_checks import unnamed_folders
from tests.simulation.network import Network
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.sim_operator import SimOperator
from tests.simulation.violation import Violation, hold
from tests.simulation.virtual_loop import VirtualLoop, forget
from tests.simulation.watcher import ReplicaWatcher
from tests.simulation.worker import Worker

ZONES = ("a", "b", "c")
COLLECTION = CollectionId("sim")
SETTLE_S = 90.0
REPLAYS_BYTES = (REPLAY_BYTES, 500, 10_000)
"""What replicas have as replay_bytes: no log of a world is as long as the usual bound, and most are longer than the
others."""


_worlds: list[World] = []


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for no cycles meanwhile. Tasks and their exceptions are cycles, and to look for them all the time
    would take a third of it.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def end_world() -> None:
    """Delete what has not ended in the last world. There is one world at a time in a process."""
    for world in _worlds:
        forget(world.loops)
    _worlds.clear()


class World:
    """One history. trace: called with a line for every notable event."""

    def __init__(self, seed: int, *, workers: int = 4, clients: int = 3, replicas: int = 3, think_s: float = 0.3) -> None:
        end_world()
        _worlds.append(self)
        self.seed = seed
        self.replay_bytes = REPLAYS_BYTES[seed % len(REPLAYS_BYTES)]
        self.scheduler = Scheduler(seed)
        self.network = Network(self.scheduler)
        self.committed = CommittedLog()
        self.holdings = Holdings()
        self.configurations = Configurations(self.committed, self.holdings)
        self.history = History(self.committed)
        self.watcher = ReplicaWatcher(self.committed, self.holdings, self.configurations)
        self.counts: Counter[str] = Counter()
        self.lines: list[str] | None = None
        self.shard = ShardId(COLLECTION, 0)
        self._ids = 0
        self._loops: dict[Process, VirtualLoop] = {}
        self.loops: list[VirtualLoop] = []
        self.etcd = Etcd(self.scheduler, self.network, self._changed)
        self.workers = {name: Worker(self, name, ZONES[at % len(ZONES)]) for at, name in enumerate(f"w{n}" for n in range(workers))}
        self.coordinators = [Coordinator(self, f"k{number}") for number in range(2)]
        self.clients = [Client(self, f"c{number}", think_s) for number in range(clients)]
        self.spec = CollectionSpec(name="sim", dim=2, replicas=replicas)
        self.operator = SimOperator(self)

    @property
    def now(self) -> float:
        """Return the seconds since the beginning."""
        return self.scheduler.now

    def begin(self) -> None:
        """Start every process and create the collection."""
        for process in self.followers():
            process.boot()
        self._put_collection(CollectionState.CREATING)

    def alter(self, replicas: int, *, min_isr: int = 0) -> None:
        """Change the replica count, as an operator does. min_isr: 0 for the default."""
        if self.is_active():
            self.spec = CollectionSpec(name="sim", dim=2, replicas=replicas, min_isr_set=min_isr)
            self._put_collection(CollectionState.ACTIVE)

    def config(self) -> ShardConfig | None:
        """Return the configuration in force."""
        newest = self.configurations.newest
        return None if newest is None else newest.config

    def new_replica_id(self, worker: str) -> ReplicaId:
        """Return an id that was never used before."""
        self._ids += 1
        return ReplicaId(hashlib.blake2b(f"{self.seed} {worker} {self._ids}".encode(), digest_size=6).hexdigest())

    def followers(self) -> list[Follower]:
        """Return every process but etcd."""
        return [*self.servers(), *self.clients]

    def servers(self) -> list[Follower]:
        """Return the workers and coordinators."""
        return [*self.workers.values(), *self.coordinators]

    def new_loop(self, process: Process) -> VirtualLoop:
        """Return the event loop of the life that the process has begun."""
        self._loops[process] = loop = VirtualLoop(process)
        self.loops.append(loop)
        return loop

    def loop_of(self, process: Process) -> VirtualLoop:
        """Return the event loop of the process's newest life."""
        return self._loops[process]

    def trace(self, line: str) -> None:
        """Note a notable event."""
        if self.lines is not None:
            self.lines.append(f"{self.now:9.4f} {line}")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.scheduler.run(self.now + seconds)

    def run_until(self, condition: object, seconds: float) -> bool:
        """Let time pass until condition() holds, at most `seconds`. Return whether it holds."""
        assert callable(condition)
        end = self.now + seconds
        while self.now < end and not condition():
            self.scheduler.run(min(end, self.now + 0.05))
        return bool(condition())

    def finish(self, whole: Callable[[], None] = lambda: None) -> None:
        """Check, after all faults, that the cluster becomes whole, all clients can write, and all replicas agree.

        whole: called as soon as it is whole.
        """
        healed_at = self.now

        def heals() -> bool:
            return self.is_whole() and all(client.succeeded_at > healed_at for client in self.clients)

        if not self.run_until(heals, SETTLE_S):
            raise Violation("heals", f"{SETTLE_S} s after the last fault: {self.shape()}")
        whole()
        self.stop_clients()
        self.run_until(self._is_quiet, 20.0)
        self._check_equal()
        self.history.check_end()
        self.drop()

    def stop_clients(self) -> None:
        """Let every client end its call and make no other one."""
        for client in self.clients:
            client.stopping = True
        hold(self.run_until(lambda: all(client.stopped for client in self.clients), 60.0), "heals", f"a client hangs: {self.shape()}")

    def is_active(self) -> bool:
        """Return whether the collection has been created."""
        held = self.etcd.map.collections.get(COLLECTION)
        return held is not None and held.state is CollectionState.ACTIVE

    def is_whole(self) -> bool:
        """Return whether the shard has all its replicas in sync, and nothing else."""
        config = self.config()
        if config is None or config.elr or config.learners or config.leaving or config.move or config.successor:
            return False
        if self.operator.unfinished() is not None or self._left_over(config):
            return False
        return len(config.isr) == config.rf == self.spec.replicas and config.min_isr == self.spec.min_isr

    def servers_in_use(self) -> list[Follower]:
        """Return the workers and coordinators without the workers that operators have forgotten."""
        return [each for each in self.servers() if each.name not in self.etcd.map.forgotten]

    def _left_over(self, config: ShardConfig) -> list[ReplicaId]:
        """Return the replicas on live workers that have folders and no place in the configuration."""
        orphans = self.configurations.moves.orphans
        live = (worker for name, worker in self.workers.items() if name in self.etcd.map.workers)
        return [each for worker in live for each in unnamed_folders(self.shard, config, worker.disk.folders.keys(), orphans)]

    def shape(self) -> str:
        """Return the configuration and its replicas in one line."""
        config, shown = self.config(), []
        if config is None:
            return "no configuration"
        for member, home in sorted(config.worker_of.items()):
            worker = self.workers[home]
            replica = worker.replicas.get(self.shard) if worker.alive else None
            role = "closed" if replica is None or replica.id != member else replica.machine.role_name
            shown.append(f"{member[:6]}@{home}:{role}" + ("" if replica is None else f":{replica.machine.applied_seq}"))
        groups = f"isr={_short(config.isr)} elr={_short(config.elr)} learners={_short(config.learners)} leaving={_short(config.leaving)}"
        move = "" if config.move is None else f" move {config.move.source[:6]}->{config.move.target[:6]}"
        successor = "" if config.successor is None else f" successor {config.successor[:6]}"
        wanted = f"rf {config.rf} min {config.min_isr}{move}{successor}"
        asked = self.operator.unfinished()
        return (
            f"term {config.term} primary {config.primary[:6]} reg {config.primary_reg} {wanted} {groups} {shown}"
            f"{'' if asked is None else f'; {asked}'}"
        )

    def _is_quiet(self) -> bool:
        return all(disk.store.applied == self.committed.last_seq for disk in self._isr_disks())

    def _isr_disks(self) -> list[ReplicaDisk]:
        config = self.config()
        assert config is not None
        return [self.holdings.disks[member] for member in config.isr]

    def _check_equal(self) -> None:
        truth = self.committed.points()
        for disk in self._isr_disks():
            store = disk.store
            same = store.points == truth and store.applied == self.committed.last_seq
            hold(same, "replicas are equal after healing", f"{disk.replica}: {store.applied} of {self.committed.last_seq}; {self.shape()}")

    def drop(self) -> None:
        """Drop the collection while a worker crashes and returns; nothing of it may be left.

        Two exceptions: workers that are away for too long; and orphaned folders of a swap whose answer was lost, on
        workers that hold no other replica.
        """
        config = self.config()
        assert config is not None
        homes = {*config.worker_of.values()} & set(self.etcd.map.workers)
        self._put_collection(CollectionState.DROPPING)
        victim = self.workers[self.scheduler.random.choice(sorted(set(self.workers) - set(self.etcd.map.forgotten)))]
        self.run(0.3 * self.scheduler.random.random())
        victim.crash(power=True)
        self.scheduler.at(self.now + 1.0, victim.boot)
        gone = self.run_until(lambda: not self.etcd.map.shards and not self.etcd.map.collections, SETTLE_S)
        left = sorted(replica for name, worker in self.workers.items() if name in homes for _, replica in worker.disk.folders)
        hold(gone and not left, "a dropped collection leaves nothing", f"folders {left}, shards {list(self.etcd.map.shards)}")

    def _put_collection(self, state: CollectionState) -> None:
        collection = Collection(id=COLLECTION, spec=self.spec, state=state, request_id="q")
        self.etcd.put_now(KEYS.collection(COLLECTION), encode_collection(collection))

    def _changed(self, before: ClusterMap, after: ClusterMap) -> None:
        entry = after.shards.get(self.shard)
        collection = after.collections.get(COLLECTION)
        lives = collection is not None and collection.state is not CollectionState.DROPPING
        if entry != before.shards.get(self.shard) and entry is not None and lives:
            self.history.note("config", entry.epoch, entry.config.term, entry.config.isr)
            self.configurations.see(self.shard, entry, after)
            self.trace(f"epoch {entry.epoch}: {self.shape() if self.lines is not None else ''}")
        if self.lines is not None and before.rebalance != after.rebalance and after.rebalance is not None:
            self.trace(f"plan: {_told(after.rebalance)}")
        if self.lines is not None and (before.drains, before.forgotten) != (after.drains, after.forgotten):
            self.trace(f"drained: {sorted(after.drains)}, forgotten: {sorted(after.forgotten)}")
        if self.lines is not None and before.workers != after.workers:
            self.trace(f"workers: {sorted((name, worker.registration) for name, worker in after.workers.items())}")


def _told(entry: RebalanceEntry) -> str:
    items: tuple[PlannedMove | PlannedHandOver, ...] = (*entry.plan.moves, *entry.plan.hand_overs)
    ends = {item.number: entry.outcomes.get(item.number, "") or entry.given_up.get(item.number, "") for item in items}
    shown = ", ".join(f"{type(item).__name__} {item.source}->{item.target} {ends[item.number]}".strip() for item in items)
    return f"{entry.plan.id} {entry.state}: {shown}"


def _short(members: tuple[ReplicaId, ...]) -> list[str]:
    return [member[:6] for member in members]
