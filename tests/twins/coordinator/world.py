"""A cluster as plain data: the state of the store twin, and workers that treat their shards as real ones do.

Every commit of the coordinator is checked here against rules that are independent of the decider.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping

from shoal.coordinator.act import transaction_of
from shoal.coordinator.bundles import Attempt, bundled
from shoal.coordinator.logic.attention import Attention
from shoal.coordinator.logic.move_ages import MoveAges
from shoal.coordinator.logic.reconcile import questions, reconcile, unled
from shoal.coordinator.logic.remembered import Absences
from shoal.coordinator.logic.snapshot import Snapshot, Told
from shoal.coordinator.logic.steps import (
    AddLearners,
    AskSuccessor,
    BeginMove,
    CancelMove,
    CreateShard,
    ElectPrimary,
    PlaceShardAnew,
    RetireReplica,
    SetReplication,
    Step,
    WithdrawMove,
)
from shoal.core.cluster_map import MOVES_FEATURE, ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.rebalance import Drain, RebalanceEntry
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from shoal.core.slots import SLOTS, SlotRange
from shoal.store.cluster_view import cluster_map_of
from shoal.store.codecs import encode_collection, encode_leader, encode_shard, encode_worker
from shoal.store.interface import Committed, DeleteKey, Listed, Operation, Put, Rejected, Transaction
from shoal.store.keys import Keys
from shoal.store.rebalance_codecs import encode_drain, encode_rebalance
from tests.twins.coordinator.plain_focus import check_focus, whole_focus
from tests.twins.coordinator.rules import check_shape, check_step
from tests.twins.coordinator.statuses import statuses_of
from tests.twins.coordinator.workers_model import commits, worked
from tests.twins.store.state import MemoryState

KEYS = Keys("test")
REPLACE_AFTER_S = 600.0
SLOTS_ALL = (SlotRange(0, SLOTS),)


def worker_entry(name: str, registration: int = 1, zone: str = "z", *, moves: bool = True) -> WorkerEntry:
    """Return a registration. moves: of a program that knows moves."""
    return WorkerEntry(
        id=WorkerId(name),
        address=f"{name}:1",
        incarnation="i",
        pid=1,
        node="n",
        zone=zone,
        registration=Revision(registration),
        features=frozenset({MOVES_FEATURE} if moves else ()),
    )


def shard_config(
    shard: ShardId,
    homes: Mapping[str, str],
    *,
    isr: Iterable[str],
    elr: Iterable[str] = (),
    learners: Iterable[str] = (),
    leaving: Iterable[str] = (),
    rf: int | None = None,
    primary: str | None = None,
    primary_reg: int = 1,
    min_isr: int = 1,
    state: ShardState = ShardState.ACTIVE,
    term: int = 1,
) -> ShardConfig:
    """Return a configuration. homes: worker by replica. The primary is the first of the isr by default."""
    members = tuple(ReplicaId(each) for each in isr)
    return ShardConfig(
        shard=shard,
        term=Term(term),
        primary=ReplicaId(primary) if primary else members[0],
        primary_reg=Revision(primary_reg),
        isr=members,
        elr=tuple(ReplicaId(each) for each in elr),
        learners=tuple(ReplicaId(each) for each in learners),
        leaving=tuple(ReplicaId(each) for each in leaving),
        worker_of={ReplicaId(replica): WorkerId(worker) for replica, worker in homes.items()},
        min_isr=min_isr,
        rf=rf or max(1, len(homes)),
        state=state,
        slots=SLOTS_ALL,
    )


def collection_of(
    name: str, *, shards: int = 1, state: CollectionState = CollectionState.CREATING, revision: int = 1, replicas: int = 1, min_isr: int = 0
) -> Collection:
    spec = CollectionSpec(name=name, dim=4, shards=shards, replicas=replicas, min_isr_set=min_isr)
    return Collection(id=CollectionId(f"id-{name}"), spec=spec, state=state, request_id=f"r-{name}", revision=Revision(revision))


def map_of(
    collections: Iterable[Collection] = (), configs: Iterable[ShardConfig] = (), workers: Iterable[WorkerEntry] = (), cluster: str = "c"
) -> ClusterMap:
    return ClusterMap(
        revision=Revision(100),
        cluster=cluster or None,  # type: ignore[arg-type]
        workers={each.id: each for each in workers},
        collections=CollectionTable(collections),
        shards=ShardTable(ShardEntry(config=each, epoch=Revision(50)) for each in configs),
    )


class World:
    """Store state, live workers, and one leading coordinator that remembers only absences.

    now_s: the time; told: the workers that report log ends, and a salt of these reports; holders: for each shard, the
    replicas that have every committed record; building: the replicas that build indexes.
    """

    def __init__(self) -> None:
        self.state = MemoryState()
        self.put(Put(key=KEYS.leader, value=encode_leader("here:1")))
        self.leadership = self.state.revision
        self.now_s, self.told, self.holders = 1000.0, 0, dict[ShardId, set[ReplicaId]]()
        self._absences, self._attention, self._made = Absences(), Attention(), set[ReplicaId]()
        self._moves, self.building = MoveAges(), set[ReplicaId]()
        self._seeds = 0

    def put(self, *operations: Operation) -> None:
        assert isinstance(self.state.commit(Transaction(then=operations)), Committed)

    @property
    def map(self) -> ClusterMap:
        listing = self.state.list(KEYS.prefix)
        return cluster_map_of(KEYS, Listed(revision=listing.revision, entries=listing.entries))

    def register(self, name: str) -> None:
        """Start a worker, or start it again: it has a new registration in both cases."""
        self.put(Put(key=KEYS.worker(WorkerId(name)), value=encode_worker(worker_entry(name))))

    def vanish(self, name: str) -> None:
        self.state.commit(Transaction(then=(DeleteKey(key=KEYS.worker(WorkerId(name))),)))

    def put_collection(self, collection: Collection) -> None:
        self.put(Put(key=KEYS.collection(collection.id), value=encode_collection(collection)))

    def put_shard(self, config: ShardConfig) -> None:
        """Put a configuration whose isr and elr are taken to hold every committed record."""
        self.put(Put(key=KEYS.shard(config.shard), value=encode_shard(config)))
        self.holders[config.shard] = {*config.isr, *config.elr}
        self._made |= {*config.members}

    def put_plan(self, entry: RebalanceEntry) -> None:
        self.put(Put(key=KEYS.rebalance, value=encode_rebalance(entry)))

    def drain(self, name: str, *, primaries_only: bool = False) -> None:
        drain = Drain(primaries_only=primaries_only, asked_by="test", since_ms=1)
        self.put(Put(key=KEYS.drain(WorkerId(name)), value=encode_drain(drain)))

    def undrain(self, name: str) -> None:
        self.state.commit(Transaction(then=(DeleteKey(key=KEYS.drain(WorkerId(name))),)))

    def drop(self, collection: CollectionId) -> None:
        found = self.map.collections.get(collection)
        if found is not None:
            self.put_collection(dataclasses.replace(found, state=CollectionState.DROPPING))

    def alter(self, collection: CollectionId, replicas: int, min_isr: int) -> None:
        found = self.map.collections.get(collection)
        if found is not None and found.state is CollectionState.ACTIVE:
            spec = dataclasses.replace(found.spec, replicas=replicas, min_isr_set=min(min_isr, replicas))
            self.put_collection(dataclasses.replace(found, spec=spec))

    def decide(self, seen: ClusterMap, limit: int = 10_000) -> tuple[Step, ...]:
        self._seeds += 1
        self._absences = self._absences.seen(seen, self.now_s)
        self._attention = self._attention.seen(seen)
        reports = statuses_of(seen, self._made, self.building)
        self._moves = self._moves.seen(seen, self._attention.focus.shards, reports, self.now_s)
        snapshot = Snapshot(
            map=seen,
            seed=f"seed {self._seeds}",
            focus=self._attention.focus,
            told=Told(ends=self._log_ends(seen)),
            absent_s=self._absences.absent_s(self.now_s),
            replace_after_s=REPLACE_AFTER_S,
            reports=reports,
            now_ms=int(self.now_s * 1_000),
            moving=self._moves.ages(self.now_s),
            plan_idle_s=self._moves.plan_idle_s(self.now_s),
        )
        steps = reconcile(snapshot, limit)
        self._check_attention(snapshot, steps, limit)
        return steps

    def _check_attention(self, snapshot: Snapshot, steps: tuple[Step, ...], limit: int) -> None:
        """Check that a round over the shards that are not settled decides and asks what one over all of them does."""
        cluster, focus, whole = snapshot.map, snapshot.focus, whole_focus(snapshot.map)
        check_focus(focus, cluster)
        assert steps == reconcile(dataclasses.replace(snapshot, focus=whole), limit)
        assert questions(cluster, focus.shards) == questions(cluster, whole.shards)
        assert unled(cluster, focus.shards) == unled(cluster, whole.shards)

    def act(self, step: Step) -> Committed | Rejected:
        """Commit one step, after checking that it is right now."""
        before = self.map
        answer = self.state.commit(transaction_of(step, KEYS, self.leadership))
        if isinstance(answer, Committed):
            check_step(step, before)
            self._check_holders(step)
        return answer

    def round(self, seen: ClusterMap | None = None, limit: int = 10_000) -> tuple[Step, ...]:
        """Decide and commit steps as the product does: together, and alone where together is rejected."""
        steps = self.decide(seen or self.map, limit)
        for bundle in bundled(Attempt(step, transaction_of(step, KEYS, self.leadership)) for step in steps):
            before, tried = self.map, [attempt.step for attempt in bundle.attempts]
            if isinstance(self.state.commit(bundle.transaction), Committed):
                for step in tried:
                    check_step(step, before)
                    self._check_holders(step)
            elif len(tried) > 1:
                for step in tried:
                    self.act(step)
        return steps

    def work(self) -> None:
        """Let each live worker do its part: open replicas placed on it, lead those that are primary, release leaving
        ones.
        """
        cluster = self.map
        for shard in sorted(cluster.shards):
            config = cluster.shards[shard].config
            for worker in sorted(cluster.workers):
                after = worked(config, cluster, worker, self._made)
                if after != config:
                    self._note_swap(config, after)
                    config = after
                    self.put(Put(key=KEYS.shard(shard), value=encode_shard(config)))
            if commits(config, cluster):
                self.holders[shard] = {*config.isr}

    def settle(self, rounds: int = 200) -> None:
        """Let coordinator and workers act in turn until the coordinator has nothing to do and the workers change
        nothing.
        """
        for _ in range(rounds):
            before = self.state.revision
            steps = self.round()
            self.work()
            if not steps and self.state.revision == before:
                return
        raise AssertionError(f"not quiet after {rounds} rounds, still wanted: {self.decide(self.map)}")

    def _log_ends(self, seen: ClusterMap) -> Mapping[ReplicaId, LogEnd]:
        """Return the reports of live replicas: each its own end, none of them, or all the same."""
        ends: dict[ReplicaId, LogEnd] = {}
        for entry in seen.shards.values() if self.told >= 0 else ():
            for replica, home in entry.config.worker_of.items():
                if home in seen.workers:
                    drawn = hashlib.blake2b(f"{self.told} {replica}".encode(), digest_size=2).digest()
                    ends[replica] = LogEnd(term=Term(drawn[0] % 2), seq=Seq(drawn[1] % 4 * (self.told > 0)))
        return ends

    def _note_swap(self, before: ShardConfig, after: ShardConfig) -> None:
        check_shape(after)
        # A replica that joins the isr has caught up; the primary knows that.
        self.holders[after.shard] |= {*after.isr} - {*before.isr}

    def _check_holders(self, step: Step) -> None:
        match step:
            case CreateShard(config=config) | PlaceShardAnew(config=config):
                self.holders[config.shard] = {*config.isr}
            case (
                ElectPrimary(config=config)
                | SetReplication(config=config)
                | AddLearners(config=config)
                | RetireReplica(config=config)
                | BeginMove(config=config)
                | AskSuccessor(config=config)
                | WithdrawMove(config=config)
                | CancelMove(config=config)
            ):
                assert {*config.isr, *config.elr} <= self.holders[config.shard], "a replica counts as whole that misses committed records"
