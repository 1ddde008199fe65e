"""etcd: the product's in-memory store state with real encoded values, reached over the network; and observers of the
map.

Every revision's map is folded once, by the product's fold. An observer points to one of these maps, which may lag.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import Revision, ShardId
from shoal.core.shard_config import ShardConfig
from shoal.store.cluster_view import next_cluster_map
from shoal.store.codecs import decode_shard
from shoal.store.interface import (
    DeleteKey,
    Lease,
    LeaseId,
    LeaseNotFound,
    Put,
    Transaction,
    Versioned,
)
from shoal.store.keys import Keys
from tests.simulation.network import Mishap, Network
from tests.simulation.scheduler import Process, Resume, Scheduler, Wait
from tests.twins.store.state import MemoryState

EXPIRY_EVERY_S = 0.25
LISTS_AGAIN_S = 0.5
HISTORY_OF_KEYS = 4
LATEST_S = 16.0
"""Seconds after which a request that was not answered no longer arrives, except in rare cases."""
KEYS = Keys("sim")

Changed = Callable[[ClusterMap, ClusterMap], None]


@dataclass
class Order:
    """An ordered fault: the first transaction for which wanted() holds meets the mishap; then met() is called."""

    wanted: Callable[[Transaction], bool]
    mishap: Mishap | None
    met: Callable[[], None]


class Etcd(Process):
    """The store. unsure: part of commits that are lost, applied without an answer, or applied late; stale: part of gets
    with an old answer.
    """

    def __init__(self, scheduler: Scheduler, network: Network, changed: Changed) -> None:
        super().__init__(scheduler, "etcd", rate=1.0 + scheduler.random.uniform(-0.024, 0.024))
        self._network, self._told = network, changed
        self._state = MemoryState()
        self._old: dict[str, list[Versioned | None]] = {}
        self.map = ClusterMap(revision=self._state.revision)
        self._observers: list[Observer] = []
        self.unsure, self.stale = 0.0, 0.0
        self.orders: list[Order] = []
        self._on_the_way: list[tuple[float, Transaction]] = []
        self.start()
        self._expire_often()
        self._remind_often()

    def commit(self, source: Process, transaction: Transaction, timeout_s: float) -> Wait:
        """Return Committed or Rejected; raise LeaseNotFound, NoAnswer, NobodyThere."""
        if any(each.key.startswith(f"{KEYS.prefix}shards/") for each in transaction.then):
            self._on_the_way.append((self.scheduler.now, transaction))
        return self._network.call(source, self, lambda answer: self._commit(transaction, answer), timeout_s, self._mishap(transaction))

    def configurations_on_their_way(self, shard: ShardId) -> list[ShardConfig]:
        """Return the configurations of a shard that were requested and may still be committed."""
        since, key = self.scheduler.now - LATEST_S, KEYS.shard(shard)
        self._on_the_way = [(asked_s, each) for asked_s, each in self._on_the_way if asked_s > since]
        puts = (put for _, each in self._on_the_way for put in each.then if isinstance(put, Put) and put.key == key)
        return [decode_shard(shard, put.key, put.value) for put in puts]

    def get(self, source: Process, key: str, timeout_s: float) -> Wait:
        """Return the key, perhaps with a slightly older value."""
        return self._network.call(source, self, lambda answer: answer(self._get(key)), timeout_s)

    def grant(self, source: Process, ttl_s: int, timeout_s: float) -> Wait:
        """Return a new lease."""

        def handle(answer: Resume) -> None:
            lease: Lease = self._state.grant(ttl_s, self.clock())
            answer(lease)

        return self._network.call(source, self, handle, timeout_s)

    def keep_alive(self, source: Process, lease: LeaseId, timeout_s: float) -> Wait:
        """Return the seconds that the lease has now, 0 if it is gone."""

        def handle(answer: Resume) -> None:
            self._expire()
            answer(self._state.keep_alive(lease, self.clock()))

        return self._network.call(source, self, handle, timeout_s)

    def revoke(self, source: Process, lease: LeaseId, timeout_s: float) -> Wait:
        """End a lease and its keys."""

        def handle(answer: Resume) -> None:
            self._expire()
            self._state.revoke(lease)
            self._publish()
            answer(None)

        return self._network.call(source, self, handle, timeout_s)

    def put_now(self, key: str, value: bytes) -> None:
        """Write a key from outside the world."""
        self._state.commit(Transaction(then=(Put(key=key, value=value),)))
        self._publish()

    def delete_now(self, key: str) -> None:
        """Delete a key from outside the world."""
        self._state.commit(Transaction(then=(DeleteKey(key=key),)))
        self._publish()

    def observe(self, process: Process, see: Callable[[ClusterMap], None]) -> Observer:
        """Return an observer of the map for this life of a process."""
        self._observers = [each for each in self._observers if each.lives]
        observer = Observer(self, self._network, process, see)
        self._observers.append(observer)
        observer.list_again()
        return observer

    def _commit(self, transaction: Transaction, answer: Resume) -> None:
        self._expire()
        self._on_the_way = [(asked_s, each) for asked_s, each in self._on_the_way if each is not transaction]
        outcome: Any
        try:
            outcome = self._state.commit(transaction)
        except LeaseNotFound as error:
            outcome = error
        self._publish()
        answer(outcome)

    def _get(self, key: str) -> Versioned | None:
        self._expire()
        old = self._old.get(key)
        if old and self.scheduler.random.random() < self.stale:
            return self.scheduler.random.choice(old)
        return self._state.get(key)

    def _mishap(self, transaction: Transaction) -> Mishap | None:
        for order in self.orders:
            if order.wanted(transaction):
                self.orders.remove(order)
                order.met()
                return order.mishap
        random = self.scheduler.random
        return random.choice(tuple(Mishap)) if self.unsure and random.random() < self.unsure else None

    def _expire_often(self) -> None:
        self._expire()
        self.after(EXPIRY_EVERY_S, self._expire_often)

    def _remind_often(self) -> None:
        for observer in self._observers:
            observer.notice()
        self.scheduler.at(self.scheduler.now + LISTS_AGAIN_S, self._remind_often)

    def _expire(self) -> None:
        if self._state.expire(self.clock()):
            self._publish()

    def _publish(self) -> None:
        deltas = self._state.changes_after(self.map.revision, KEYS.prefix)
        assert deltas is not None
        if not deltas:
            return
        for delta in deltas:
            before, self.map = self.map, next_cluster_map(KEYS, self.map, delta)
            for key in (*(entry.key for entry in delta.changed), *delta.deleted):
                self._remember(key)
            self._told(before, self.map)
        self._state.compact(Revision(self.map.revision))
        for observer in self._observers:
            observer.notice()

    def _remember(self, key: str) -> None:
        old = self._old.setdefault(key, [None])
        old.append(self._state.get(key))
        del old[:-HISTORY_OF_KEYS]


class Follower(Process):
    """A process that sees the map and is booted again after a crash."""

    observer: Observer

    def boot(self) -> None:
        """Begin a life."""
        raise NotImplementedError


class Observer:
    """The map as one process sees it. lag_until: nothing new arrives before this time."""

    def __init__(self, etcd: Etcd, network: Network, process: Process, see: Callable[[ClusterMap], None]) -> None:
        self._etcd, self._network, self._process, self._see = etcd, network, process, see
        self._life = process.life
        self.map = ClusterMap()
        self.lag_until = 0.0

    @property
    def lives(self) -> bool:
        """Return whether its process is still in the life it was made for."""
        return self._process.life == self._life

    @property
    def listed(self) -> bool:
        """Return whether it has received a map at all."""
        return self.map.revision > 0

    def notice(self) -> None:
        """Note that the store has changed, or may have changed."""
        if self.lives and self.map.revision < self._etcd.map.revision and self.lag_until <= self._etcd.scheduler.now:
            self.list_again()

    def list_again(self) -> None:
        """Request the newest map; it arrives a little later, when the store can be reached."""
        if not self._etcd.alive or self._etcd.paused:
            return
        newest, scheduler = self._etcd.map, self._etcd.scheduler
        delay_s = 0.0005 + 0.004 * scheduler.random.random()
        scheduler.at(scheduler.now + delay_s, lambda: self._arrive(newest), self._process)

    def _arrive(self, newest: ClusterMap) -> None:
        if newest.revision > self.map.revision and self._network.reaches("etcd", self._process.name):
            self.map = newest
            self._see(newest)
