"""A plain twin of a cluster of workers: dicts behind ShardService, with a clock and a view that only tests control."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from shoal.core.cluster_map import ClusterMap, LeaderEntry, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.errors import DeadlineExceeded, ErrorDetails, ShoalError, Unavailable
from shoal.core.fused_search import FieldSpans
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.health import ReplicaRole
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.limits import Limits
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.points import PointId, StoredColumns, id_array, id_order
from shoal.core.recovery import LogEnd, Recovery, ReplicaPlace
from shoal.core.replies import AuditPage, ShardRecovery
from shoal.core.requests import AlterCollection, CreateCollection, DropCollection, ListAudit, RecoverShard, Request
from shoal.core.shard_calls import (
    OlderWorker,
    ShardCount,
    ShardDelete,
    ShardDeleteMatching,
    ShardFound,
    ShardGet,
    ShardScroll,
    ShardSearch,
    ShardsFound,
    ShardsSearch,
    ShardStats,
    ShardUpdate,
    ShardUpsert,
    ShardWrite,
    WorkerStatus,
    WriteAck,
    k_of_queries,
)
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from shoal.core.slots import SlotRange, split_evenly
from shoal.core.text_calls import TextFound, TextMarksCall, TextSearchCall, TextShards, TextStatsCall, TextStatsFound
from shoal.core.text_fields import TextField
from shoal.core.text_statistics import NO_STATISTICS
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.router.cluster.workers import Workers
from shoal.router.shards.metrics import ShardCallMeter
from shoal.router.wiring import Router, make_router
from shoal.runtime.clock import boot_s
from shoal.runtime.fair_pool import FairPool
from shoal.runtime.metrics import Metrics, NoMetrics
from tests.twins.balancing import BalancingTwin
from tests.twins.merge import merge_by_sorting
from tests.twins.shard import TwinShard, found_in, matching, stored, update
from tests.twins.shard_texts import counted, found_texts, marks_in
from tests.twins.virtual_time import FakeClock, LiveView, ScriptedView

MEMORY_BYTES = 1_000


class TwinWorker:
    """ShardService over dicts.

    before, after: errors to raise before or after the next calls take effect, one per call (None: no error).
    deleted_at_once: most points that one delete by filter removes; delay_s: before every answer; frozen: it answers
    nothing; at_shard: errors of the next searches of single shards; older: it does not know searches of several shards.
    """

    def __init__(self) -> None:
        self.shards: dict[ShardId, TwinShard] = {}
        self.before: list[ShoalError | None] = []
        self.after: list[ShoalError | None] = []
        self.calls: list[object] = []
        self.timeouts: list[float] = []
        self.failed: dict[str, str] = {}
        self.closed = False
        self.deleted_at_once = 3
        self.delay_s = 0.0
        self.frozen = False
        self.at_shard: dict[ShardId, list[ShoalError | None]] = {}
        self.older = False

    async def write(self, call: ShardWrite, timeout_s: float) -> WriteAck:
        shard = self._shard(call, call.shard, timeout_s)
        await self._pause()
        ack = shard.remembered.get(call.request_id)
        if ack is None:
            ack = shard.remembered[call.request_id] = self._apply(shard, call)
        self._fail(self.after)
        return ack

    def _apply(self, shard: TwinShard, call: ShardWrite) -> WriteAck:
        shard.seq += 1
        match call:
            case ShardUpsert(points=points):
                payloads = points.payloads or (None,) * len(points)
                rows = zip(points.ids.tolist(), points.vectors, payloads, strict=True)
                shard.points |= {point_id: (vector, payload) for point_id, vector, payload in rows}
                affected = len(points)
            case ShardDelete(ids=ids):
                affected = sum(shard.points.pop(point_id, None) is not None for point_id in ids.tolist())
            case ShardDeleteMatching(filter=filter):
                found = matching(shard, filter)
                for point_id in found[: self.deleted_at_once]:
                    del shard.points[point_id]
                return WriteAck(seq=Seq(shard.seq), affected=min(len(found), self.deleted_at_once), more=len(found) > self.deleted_at_once)
            case ShardUpdate():
                affected = update(shard, call.update)
        return WriteAck(seq=Seq(shard.seq), affected=affected)

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        shard = self._shard(call, call.shard, timeout_s)
        await self._pause()
        self._fail(self.at_shard.get(call.shard, []))
        return found_in(shard, call)

    async def search_shards(self, call: ShardsSearch, timeout_s: float) -> ShardsFound:
        if self.older:
            raise OlderWorker("it does not know this call")
        self.calls.append(call)
        self.timeouts.append(timeout_s)
        self._fail(self.before)
        await self._pause()
        found, failed = {}, {}
        for shard in call.shards:
            try:
                self._fail(self.at_shard.get(shard, []))
                held = self.shards.get(shard)
                if held is None:
                    raise Unavailable(f"no replica of {shard} is here", ErrorDetails(shard=str(shard)))
                found[shard] = found_in(held, call.of(shard))
            except ShoalError as error:
                failed[shard] = error
        nothing = HitColumns(counts=np.zeros(len(call.queries), dtype=np.int64), ids=id_array(()), scores=np.empty(0, dtype=np.float32))
        k = k_of_queries(call.groups, len(call.queries))
        parts = [each.hits for each in found.values()]
        hits = merge_by_sorting(parts, k, self.shards[next(iter(found))].spec.vector_of(call.vector).metric) if parts else nothing
        return ShardsFound(hits=hits, failed=failed, explain=tuple(each for part in found.values() for each in part.explain))

    async def text_stats(self, call: TextStatsCall, timeout_s: float) -> TextStatsFound:
        held, failed = await self._held(call, timeout_s)
        return TextStatsFound(statistics=sum((counted(shard, call.asks) for shard in held.values()), NO_STATISTICS), failed=failed)

    async def text_search(self, call: TextSearchCall, timeout_s: float) -> TextFound:
        held, failed = await self._held(call, timeout_s)
        return dataclasses.replace(found_texts(held, call), failed=failed)

    async def text_marks(self, call: TextMarksCall, timeout_s: float) -> tuple[tuple[FieldSpans, ...], ...]:
        shard = self._shard(call, call.shard, timeout_s)
        await self._pause()
        return marks_in(shard, call.ids.tolist(), call.ask)

    async def _held(self, call: TextShards, timeout_s: float) -> tuple[dict[ShardId, TwinShard], dict[ShardId, ShoalError]]:
        """Return the shards that a text call finds here, and the errors of the others."""
        if self.older:
            raise OlderWorker("it does not know this call")
        self.calls.append(call)
        self.timeouts.append(timeout_s)
        self._fail(self.before)
        await self._pause()
        held: dict[ShardId, TwinShard] = {}
        failed: dict[ShardId, ShoalError] = {}
        for shard in call.shards:
            try:
                self._fail(self.at_shard.get(shard, []))
                if shard not in self.shards:
                    raise Unavailable(f"no replica of {shard} is here", ErrorDetails(shard=str(shard)))
                held[shard] = self.shards[shard]
            except ShoalError as error:
                failed[shard] = error
        return held, failed

    async def get(self, call: ShardGet, timeout_s: float) -> StoredColumns:
        shard = self._shard(call, call.shard, timeout_s)
        await self._pause()
        return stored(shard, [each for each in call.ids.tolist() if each in shard.points], call.with_vectors, call.with_payload)

    async def scroll(self, call: ShardScroll, timeout_s: float) -> StoredColumns:
        shard = self._shard(call, call.shard, timeout_s)
        await self._pause()
        ordered = sorted(matching(shard, call.filter), key=id_order)
        behind = [each for each in ordered if call.after is None or id_order(each) > id_order(call.after)]
        return stored(shard, behind[: call.limit], call.with_vectors, call.with_payload)

    async def count(self, call: ShardCount, timeout_s: float) -> int:
        shard = self._shard(call, call.shard, timeout_s)
        await self._pause()
        return len(matching(shard, call.filter))

    async def stats(self, shard: ShardId, timeout_s: float) -> ShardStats:
        held = self._shard(shard, shard, timeout_s)
        await self._pause()
        return ShardStats(
            shard=shard,
            role=ReplicaRole.PRIMARY,
            term=Term(1),
            applied_seq=Seq(held.seq),
            points=len(held.points),
            growing_rows=len(held.points),
            sealed_rows=2,
            segments=1,
            builds_pending=3,
            bytes=4,
            memory_bytes=5,
        )

    async def optimize(self, shard: ShardId, timeout_s: float) -> None:
        self._shard("optimize", shard, timeout_s)
        await self._pause()

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        self._shard(call, call.shard, timeout_s)
        await self._pause()
        return (
            SegmentCurve(
                shard=call.shard.number,
                segment="s",
                index="hnsw",
                rows=1,
                breadth_name="ef",
                queries=1,
                real_queries=True,
                points=(),
                exact_us=1.0,
                vector=call.vector,
            ),
        )

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        self._shard(call, call.shard, timeout_s)
        await self._pause()
        return ShardRecall(
            shard=call.shard.number,
            queries=call.sample,
            real_queries=True,
            recall=call.recall,
            lowest=call.recall,
            search_us=1.0,
            exact_us=2.0,
        )

    async def status(self, timeout_s: float) -> WorkerStatus:
        self._fail(self.before)
        self.timeouts.append(timeout_s)
        return WorkerStatus(memory_bytes=MEMORY_BYTES, failed=dict(self.failed), serving=frozenset(map(str, self.shards)))

    async def close(self) -> None:
        self.closed = True

    async def _pause(self) -> None:
        if self.frozen:
            await asyncio.sleep(self.timeouts[-1])
            raise DeadlineExceeded("no answer came in time")
        if self.delay_s:
            await asyncio.sleep(self.delay_s)

    def _shard(self, call: object, shard: ShardId, timeout_s: float) -> TwinShard:
        assert timeout_s > 0
        self.calls.append(call)
        self.timeouts.append(timeout_s)
        self._fail(self.before)
        if shard not in self.shards:
            raise Unavailable(f"no replica of {shard} is here", ErrorDetails(shard=str(shard)))
        return self.shards[shard]

    def _fail(self, planned: list[ShoalError | None]) -> None:
        error = planned.pop(0) if planned else None
        if error is not None:
            raise error


class FakeNames:
    def __init__(self) -> None:
        self.taken: dict[str, Revision] = {}
        self.error: ShoalError | None = None
        self.asked: list[str] = []

    async def revision_of(self, name: str, timeout_s: float) -> Revision | None:
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        return self.taken.get(name)


class FakeLeader:
    """A coordinator with scripted answers. answers: for each of the next calls, an error to raise or a function to
    call.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.answers: list[ShoalError | Callable[[], None] | None] = []
        self.balancing = BalancingTwin()

    async def create(self, address: str, request: CreateCollection, timeout_s: float) -> CollectionId:
        self._answer("create", address, request, timeout_s)
        return CollectionId(f"id-{request.name}")

    async def alter(self, address: str, request: AlterCollection, timeout_s: float) -> None:
        self._answer("alter", address, request, timeout_s)

    async def drop(self, address: str, request: DropCollection, timeout_s: float) -> None:
        self._answer("drop", address, request, timeout_s)

    async def recover(self, address: str, request: RecoverShard, timeout_s: float) -> ShardRecovery:
        self._answer("recover", address, request, timeout_s)
        place = ReplicaPlace(replica=ReplicaId("r1"), worker=WorkerId("w1"), role="learner", end=LogEnd(term=Term(1), seq=Seq(7)))
        shard = ShardId(CollectionId(f"id-{request.asked.name}"), request.asked.number)
        recovery = Recovery(shard=shard, term=Term(2), chosen=place, given_up=())
        return ShardRecovery(done=request.asked.accept_data_loss, recovery=recovery)

    async def audit(self, address: str, request: ListAudit, timeout_s: float) -> AuditPage:
        self._answer("audit", address, request, timeout_s)
        return AuditPage(entries=(), following="next")

    async def operate(self, address: str, request: Request, timeout_s: float) -> Any:
        self._answer("operate", address, request, timeout_s)
        return getattr(self.balancing, type(request).__name__)(request)

    def _answer(self, *call: object) -> None:
        self.calls.append(call)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, ShoalError):
            raise answer
        if answer is not None:
            answer()


class TwinCluster:
    """Workers w0, w1, ... and a router over them. Shard n of a collection lives on worker n modulo their number."""

    def __init__(
        self, workers: int = 2, limits: Limits | None = None, *, clock: FakeClock | None = None, metrics: Metrics | None = None
    ) -> None:
        """clock: of a VirtualTime; the view then wakes waiting tasks, as the real one does."""
        self.clock = clock or FakeClock()
        self.workers = {WorkerId(f"w{number}"): TwinWorker() for number in range(workers)}
        empty = ClusterMap(cluster=ClusterId("c"), leader=LeaderEntry(address="lead:1", created=Revision(1)))
        self.view: Any = LiveView(empty) if clock else ScriptedView(self.clock, empty)
        self.change(workers={worker: worker_entry(worker) for worker in self.workers})
        self.names, self.leader = FakeNames(), FakeLeader()
        self.connected: list[str] = []
        self._made = 0
        self.calls = Workers(connect=self.connect)
        self.limits = limits or Limits()
        self.router: Router = make_router(
            view=self.view,
            workers=self.calls,
            names=self.names,
            leader=self.leader,
            clock=self.clock,
            new_request_id=self._new_id,
            limits=self.limits,
            read_patience_s=2.0,
            status_timeout_s=1.0,
            conversions=new_conversions(self.clock),
            meter=ShardCallMeter(metrics or NoMetrics()),
        )

    def change(self, **parts: object) -> None:
        """Publish the next map. Collections and shards may be plain mappings."""
        tables: dict[str, Callable[[Any], object]] = {"collections": CollectionTable, "shards": ShardTable}
        parts |= {name: tables[name](part.values()) for name, part in parts.items() if name in tables and isinstance(part, Mapping)}
        self.view.current = dataclasses.replace(self.view.current, revision=Revision(self.view.current.revision + 1), **parts)

    def add(
        self,
        name: str,
        *,
        dim: int = 4,
        metric: Metric = Metric.L2,
        shards: int = 2,
        state: CollectionState = CollectionState.ACTIVE,
        recall: float = 0.95,
        replicas: int = 1,
        text: Sequence[str] = (),
        defaults: SearchDefaults = SearchDefaults(),
        vectors: Sequence[NamedVector] = (),
    ) -> Collection:
        """Publish a collection with empty shards. vectors: named ones, instead of dim and metric.

        Replica m of shard n lives on worker n + m. All replicas are in sync and hold the same points.
        """
        fields = tuple(TextField(name=each) for each in text)
        spec = CollectionSpec(name=name, dim=dim, metric=metric, shards=shards, recall=recall, text=fields, defaults=defaults)
        if vectors:
            spec = dataclasses.replace(spec, dim=0, metric=Metric.L2, vectors=tuple(vectors))
        collection = Collection(id=CollectionId(f"id-{name}"), spec=spec, state=state, request_id="r")
        homes = list(self.workers)
        entries = {}
        for number, slots in enumerate(split_evenly(shards)):
            shard, held = ShardId(collection.id, number), TwinShard(spec)
            chosen = [homes[(number + at) % len(homes)] for at in range(replicas)]
            entries[shard] = shard_entry(shard, chosen, slots)
            for home in chosen:
                self.workers[home].shards[shard] = held
        current = self.view.current
        self.change(collections={**current.collections, collection.id: collection}, shards={**current.shards, **entries})
        return collection

    def configure(self, shard: ShardId, **parts: object) -> None:
        """Publish the next configuration of a shard."""
        entry = self.view.current.shards[shard]
        following = ShardEntry(config=dataclasses.replace(entry.config, **parts), epoch=Revision(entry.epoch + 1))
        self.change(shards={**self.view.current.shards, shard: following})

    def lead(self, shard: ShardId, worker: str) -> None:
        """Publish that the replica on this worker leads the shard, in the next term."""
        config = self.view.current.shards[shard].config
        replica = next(each for each, home in config.worker_of.items() if home == worker)
        self.configure(shard, primary=replica, term=Term(config.term + 1))

    def set_state(self, collection: Collection, state: CollectionState) -> None:
        """Publish another state of a collection."""
        self.change(collections={**self.view.current.collections, collection.id: dataclasses.replace(collection, state=state)})

    def remove_worker(self, worker: str) -> None:
        """Publish that a worker has gone."""
        self.change(workers={each: entry for each, entry in self.view.current.workers.items() if each != worker})

    def return_worker(self, worker: str) -> None:
        """Publish that a worker is there again."""
        self.change(workers={**self.view.current.workers, WorkerId(worker): worker_entry(WorkerId(worker))})

    def points(self) -> dict[PointId, tuple[np.ndarray, bytes | None]]:
        """Return all points of all shards."""
        return {key: value for worker in self.workers.values() for shard in worker.shards.values() for key, value in shard.points.items()}

    def connect(self, worker: WorkerEntry) -> TwinWorker:
        self.connected.append(worker.address)
        return self.workers[worker.id]

    def _new_id(self) -> str:
        self._made += 1
        return f"router-{self._made}"


def new_conversions(clock: Callable[[], float] = boot_s) -> FairPool:
    """Return a pool whose thread starts when it is first needed, and ends with the process."""
    return FairPool(1, name="convert", what="requests with long filters", limit="waiting_conversions", clock=clock)


def worker_entry(worker: WorkerId, registration: int = 5) -> WorkerEntry:
    return WorkerEntry(id=worker, address=f"{worker}:1", incarnation="i", pid=7, node="n", zone="z", registration=Revision(registration))


def shard_entry(shard: ShardId, homes: list[WorkerId], slots: SlotRange, state: ShardState = ShardState.ACTIVE) -> ShardEntry:
    """Return the configuration of a shard whose first home leads."""
    names = [f"replica-{shard}", *(f"replica-{shard}-{at}" for at in range(1, len(homes)))]
    replicas = tuple(map(ReplicaId, names))
    config = ShardConfig(
        shard=shard,
        term=Term(1),
        primary=replicas[0],
        primary_reg=Revision(5),
        isr=replicas,
        elr=(),
        learners=(),
        worker_of=dict(zip(replicas, homes, strict=True)),
        min_isr=max(1, len(homes) - 1),
        rf=len(homes),
        state=state,
        slots=(slots,),
    )
    return ShardEntry(config=config, epoch=Revision(9))
