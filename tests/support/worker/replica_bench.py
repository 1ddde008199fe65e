"""One replica that leads its shard: over a real folder, without sockets and without peers."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from shoal.core.collection import CollectionSpec
from shoal.core.filter import Filter
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, RequestId, Revision, ShardId, Term, WorkerId
from shoal.core.metric import Metric
from shoal.core.point_change import PointChange
from shoal.core.points import PointColumns, PointId, id_array
from shoal.core.shard_calls import QueryGroup, ShardDelete, ShardDeleteMatching, ShardSearch, ShardUpdate, ShardUpsert, WriteAck
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.core.slots import split_evenly
from shoal.core.topk import HitColumns
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.replica.engine import Engine, EngineSettings
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.resources.memory import WorkerMemory, unbounded_memory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.storage.folders.replica_folder import ReplicaRef
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder

SHARD = ShardId(CollectionId("collection"), 0)
REPLICA = ReplicaId("replica")
DIM = 4
SPEC = CollectionSpec(name="c", dim=DIM, metric=Metric.L2)


def config(term: int, shard: ShardId = SHARD) -> ShardConfig:
    return ShardConfig(
        shard=shard,
        term=Term(term),
        primary=REPLICA,
        primary_reg=Revision(term),
        isr=(REPLICA,),
        elr=(),
        learners=(),
        worker_of={REPLICA: WorkerId("w")},
        min_isr=1,
        rf=1,
        state=ShardState.ACTIVE,
        slots=split_evenly(1),
    )


class Alone:
    """The peer calls of a replica that has no peers."""

    async def append(self, worker: WorkerId, append: Append, timeout_s: float) -> AppendAnswer:
        raise AssertionError(f"an append to {worker}")

    def is_registered(self, worker: WorkerId) -> bool:
        raise AssertionError(f"an append to {worker}")

    async def swap(self, config: ShardConfig, base: Revision) -> tuple[SwapOutcome, Revision]:
        raise AssertionError(f"a swap on {base}")


@dataclasses.dataclass
class Bench:
    """A replica with the parts that its worker gives it. lease: one flag, whether the worker certainly holds its
    registration.
    """

    replica: Replica
    engine: Engine
    pools: Pools
    memory: WorkerMemory
    settings: EngineSettings
    client: str
    lease: list[bool]
    stores: OpenStores
    numbers: int = 0
    shard: ShardId = SHARD

    def next_id(self) -> RequestId:
        self.numbers += 1
        return RequestId(self.client, self.numbers)

    async def upsert(
        self,
        ids: Sequence[PointId],
        vectors: ArrayLike,
        payloads: tuple[bytes | None, ...] | None = None,
        *,
        request_id: RequestId | None = None,
    ) -> WriteAck:
        columns = PointColumns(ids=id_array(ids), vectors=np.asarray(vectors, dtype=np.float32).reshape(len(ids), -1), payloads=payloads)
        call = ShardUpsert(shard=self.shard, request_id=request_id or self.next_id(), points=columns)
        return await self.replica.write(call, 20.0)

    async def rest(self) -> None:
        """Let another replica need the files, so that this one closes its own. Raises TimeoutError if it does not."""
        other = self.stores.use()
        async with asyncio.timeout(20.0), other:
            pass
        other.end()

    async def delete(self, ids: Sequence[PointId]) -> WriteAck:
        return await self.replica.write(ShardDelete(shard=self.shard, request_id=self.next_id(), ids=id_array(ids)), 20.0)

    async def update(
        self, ids: Sequence[PointId], change: PointChange, filter: Filter | None = None, *, request_id: RequestId | None = None
    ) -> WriteAck:
        call = ShardUpdate(shard=self.shard, request_id=request_id or self.next_id(), ids=id_array(ids), change=change, filter=filter)
        return await self.replica.write(call, 20.0)

    async def delete_matching(self, filter: Filter) -> WriteAck:
        call = ShardDeleteMatching(shard=self.shard, request_id=self.next_id(), filter=filter)
        return await self.replica.write(call, 20.0)

    async def search(self, query: ArrayLike, k: int, *, filter: Filter | None = None, **options: Any) -> HitColumns:
        queries = np.asarray(query, dtype=np.float32).reshape(-1, DIM)
        call = ShardSearch(shard=self.shard, queries=queries, groups=(QueryGroup(k=k, filter=filter),), **options)
        return (await self.replica.search(call, 20.0)).hits


@contextlib.asynccontextmanager
async def opened(
    folder: Path,
    *,
    term: int,
    growing_rows: int = 1_000,
    log_file_bytes: int = 64 * 1024 * 1024,
    spec: CollectionSpec = SPEC,
    shard: ShardId = SHARD,
) -> AsyncIterator[Bench]:
    """Open the replica in `folder`, created if missing, elected in `term` and serving. It is closed at the end."""
    pools = Pools(search_threads=2, build_threads=1)
    worker = WorkerFolder.open(folder, ClusterId("cluster"))
    try:
        ref, layout = ReplicaRef(shard, REPLICA), tuple((each.name, each.dim) for each in spec.vectors)
        replica_folder = worker.open_replica(ref) if worker.exists(ref) else worker.create(ref, dim=spec.point_dim, vectors=layout)
        settings = EngineSettings(growing_rows=growing_rows, log_file_bytes=log_file_bytes)
        lease = [True]
        engine = Engine.open(replica_folder, spec, settings)
        memory = unbounded_memory()
        memory.open(shard, engine.cost())
        stores = OpenStores(most=1, idle_s=60.0)
        use = stores.use()
        async with use:
            pass
        replica = Replica(
            shard=shard,
            replica=REPLICA,
            spec=spec,
            engine=engine,
            beginning=engine.beginning(),
            pools=pools,
            memory=memory,
            use=use,
            lease_held=lambda _: lease[0],
            peers=Alone(),
            changed=lambda: None,
        )
        try:
            replica.tell(config(term, shard), Revision(100 + term), Revision(term))
            while (await replica.stats()).role != "primary":
                assert replica.failure is None, replica.failure
                await asyncio.sleep(0.001)
            yield Bench(
                replica=replica,
                engine=engine,
                pools=pools,
                memory=memory,
                settings=settings,
                client=f"client-{term}",
                lease=lease,
                stores=stores,
                shard=shard,
            )
        finally:
            await replica.close()
    finally:
        pools.close()
        worker.close()
