"""The faults of a seeded history: faults of every kind, drawn one after the other, each with its end.

Data is wiped or damaged only if another member that may lead has everything on its disk. Until the harmed member has
left, no second disk is wiped, damaged or filled. So the cluster is only asked for what its replicas can give.
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.core.ids import ReplicaId
from shoal.core.shard_config import ShardConfig, replica_on
from tests.simulation.network import Weather
from tests.simulation.operator_faults import OperatorFaults
from tests.simulation.scheduler import Process
from tests.simulation.worker import Worker
from tests.simulation.world import World

BETWEEN_S = (0.2, 3.0)
AWAY_S = (12.0, 45.0)
"""Shorter and longer than replace_after_s: a returning worker may find that its replicas were replaced."""

STUTTER_S, MOMENT_S, BREATH_S = 30.0, (0.1, 2.0), (0.3, 3.0)
"""How long a worker stutters; how long it is silent each time: on both sides of the time within which it should answer;
and in between.
"""


class Faults:
    """Draws faults until `stop`, then ends them all."""

    def __init__(self, world: World) -> None:
        self._world, self._random = world, world.scheduler.random
        self._stopped = False
        self._kinds: list[tuple[int, str, Callable[[], bool]]] = [
            (10, "crash of the primary", self._crash_primary),
            (8, "crash", self._crash),
            (5, "pause of the primary", self._pause_primary),
            (4, "pause", self._pause),
            (5, "primary cut from members", self._cut_primary_from_members),
            (4, "primary cut from etcd", self._cut_primary_from_etcd),
            (4, "worker cut from etcd", self._cut_from_etcd),
            (4, "worker cut off", self._cut_off),
            (3, "one-way cut", self._cut_one_way),
            (5, "bad network", self._bad_network),
            (4, "etcd pauses", self._pause_etcd),
            (6, "commits unsure", self._unsure_commits),
            (3, "watch lags", self._lag),
            (4, "slow disk", self._slow_disk),
            (2, "full disk", self._full_disk),
            (2, "disk wiped", self._wipe),
            (2, "replica folder lost", self._lose_folder),
            (2, "replica damaged", self._damage),
            (2, "flush fails", self._break_flush),
            (3, "lease lost", self._lose_lease),
            (2, "primary's lease lost, with old maps", self._lose_lease_unseen),
            (3, "coordinator crash", self._crash_coordinator),
            (2, "coordinator pause", self._pause_coordinator),
            (3, "replicas altered", self._alter),
            (2, "worker gone for long", self._crash_for_long),
            (2, "stutter", self._stutter),
            (4, "data lost while another is away", self._lose_data_while_another_is_away),
            (1, "worker cut from coordinators", self._cut_from_coordinators),
            *OperatorFaults(world, self).kinds,
        ]
        self._weights = [weight for weight, _, _ in self._kinds]
        self._draw_later()

    def stop(self) -> None:
        """Begin no more faults; repair everything that can be repaired."""
        world = self._world
        self._stopped = True
        world.network.heal()
        world.etcd.unsure = world.etcd.stale = 0.0
        world.etcd.orders.clear()
        world.etcd.wake()
        for process in world.servers_in_use():
            process.wake()
            if not process.alive:
                process.boot()
            process.observer.lag_until = 0.0
        in_use = [worker for worker in world.workers.values() if worker.alive]
        for worker in in_use:
            worker.disk.slow, worker.disk.full, worker.disk.opens, worker.disk.breaks = 1.0, False, True, False
            if self._waits_for_its_operator(worker) or not worker.moves:
                worker.crash(power=False)
                worker.moves = True
                worker.boot()
        world.operator.wind_up()

    def _waits_for_its_operator(self, worker: Worker) -> bool:
        """Return whether a replica here failed that alone may lead: nothing but a restart of its process helps.

        Its flush failed just after it had taken the others, whose workers were away, out of the isr.
        """
        config = self._world.config()
        mine = None if config is None else replica_on(config, worker.me)
        if config is None or mine is None or not worker.has_failed():
            return False
        return all(member == mine for member in (*config.isr, *config.elr))

    def _draw_later(self) -> None:
        self._world.scheduler.at(self._world.now + self._random.uniform(*BETWEEN_S), self._draw)

    def _draw(self) -> None:
        if self._stopped:
            return
        self._draw_later()
        config = self._world.config()
        if config is None or self._world.committed.last_seq == 0:
            return
        _, name, begin = self._random.choices(self._kinds, self._weights)[0]
        if begin():
            self._world.counts[f"fault: {name}"] += 1
            self._world.trace(f"fault: {name}")

    def _is_fragile(self) -> bool:
        """Return whether a wiped replica is still a member: until it has left, no other fault may take data from the
        others.
        """
        config = self._config()
        broken = any(each.disk.breaks or (each.alive and each.has_failed()) for each in self._world.workers.values())
        return broken or any(member in self._world.holdings.lost for member in (*config.isr, *config.elr))

    def later(self, low_s: float, high_s: float, work: Callable[[], None]) -> bool:
        """Do work later, unless the faults are over by then. Return True."""

        def end() -> None:
            if not self._stopped:
                work()

        self._world.scheduler.at(self._world.now + self._random.uniform(low_s, high_s), end)
        return True

    # Whom

    def _config(self) -> ShardConfig:
        config = self._world.config()
        assert config is not None
        return config

    def _primary(self) -> Worker | None:
        home = self._config().primary_worker
        worker = None if home is None else self._world.workers[home]
        return worker if worker is not None and worker.alive and not worker.paused else None

    def running_worker(self) -> Worker | None:
        """Return a worker that runs; mostly one that holds the shard."""
        config = self._config()
        homes = sorted(set(config.worker_of.values())) if self._random.random() < 0.8 else sorted(self._world.workers)
        worker = self._world.workers[self._random.choice(homes or sorted(self._world.workers))]
        return worker if worker.alive and not worker.paused else None

    # Processes

    def crash_worker(self, worker: Worker | None, low_s: float, high_s: float) -> bool:
        """Crash a worker, and boot it some seconds later. Return False for no worker."""
        if worker is None:
            return False
        worker.crash(power=self._random.random() < 0.5)
        return self.later(low_s, high_s, lambda: self._boot(worker))

    def _boot(self, worker: Worker) -> None:
        if not worker.alive and worker.me not in self._world.operator.given_up:
            worker.boot()

    def _crash_primary(self) -> bool:
        return self.crash_worker(self._primary(), 0.1, 9.0)

    def _crash(self) -> bool:
        return self.crash_worker(self.running_worker(), 0.1, 9.0)

    def _crash_for_long(self) -> bool:
        return self.crash_worker(self.running_worker(), 18.0, 35.0)

    def _pause_process(self, process: Process | None, low_s: float, high_s: float) -> bool:
        if process is None or not process.alive or process.paused:
            return False
        process.pause()
        return self.later(low_s, high_s, process.wake)

    def _stutter(self) -> bool:
        """A worker stops for a moment, again and again."""
        worker = self.running_worker()
        if worker is not None:
            self._be_silent_now_and_then(worker, self._world.now + STUTTER_S)
        return worker is not None

    def _be_silent_now_and_then(self, worker: Worker, until_s: float) -> None:
        def moment() -> None:
            if worker.alive and not worker.paused:
                worker.pause()
                self.later(*MOMENT_S, worker.wake)
            if self._world.now < until_s:
                self.later(*BREATH_S, moment)

        self.later(*BREATH_S, moment)

    def _pause_primary(self) -> bool:
        return self._pause_process(self._primary(), 0.3, 11.0)

    def _pause(self) -> bool:
        return self._pause_process(self.running_worker(), 0.3, 11.0)

    def _crash_coordinator(self) -> bool:
        coordinator = self._random.choice(self._world.coordinators)
        if not coordinator.alive:
            return False
        coordinator.kill()
        return self.later(0.2, 9.0, lambda: None if coordinator.alive else coordinator.boot())

    def _pause_coordinator(self) -> bool:
        return self._pause_process(self._random.choice(self._world.coordinators), 0.5, 11.0)

    # Network

    def _cut(self, worker: Worker | None, others: list[str], *, both_ways: bool = True, for_s: tuple[float, float] = (0.5, 12.0)) -> bool:
        if worker is None:
            return False
        network = self._world.network
        pairs = {(worker.name, other) for other in others if other != worker.name}
        pairs |= {(other, one) for one, other in pairs} if both_ways else set()
        new = pairs - network.cut
        network.cut |= new
        return self.later(*for_s, lambda: network.cut.difference_update(new))

    def _workers(self) -> list[str]:
        return sorted(self._world.workers)

    def _cut_primary_from_members(self) -> bool:
        return self._cut(self._primary(), self._workers())

    def _cut_primary_from_etcd(self) -> bool:
        return self._cut(self._primary(), ["etcd", *(each.name for each in self._world.coordinators)])

    def _cut_from_coordinators(self) -> bool:
        """A worker is registered, serves and answers all others, but no coordinator can reach it."""
        return self._cut(self.running_worker(), [each.name for each in self._world.coordinators], for_s=(2.0, 25.0))

    def _cut_from_etcd(self) -> bool:
        return self._cut(self.running_worker(), ["etcd"])

    def _cut_off(self) -> bool:
        others = [*self._workers(), "etcd", *(each.name for each in (*self._world.coordinators, *self._world.clients))]
        return self._cut(self.running_worker(), others)

    def _cut_one_way(self) -> bool:
        return self._cut(self.running_worker(), self._random.choice([self._workers(), ["etcd"], self._workers()[:1]]), both_ways=False)

    def _bad_network(self) -> bool:
        weather = Weather(
            loss=self._random.choice([0.0, 0.02, 0.2]), slow=self._random.choice([0.05, 0.3]), slow_s=self._random.choice([0.2, 3.0])
        )
        self._world.network.weather = weather
        return self.later(1.0, 6.0, lambda: setattr(self._world.network, "weather", Weather()))

    # etcd

    def _pause_etcd(self) -> bool:
        return self._pause_process(self._world.etcd, 0.3, 7.0)

    def _unsure_commits(self) -> bool:
        etcd = self._world.etcd
        etcd.unsure, etcd.stale = self._random.choice([0.2, 0.6]), self._random.choice([0.0, 0.5])

        def end() -> None:
            etcd.unsure = etcd.stale = 0.0

        return self.later(2.0, 10.0, end)

    def _lag(self) -> bool:
        process = self._random.choice(self._world.followers())
        process.observer.lag_until = self._world.now + self._random.uniform(0.5, 8.0)
        return True

    def _lose_lease(self) -> bool:
        return self._cut(self.running_worker(), ["etcd"], for_s=(6.0, 9.0))

    def _lose_lease_unseen(self) -> bool:
        """A primary is cut from etcd and the workers until its lease ends. It and a client see the new map late."""
        primary = self._primary()
        if primary is None:
            return False
        for process in (primary, self._random.choice(self._world.clients)):
            process.observer.lag_until = self._world.now + self._random.uniform(6.0, 14.0)
        return self._cut(primary, ["etcd", *self._workers()], for_s=(6.0, 9.0))

    def _alter(self) -> bool:
        self._world.alter(self._random.choice([1, 2, 3, 3, 3]))
        return True

    # Disks

    def _slow_disk(self) -> bool:
        worker = self.running_worker()
        if worker is None:
            return False
        worker.disk.slow = self._random.choice([20.0, 200.0, 1500.0])
        return self.later(1.0, 8.0, lambda: setattr(worker.disk, "slow", 1.0))

    def _full_disk(self) -> bool:
        worker = self.running_worker()
        if worker is None or self._is_fragile():
            return False
        worker.disk.full, worker.disk.opens = True, self._random.random() < 0.5

        def end() -> None:
            worker.disk.full, worker.disk.opens = False, True

        return self.later(1.0, 8.0, end)

    def _wipe(self) -> bool:
        """A worker crashes and returns without its folders."""
        return self._lose_data(self._take_all)

    def _lose_folder(self) -> bool:
        """A worker crashes and returns without the folder of its replica."""
        return self._lose_data(self._take_folder)

    def _damage(self) -> bool:
        """A worker crashes and cannot open its replica again."""
        return self._lose_data(self._harm_folder)

    def _take_all(self, worker: Worker, _: ReplicaId) -> None:
        for folder in sorted(worker.disk.folders):
            self._world.holdings.wiped(folder[1])
        worker.disk.folders.clear()

    def _take_folder(self, worker: Worker, replica: ReplicaId) -> None:
        self._world.holdings.wiped(replica)
        del worker.disk.folders[self._world.shard, replica]

    def _harm_folder(self, worker: Worker, replica: ReplicaId) -> None:
        self._world.holdings.wiped(replica)
        worker.disk.folders[self._world.shard, replica].damaged = True

    def _lose_data_while_another_is_away(self) -> bool:
        """The other member that has everything is away, perhaps until it is replaced. The member that lost its data is
        back first, and sometimes stops for a moment.
        """
        config, take = self._config(), self._random.choice([self._take_all, self._take_folder, self._harm_folder, self._harm_folder])
        intact = [self._world.workers[config.worker_of[member]] for member in (*config.isr, *config.elr)]
        backups_first = sorted(self._random.sample(intact, len(intact)), key=lambda worker: worker is self._primary())
        order = backups_first if self._random.random() < 0.7 else reversed(backups_first)
        harmed = next((worker for worker in order if worker.alive and not worker.paused), None)
        if harmed is None or not self._lose_data_of(harmed, take, (0.1, 4.0)):
            return False
        self._be_silent_now_and_then(harmed, self._world.now + STUTTER_S)
        for worker in intact:
            if worker is not harmed and worker.alive and not worker.paused:
                self.crash_worker(worker, *AWAY_S)
        return True

    def _break_flush(self) -> bool:
        """The next flush of a replica fails; its process goes on."""
        config, worker = self._config(), self.running_worker()
        victim = None if worker is None else replica_on(config, worker.me)
        if worker is None or victim is None or self._is_fragile() or not self._others_hold_everything(config, victim):
            return False
        worker.disk.breaks = True
        return True

    def _lose_data(self, take: Callable[[Worker, ReplicaId], None]) -> bool:
        worker = self.running_worker()
        return worker is not None and self._lose_data_of(worker, take, (0.1, 9.0))

    def _lose_data_of(self, worker: Worker, take: Callable[[Worker, ReplicaId], None], away_s: tuple[float, float]) -> bool:
        """Take data from a worker, only if another member that may lead holds everything."""
        config = self._config()
        victim = replica_on(config, worker.me)
        if victim is None or self._is_fragile() or not self._others_hold_everything(config, victim):
            return False
        if (self._world.shard, victim) not in worker.disk.folders:
            return False
        worker.crash(power=True)
        take(worker, victim)
        return self.later(*away_s, lambda: self._boot(worker))

    def may_be_lost(self, worker: Worker) -> bool:
        """Return whether nothing is lost if a worker never returns."""
        config = self._config()
        victim = replica_on(config, worker.me)
        return victim is None or (not self._is_fragile() and self._others_hold_everything(config, victim))

    def _others_hold_everything(self, config: ShardConfig, victim: ReplicaId) -> bool:
        """Return whether another member holds everything and may lead, also in each configuration that is under way.

        Members on workers that operators give up do not count.
        """
        world, given_up = self._world, self._world.operator.given_up
        if any(each.disk.full for each in world.workers.values()):
            return False
        possible = [config, *world.etcd.configurations_on_their_way(world.shard)]
        others = [
            [member for member in (*each.isr, *each.elr) if member != victim and each.worker_of.get(member) not in given_up]
            for each in possible
        ]
        return all(any(world.holdings.has_everything(member, world.committed) for member in each) for each in others)
