"""`make bench-control`: what the control plane costs with many shards on many workers, by the product's own code.

One process plays every role: the coordinator places all shards through a real etcd; then one change of the map is
measured on the loop of a coordinator, a worker and a router, from the delta of the watch on. `measure` is for other
benchmarks.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from shoal.coordinator.act import Actor, transaction_of
from shoal.coordinator.bundles import Attempt, bundled
from shoal.coordinator.logic.attention import Attention
from shoal.coordinator.logic.reconcile import Questions, reconcile
from shoal.coordinator.logic.snapshot import Snapshot, Told
from shoal.coordinator.logic.steps import CreateShard, Step
from shoal.coordinator.loop import Loop
from shoal.coordinator.server import COMMITS_AT_ONCE, STEPS_PER_ROUND
from shoal.coordinator.settings import CoordinatorSettings
from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import ShardEntry, ShardState, replica_on
from shoal.router.cluster.view import MapView
from shoal.router.cluster.workers import Workers, tend
from shoal.router.shards.traffic import Traffic
from shoal.router.shards.under_way import UnderWay
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s, wall_ms
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.rpc.peers import GrpcPeers
from shoal.store.cluster_view import cluster_map_of, next_cluster_map
from shoal.store.codecs import encode_collection, encode_leader, encode_shard, encode_worker
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import etcd_settings
from shoal.store.interface import Committed, Delta, Listed, Operation, Put, Store, Transaction, Versioned
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver
from tests.support.etcd.process import EtcdProcess

SHARDS, WORKERS, REPLICAS, COLLECTIONS = 10_000, 200, 3, 100
CHANGES, PUTS_AT_ONCE, PLACED_WITHIN_S = 200, 100, 600.0
KEYS = Keys("bench")

console = Console()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ControlFigures:
    """Figures of the control plane. Times of one change are CPU on the loop of one process, with the fold of the delta.

    decide_s: all placements are decided, without a store; place_s: they are decided, committed to etcd and shown by the
    map; transactions: that this takes; listing_s, map_bytes: the first map from a listing, and its memory. round_us: a
    coordinator's round after one change; failover_shards: primaries of one worker that is gone; failover_ms: the round
    that elects others, and its transactions; worker_elsewhere_us: a worker, a change that does not concern it;
    worker_own_us: one that does; worker_look_us: its look at all its shards, once a second; router_us: a router.
    """

    shards: int
    workers: int
    replicas: int
    collections: int
    decide_s: float
    place_s: float
    transactions: int
    listing_s: float
    map_bytes: int
    round_us: float
    failover_shards: int
    failover_ms: float
    failover_transactions: int
    worker_elsewhere_us: float
    worker_own_us: float
    worker_look_us: float
    router_us: float


def main() -> int:
    """Measure, print a table, write JSON. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="bench-control", description="The control plane with many shards on many workers.")
    parser.add_argument("--shards", type=int, default=SHARDS)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--replicas", type=int, default=REPLICAS)
    parser.add_argument("--collections", type=int, default=COLLECTIONS)
    parser.add_argument("--json", type=Path, default=Path("bench-results/control.json"))
    options = parser.parse_args()
    figures = measure(
        shards=options.shards,
        workers=options.workers,
        replicas=options.replicas,
        collections=options.collections,
        said=lambda line: console.print(f"  {line}", style="dim"),
    )
    table = Table("figure", "value", box=None)
    for name, value in dataclasses.asdict(figures).items():
        table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    console.print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(dataclasses.asdict(figures), indent=1), encoding="utf-8")
    console.print(f"wrote {options.json}")
    return 0


def measure(
    *,
    shards: int = SHARDS,
    workers: int = WORKERS,
    replicas: int = REPLICAS,
    collections: int = COLLECTIONS,
    said: Callable[[str], None] = lambda line: None,
) -> ControlFigures:
    """Return the figures. shards: in all, evenly over the collections. said: takes a line for each step of progress."""
    begun = _begun(shards // collections, workers, replicas, collections)
    wanted = shards // collections * collections
    said(f"deciding where {wanted:,} shards with {replicas} replicas go, on {workers} workers ...")
    decide_s, placed = _decided(begun)
    said(f"placing them through etcd: {decide_s:.2f} s to decide ...")
    place_s, transactions = asyncio.run(_placed(begun, wanted))
    said(f"reading the first map: {place_s:.2f} s to place, {transactions} transactions ...")
    whole = _whole(placed)
    listing_s, map_bytes = _listing(whole)
    said("measuring changes on the loops of a coordinator, a worker and a router ...")
    round_us, failover = asyncio.run(_rounds(whole))
    elsewhere_us, own_us, look_us = asyncio.run(_worker(whole))
    return ControlFigures(
        shards=wanted,
        workers=workers,
        replicas=replicas,
        collections=collections,
        decide_s=decide_s,
        place_s=place_s,
        transactions=transactions,
        listing_s=listing_s,
        map_bytes=map_bytes,
        round_us=round_us,
        failover_shards=failover[0],
        failover_ms=failover[1],
        failover_transactions=failover[2],
        worker_elsewhere_us=elsewhere_us,
        worker_own_us=own_us,
        worker_look_us=look_us,
        router_us=asyncio.run(_router(whole)),
    )


def _begun(shards: int, workers: int, replicas: int, collections: int) -> ClusterMap:
    """Return the map of registered workers and of collections in creation, without a shard."""
    entries = [
        WorkerEntry(
            id=WorkerId(f"worker-{at:04d}"),
            address=f"10.0.{at // 250}.{at % 250}:7601",
            incarnation=f"life-{at}",
            pid=at + 1,
            node=f"node-{at}",
            zone=f"zone-{at % 3}",
            registration=Revision(1),
            memory_budget_bytes=64 << 30,
            file_budget=100_000,
            replica_files=12,
        )
        for at in range(workers)
    ]
    made = [
        Collection(
            id=CollectionId(f"00000000-0000-0000-0000-{at:012d}"),
            spec=CollectionSpec(name=f"collection-{at}", dim=128, shards=shards, replicas=replicas),
            state=CollectionState.CREATING,
            request_id=f"request-{at}",
            revision=Revision(1),
        )
        for at in range(collections)
    ]
    return ClusterMap(
        revision=Revision(1),
        cluster=ClusterId("bench"),
        workers={entry.id: entry for entry in entries},
        collections=CollectionTable(made),
    )


def _decided(begun: ClusterMap) -> tuple[float, ClusterMap]:
    """Decide round after round until every shard has its place. Return the seconds and the map."""
    cluster, attention, rounds = begun, Attention(), 0
    began = time.perf_counter()
    while True:
        attention = attention.seen(cluster)
        rounds += 1
        steps = reconcile(Snapshot(map=cluster, seed=f"round {rounds}", focus=attention.focus), STEPS_PER_ROUND)
        made = [step.config for step in steps if isinstance(step, CreateShard)]
        if not made:
            return time.perf_counter() - began, cluster
        table = cluster.shards.after({config.shard: ShardEntry(config=config, epoch=Revision(rounds + 1)) for config in made})
        cluster = dataclasses.replace(cluster, revision=Revision(rounds + 1), shards=table)


async def _placed(begun: ClusterMap, wanted: int) -> tuple[float, int]:
    """Let a coordinator place every shard through etcd. Return the seconds and the transactions."""
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
        etcd = EtcdProcess(Path(folder) / "etcd")
        etcd.start()
        store = _Counting(EtcdStore(etcd_settings(CoordinatorSettings(etcd=(etcd.endpoint,)))))
        try:
            leadership = await _write(store, begun)
            changes = ChangeSignal()
            observer = MapObserver(store=cast(Store, store), keys=KEYS, clock=boot_s, changed=changes.notify)
            observing = asyncio.create_task(observer.run())
            await changes.until(lambda: len(observer.map.workers) == len(begun.workers), PLACED_WITHIN_S)
            store.transactions, began = 0, time.perf_counter()
            rounds = asyncio.create_task(_loop(observer, changes, cast(Store, store), leadership).run())
            if not await changes.until(lambda: len(observer.map.shards) == wanted, PLACED_WITHIN_S):
                raise SystemExit(f"error: only {len(observer.map.shards)} of {wanted} shards were placed in {PLACED_WITHIN_S:.0f} s")
            seconds = time.perf_counter() - began
            for task in (rounds, observing):
                task.cancel()
            await asyncio.gather(rounds, observing, return_exceptions=True)
            return seconds, store.transactions
        finally:
            await store.close()
            etcd.stop()


class _Counting:
    """A store that counts its transactions."""

    def __init__(self, store: EtcdStore) -> None:
        self._store, self.transactions = store, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, transaction: Transaction, timeout_s: float) -> Any:
        self.transactions += 1
        return await self._store.commit(transaction, timeout_s)


async def _write(store: _Counting, begun: ClusterMap) -> Revision:
    """Write what the placement begins with. Return the creation revision of the key `leader`."""
    answer = await store.commit(Transaction(then=(Put(key=KEYS.leader, value=encode_leader("here:1")),)), 10.0)
    assert isinstance(answer, Committed)
    puts: list[Operation] = [Put(key=KEYS.cluster, value=b"bench")]
    puts += [Put(key=KEYS.worker(worker), value=encode_worker(entry)) for worker, entry in begun.workers.items()]
    puts += [Put(key=KEYS.collection(id), value=encode_collection(each)) for id, each in begun.collections.items()]
    for start in range(0, len(puts), PUTS_AT_ONCE):
        await store.commit(Transaction(then=tuple(puts[start : start + PUTS_AT_ONCE])), 10.0)
    return answer.revision


class _Reports:
    """Reports every replica that it is asked for as open. map: the newest."""

    def __init__(self) -> None:
        self.map = ClusterMap()

    async def log_ends(self, questions: Questions, workers: Mapping[WorkerId, WorkerEntry], timeout_s: float) -> Told:
        asked = ((replica_on(self.map.shards[shard].config, worker)) for worker, shards in questions.items() for shard in shards)
        ends = {replica: LogEnd(term=Term(1), seq=Seq(1)) for replica in asked if replica is not None}
        return Told(ends=ends, answered=questions.keys())

    async def failures(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, frozenset[str]]:
        """Report that nothing has failed."""
        return {worker.id: frozenset() for worker in workers}


def _loop(observer: Any, changes: ChangeSignal, store: Store, leadership: Revision, actor: Any = None, reports: Any = None) -> Loop:
    real = Actor(store=store, keys=KEYS, leadership=lambda: leadership, at_once=COMMITS_AT_ONCE, timeout_s=10.0)
    return Loop(
        observer=observer,
        changes=changes,
        actor=actor or real,
        reports=reports or _Reports(),
        leads=lambda: True,
        new_seed=lambda: str(time.perf_counter_ns()),
        clock=boot_s,
        every_s=2.0,
        replace_after_s=600.0,
        steps_per_round=STEPS_PER_ROUND,
        statuses=dict,
        wall_ms=wall_ms,
    )


def _whole(placed: ClusterMap) -> ClusterMap:
    """Return the map when every replica is in sync and every collection is used."""
    entries = [
        ShardEntry(
            config=dataclasses.replace(each.config, state=ShardState.ACTIVE, isr=(each.config.primary, *each.config.learners), learners=()),
            epoch=each.epoch,
        )
        for each in placed.shards.values()
    ]
    active = [dataclasses.replace(each, state=CollectionState.ACTIVE) for each in placed.collections.values()]
    return dataclasses.replace(placed, shards=ShardTable(entries), collections=CollectionTable(active))


def _listing(whole: ClusterMap) -> tuple[float, int]:
    """Return the seconds for the first map from a listing, and the bytes that the map takes."""
    values = {
        **{KEYS.worker(worker): encode_worker(entry) for worker, entry in whole.workers.items()},
        **{KEYS.collection(id): encode_collection(each) for id, each in whole.collections.items()},
        **{KEYS.shard(shard): encode_shard(entry.config) for shard, entry in whole.shards.items()},
    }
    listed = Listed(revision=Revision(2), entries=tuple(_versioned(key, value, 2) for key, value in values.items()))
    began = time.perf_counter()
    cluster_map_of(KEYS, listed)
    seconds = time.perf_counter() - began
    tracemalloc.start()
    kept = cluster_map_of(KEYS, listed)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept.shards) == len(whole.shards)
    return seconds, size


def _versioned(key: str, value: bytes, revision: int) -> Versioned:
    return Versioned(key=key, value=value, create_revision=Revision(1), mod_revision=Revision(revision), lease=None)


class _History:
    """The map, one change after the other: each gives some shard a new epoch."""

    def __init__(self, whole: ClusterMap) -> None:
        self.map = whole

    def change(self, shard: ShardId) -> None:
        """Fold the delta of a change, as an observer does."""
        revision, config = self.map.revision + 1, self.map.shards[shard].config
        changed = _versioned(KEYS.shard(shard), encode_shard(config), revision)
        self.map = next_cluster_map(KEYS, self.map, Delta(revision=Revision(revision), changed=(changed,), deleted=()))


async def _each_us(shards: Sequence[ShardId], change: Callable[[ShardId], Awaitable[None]]) -> float:
    """Return the median CPU time of one change on this loop, in microseconds."""
    spent: list[float] = []
    for at in range(CHANGES):
        before = time.thread_time()
        await change(shards[at % len(shards)])
        spent.append(time.thread_time() - before)
    return statistics.median(spent) * 1e6


async def _settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _rounds(whole: ClusterMap) -> tuple[float, tuple[int, float, int]]:
    """Return the cost of a round after a change; and, when a worker is gone, its shards, cost and transactions."""
    history, reports, decided = _History(whole), _Reports(), list[Step]()

    async def carry_out(steps: Sequence[Step]) -> Revision:
        decided[:] = steps
        return Revision(0)

    rounds = _loop(history, ChangeSignal(), cast(Store, None), Revision(1), SimpleNamespace(carry_out=carry_out), reports)
    await rounds.round()

    async def change(shard: ShardId) -> None:
        history.change(shard)
        await rounds.round()

    round_us = await _each_us(list(whole.shards), change)
    assert not decided
    gone = next(iter(whole.workers))
    workers = {worker: entry for worker, entry in history.map.workers.items() if worker != gone}
    reports.map = history.map = dataclasses.replace(history.map, workers=workers)
    before = time.thread_time()
    await rounds.round()
    bundles = list(bundled(Attempt(step, transaction_of(step, KEYS, Revision(1))) for step in decided))
    return round_us, (len(decided), (time.thread_time() - before) * 1e3, len(bundles))


class _Replica:
    """An open replica that does nothing."""

    failure, idle_term, behind = None, None, None

    def __init__(self, id: ReplicaId) -> None:
        self.id = id

    def tell(self, *_: object) -> None:
        """Take a configuration."""


async def _worker(whole: ClusterMap) -> tuple[float, float, float]:
    """Return what a change elsewhere, a change here and a look at all its shards cost a worker, in microseconds."""
    me, history = next(iter(whole.workers)), _History(whole)
    mine = list(whole.shards.of_worker(me))
    others = [shard for shard in whole.shards if shard not in whole.shards.of_worker(me)]
    open_here = {shard: _Replica(cast(ReplicaId, replica_on(whole.shards[shard].config, me))) for shard in mine}
    assignments = Assignments(
        host=Host(open=cast(Any, open_here)),
        swaps=cast(Any, None),
        me=me,
        membership=cast(Any, SimpleNamespace(registration=whole.workers[me].registration)),
        folders=cast(Any, SimpleNamespace(existing=frozenset)),
        snapshots=cast(Any, None),
        new_id=lambda: "",
    )
    assignments._specs.update({shard: whole.collections[shard.collection].spec for shard in mine})
    peers = GrpcPeers(swaps=cast(Any, None), message_bytes=1 << 20)
    running = asyncio.create_task(assignments.run())

    async def change(shard: ShardId) -> None:
        history.change(shard)
        peers.see_map(history.map)
        assignments.see_map(history.map)
        await _settle()

    async def look(_: ShardId) -> None:
        assignments.wake()
        await _settle()

    await change(mine[0])
    figures = [await _each_us(others, change), await _each_us(mine, change), await _each_us(mine, look)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return figures[0], figures[1], figures[2]


async def _router(whole: ClusterMap) -> float:
    """Return what a change costs a router, in microseconds."""
    history, view = _History(whole), MapView()
    view.publish(history.map)
    parts = (UnderWay(), Traffic(clock=boot_s), Workers(connect=lambda worker: cast(Any, SimpleNamespace(address=worker.address))))
    for worker in whole.workers:
        parts[2].service(whole, worker)
    tending = asyncio.create_task(tend(parts, view))

    async def change(shard: ShardId) -> None:
        history.change(shard)
        view.publish(history.map)
        await _settle()

    figure = await _each_us(list(whole.shards), change)
    tending.cancel()
    await asyncio.gather(tending, return_exceptions=True)
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
