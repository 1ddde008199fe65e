"""A leading coordinator that runs no rounds, three workers, and two collections, for tests about operators."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping

from shoal.core.cluster_map import MOVES_FEATURE, ClusterMap, WorkerEntry
from shoal.core.collection import CollectionState
from shoal.core.ids import ShardId, WorkerId
from shoal.core.operations import ApplyRebalance, PlanRebalance, RebalanceProgress
from shoal.core.rebalance import ItemState, PlanState, RebalanceEntry
from shoal.core.recovery import AuditEntry
from shoal.core.shard_config import ShardConfig
from shoal.store.codecs import encode_collection, encode_shard, encode_worker
from shoal.store.interface import DeleteKey, Operation, Put, Transaction
from shoal.store.rebalance_codecs import encode_rebalance
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock, eventually, running
from tests.twins.coordinator.bare_operator import MIB, BareOperator
from tests.twins.coordinator.world import KEYS, collection_of, shard_config, worker_entry
from tests.twins.store.cluster import MemoryCluster

BOOKS = collection_of("books", state=CollectionState.ACTIVE, shards=2, replicas=2)
RAW = collection_of("raw", state=CollectionState.ACTIVE)
BOOKS_0, BOOKS_1, RAW_0 = ShardId(BOOKS.id, 0), ShardId(BOOKS.id, 1), ShardId(RAW.id, 0)
HOMES: Mapping[ShardId, tuple[str, ...]] = {BOOKS_0: ("w0", "w1"), BOOKS_1: ("w1", "w0"), RAW_0: ("w1",)}
"""Workers of each shard. The first one leads."""


def able_worker(name: str, *, memory_bytes: int = 100 * MIB, disk_bytes: int = 0, able: bool = True, zone: str = "z") -> WorkerEntry:
    """Return a registration of a worker that knows moves."""
    features = frozenset({MOVES_FEATURE} if able else ())
    return dataclasses.replace(
        worker_entry(name, zone=zone), features=features, memory_budget_bytes=memory_bytes, disk_bytes=disk_bytes, started_ms=77
    )


class Operated:
    """The coordinator `one` with its operator `op`. books has its replicas on w0 and w1, raw its only one on w1."""

    def __init__(self, one: BareCoordinator) -> None:
        self.one, self.op = one, BareOperator(one)
        self.logic, self.operator = self.op.logic, self.op.operator

    @property
    def map(self) -> ClusterMap:
        return self.one.observer.map

    async def put(self, *operations: Operation) -> None:
        """Change the store, and wait until the map shows it."""
        await self.one.store.commit(Transaction(then=operations), 1.0)
        listing = await self.one.store.list(KEYS.prefix, 1.0)
        await eventually(lambda: self.map.revision >= listing.revision)

    async def register(self, *entries: WorkerEntry) -> None:
        await self.put(*(Put(key=KEYS.worker(entry.id), value=encode_worker(entry)) for entry in entries))

    async def vanish(self, name: str) -> None:
        await self.put(DeleteKey(key=KEYS.worker(WorkerId(name))))

    async def put_shard(self, config: ShardConfig) -> None:
        await self.put(Put(key=KEYS.shard(config.shard), value=encode_shard(config)))

    async def place(self, shard: ShardId, *homes: str, leaving: tuple[str, ...] = ()) -> None:
        """Put the configuration of a shard whose replicas are in sync on these workers."""
        replicas = {f"{shard} on {home}": home for home in homes}
        away = {f"{shard} on {home}": home for home in leaving}
        workers = self.map.workers
        config = shard_config(
            shard,
            {**replicas, **away},
            isr=replicas,
            leaving=away,
            rf=len(homes),
            primary_reg=workers[WorkerId(homes[0])].registration if homes[0] in workers else 1,
        )
        await self.put_shard(config)

    async def audit(self) -> list[AuditEntry]:
        """Return the audit, newest first."""
        return list((await self.one.recoverer.audit(100, "", 5.0))[0])

    async def actions(self) -> list[tuple[str, str, str]]:
        """Return action, subject and asked_by of the audit, oldest first."""
        return [(entry.action, entry.subject, entry.asked_by) for entry in reversed(await self.audit())]

    async def planned(self) -> str:
        """Make a plan, and return its id."""
        return (await self.operator.plan(PlanRebalance(), 5.0)).id

    async def applied(self) -> RebalanceProgress:
        """Make a plan and apply it."""
        return await self.operator.apply(ApplyRebalance(plan_id=await self.planned(), asked_by="me"), 5.0)

    async def stored(self) -> RebalanceEntry | None:
        """Return the newest applied plan as the store holds it."""
        return await self.op.store.newest(self.one.requests.begin(5.0, "late"))

    async def end(self, outcomes: Mapping[int, ItemState], *, state: PlanState = PlanState.DONE, ended_ms: int | None = None) -> None:
        """End the plan that runs, as the rounds do."""
        entry = await self.stored()
        assert entry is not None
        at = self.op.now_ms() if ended_ms is None else ended_ms
        ended = dataclasses.replace(entry, state=state, ended_ms=at, outcomes=outcomes)
        await self.put(Put(key=KEYS.rebalance, value=encode_rebalance(ended)))


def operated(scenario: Callable[[Operated], Awaitable[None]]) -> None:
    """Run a scenario on a cluster with the workers w0, w1 and w2."""

    async def run() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        async with running(one, acting=False):
            await one.leading()
            it = Operated(one)
            await it.put(Put(key=KEYS.cluster, value=b"c"))
            await it.register(*(able_worker(name) for name in ("w0", "w1", "w2")))
            for collection in (BOOKS, RAW):
                name = Put(key=KEYS.name(collection.spec.name), value=collection.id.encode())
                await it.put(name, Put(key=KEYS.collection(collection.id), value=encode_collection(collection)))
            for shard, homes in HOMES.items():
                await it.place(shard, *homes)
            await scenario(it)

    asyncio.run(run())
