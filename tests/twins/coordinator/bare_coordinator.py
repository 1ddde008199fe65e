"""A coordinator without its server, and the workers of a cluster, over the store in memory: everything runs, and no
socket is opened.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from shoal.coordinator.act import Actor
from shoal.coordinator.administer import Administrator
from shoal.coordinator.election import Election
from shoal.coordinator.logic.reconcile import Questions
from shoal.coordinator.logic.snapshot import Told
from shoal.coordinator.loop import Loop
from shoal.coordinator.recover import Recoverer
from shoal.coordinator.user_request import UserRequests
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.ids import ReplicaId, Seq, Term, WorkerId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import replica_on
from shoal.runtime.change_signal import ChangeSignal
from shoal.store.cluster_view import cluster_map_of
from shoal.store.codecs import encode_shard, encode_worker
from shoal.store.interface import Listed, Put, Store, Transaction, Unchanged
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver
from tests.twins.coordinator.statuses import statuses_of
from tests.twins.coordinator.workers_model import worked
from tests.twins.coordinator.world import KEYS, REPLACE_AFTER_S, worker_entry
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

TTL_S = 5
STORE_TIMEOUT_S = 5.0
PATIENCE_S = 20.0
"""Real seconds that a test waits for something that must happen."""


class ManualClock:
    """A clock that only tests move, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ScriptedReports:
    """The scripted answers of workers about their replicas.

    asked: the shards of each request for log ends; all_open: every replica is open, and all logs have equal ends.
    """

    def __init__(self, cluster_map: Callable[[], ClusterMap] = ClusterMap) -> None:
        self._map, self.all_open = cluster_map, False
        self.ends: dict[ReplicaId, LogEnd] = {}
        self.failed: dict[WorkerId, frozenset[str]] = {}
        self.asked: list[Questions] = []

    async def log_ends(self, questions: Questions, workers: Mapping[WorkerId, WorkerEntry], timeout_s: float) -> Told:
        self.asked.append(questions)
        ends = dict(self.ends)
        if self.all_open:
            asked = ((worker, self._map().shards.get(shard)) for worker, shards in questions.items() for shard in shards)
            replicas = (replica_on(entry.config, worker) for worker, entry in asked if entry is not None)
            ends |= {replica: LogEnd(term=Term(1), seq=Seq(1)) for replica in replicas if replica is not None}
        return Told(ends=ends, answered=questions.keys() if ends else frozenset())

    async def failures(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, frozenset[str]]:
        return {each.id: self.failed.get(each.id, frozenset()) for each in workers}


class BareCoordinator:
    """One coordinator: observer, election, loop, administrator and recoverer on a client of its own."""

    def __init__(self, cluster: MemoryCluster, clock: ManualClock, address: str = "one:1", every_s: float = 0.05) -> None:
        """Create it. `loop_clock` is the clock of the rounds alone, so that time can pass in them without ending
        leases.
        """
        self.loop_clock = ManualClock()
        self.store, self.changes, self.address = MemoryStore(cluster), ChangeSignal(), address
        self.reports = ScriptedReports(lambda: self.observer.map)
        ids = itertools.count(1)
        self.observer = MapObserver(store=self.store, keys=KEYS, clock=clock, changed=self.changes.notify)
        self.election = Election(
            store=self.store, keys=KEYS, observer=self.observer, changes=self.changes, clock=clock, lease_ttl_s=TTL_S, timeout_s=1.0
        )
        self.actor = Actor(store=self.store, keys=KEYS, leadership=self.election.leadership, at_once=4, timeout_s=1.0)
        self.loop = Loop(
            observer=self.observer,
            changes=self.changes,
            actor=self.actor,
            reports=self.reports,
            leads=lambda: self.leads,
            new_seed=lambda: f"{address} seed {next(ids)}",
            clock=self.loop_clock,
            every_s=every_s,
            replace_after_s=REPLACE_AFTER_S,
            steps_per_round=8,
            statuses=lambda: statuses_of(self.observer.map),
            wall_ms=lambda: 1_700_000_000_000,
        )
        self.requests = UserRequests(
            store=self.store,
            keys=KEYS,
            observer=self.observer,
            changes=self.changes,
            leadership=self.election.leadership,
            clock=asyncio.get_running_loop().time,
            call_s=1.0,
        )

        def new_id() -> str:
            return f"{address} id {next(ids)}"

        def wall_ms() -> int:
            return 1_700_000_000_000 + next(ids)

        self.administrator = Administrator(requests=self.requests, keys=KEYS, new_id=new_id, limits=DEFAULT_LIMITS)
        self.recoverer = Recoverer(requests=self.requests, keys=KEYS, reports=self.reports, wall_ms=wall_ms, new_id=new_id)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def leads(self) -> bool:
        return self.election.leadership() is not None

    def start(self, *, acting: bool = True) -> None:
        runs = [self.observer.run(), self.election.run(self.address), *([self.loop.run()] if acting else [])]
        self._tasks = [asyncio.create_task(run) for run in runs]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()
        wrong = [end for end in ends if isinstance(end, Exception)]
        assert not wrong, wrong

    async def leading(self) -> None:
        await eventually(lambda: self.leads)


@asynccontextmanager
async def running(*candidates: BareCoordinator, acting: bool = True) -> AsyncIterator[None]:
    for candidate in candidates:
        candidate.start(acting=acting)
    try:
        yield
    finally:
        for candidate in candidates:
            await candidate.stop()


class ModelWorkers:
    """Live workers: until the context ends they register, open replicas that are placed on them, and release dropped
    ones.
    """

    def __init__(self, store: Store, *names: str, keys: Keys = KEYS) -> None:
        self._store, self._names, self._keys = store, names, keys
        self._made: set[ReplicaId] = set()

    async def register(self) -> None:
        for name in self._names:
            entry = worker_entry(name)
            await self._store.commit(Transaction(then=(Put(key=self._keys.worker(entry.id), value=encode_worker(entry)),)), STORE_TIMEOUT_S)

    async def work(self) -> None:
        async with self._store.watch(self._keys.prefix) as watch:
            while True:
                await anext(watch)
                await self._once()

    async def _once(self) -> None:
        listing = await self._store.list(self._keys.prefix, STORE_TIMEOUT_S)
        seen = cluster_map_of(self._keys, Listed(revision=listing.revision, entries=listing.entries))
        for shard, entry in seen.shards.items():
            after = entry.config
            for worker in seen.workers:
                after = worked(after, seen, worker, self._made)
            if after != entry.config:
                key = self._keys.shard(shard)
                compares = (Unchanged(key=key, mod_revision=entry.epoch),)
                await self._store.commit(Transaction(compares=compares, then=(Put(key=key, value=encode_shard(after)),)), STORE_TIMEOUT_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.register()
        task = asyncio.create_task(self.work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def eventually(met: Callable[[], bool]) -> None:
    """Wait for a condition that nothing signals, such as a log line."""
    async with asyncio.timeout(PATIENCE_S):
        while not met():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
