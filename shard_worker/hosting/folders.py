"""The replica folders of this worker, for Assignments: created, opened and deleted off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set
from functools import partial

from shoal.core.collection import CollectionSpec
from shoal.core.ids import ReplicaId, Revision, ShardId
from shoal.shard_worker.index.sealed import TEXT_SUFFIX, VECTORS_SUFFIX
from shoal.shard_worker.logic.memory_ledger import ReplicaCost, opening_cost
from shoal.shard_worker.replica.engine import Beginning, Engine, EngineSettings
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.replica.replicate import PeerCalls
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores, StoreUse
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder, ReplicaRef
from shoal.shard_worker.storage.folders.snapshot_import import SnapshotDownload
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder

OPENINGS_AT_ONCE = 8
"""Replicas that are opened at the same time.

More would be no faster, and each has its files open meanwhile: the first ones would be ready as late as the last.
"""


class WorkerReplicaFolders:
    """The folders below one worker's data folder, whose lock is held.

    memory: the account that open replicas are in; stores: those that have their files open; lease_held, peers, changed:
    see Replica.
    """

    def __init__(
        self,
        *,
        folder: WorkerFolder,
        settings: EngineSettings,
        pools: Pools,
        memory: WorkerMemory,
        stores: OpenStores,
        lease_held: Callable[[Revision], bool],
        peers: PeerCalls,
        changed: Callable[[ShardId], None],
    ) -> None:
        self._folder, self._settings, self._pools, self._lease_held = folder, settings, pools, lease_held
        self._memory, self._stores, self._peers, self._changed = memory, stores, peers, changed
        self._openings = asyncio.Semaphore(OPENINGS_AT_ONCE)
        self._existing = {(ref.shard, ref.replica_id) for ref in folder.replicas()}

    def existing(self) -> Set[tuple[ShardId, ReplicaId]]:
        """Return the replicas that have a folder. The set changes with them."""
        return self._existing

    async def create(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> None:
        """Create the durable folder of an empty replica, whole or not at all."""
        vectors = tuple((each.name, each.dim) for each in spec.vectors)
        await asyncio.to_thread(self._folder.create, ReplicaRef(shard, replica), dim=spec.point_dim, vectors=vectors)
        self._existing.add((shard, replica))

    async def open(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> Replica:
        """Open a replica and add it to the memory account.

        Raises DataLoss if it is damaged, ResourceExhausted without memory.
        """
        async with self._openings:
            folder, cost = await asyncio.to_thread(self._found, ReplicaRef(shard, replica), spec.point_dim)
            use = self._stores.use()
            async with use:
                self._memory.open(shard, cost)
                try:
                    return await self._opened(folder, spec, use)
                except BaseException:
                    self._memory.close(shard)
                    use.end()
                    raise

    def _found(self, ref: ReplicaRef, dim: int) -> tuple[ReplicaFolder, ReplicaCost]:
        folder = self._folder.open_replica(ref)
        return folder, _cost_of(folder, dim, self._settings.growing_rows)

    async def _opened(self, folder: ReplicaFolder, spec: CollectionSpec, use: StoreUse) -> Replica:
        shard = folder.ref.shard
        engine, beginning = await asyncio.to_thread(_engine_of, folder, spec, self._settings)
        try:
            self._memory.update(shard, engine.cost())
            return Replica(
                shard=shard,
                replica=folder.ref.replica_id,
                spec=spec,
                engine=engine,
                beginning=beginning,
                pools=self._pools,
                memory=self._memory,
                use=use,
                lease_held=self._lease_held,
                peers=self._peers,
                changed=partial(self._changed, shard),
            )
        except BaseException:
            await asyncio.to_thread(engine.close)
            raise

    async def set_aside(self, shard: ShardId, replica: ReplicaId) -> None:
        """Rename a damaged replica's folder and keep its files."""
        await asyncio.to_thread(self._folder.set_aside, ReplicaRef(shard, replica))
        self._existing.discard((shard, replica))

    async def install(self, download: SnapshotDownload) -> None:
        """Replace a replica, which is closed, by its whole snapshot.

        Raises what SnapshotDownload.finish raises.
        """
        await asyncio.to_thread(download.finish)

    async def discard(self, download: SnapshotDownload) -> None:
        """Delete a snapshot that is no longer needed."""
        await asyncio.to_thread(download.discard)

    async def drop(self, shard: ShardId, replica: ReplicaId, *, with_asides: bool) -> None:
        """Delete a replica's folder, if it exists. with_asides: also delete all other folders of its shard."""
        dropped = await asyncio.to_thread(self._drop, ReplicaRef(shard, replica), with_asides)
        self._existing -= {(ref.shard, ref.replica_id) for ref in dropped}

    def _drop(self, ref: ReplicaRef, with_asides: bool) -> list[ReplicaRef]:
        if self._folder.exists(ref):
            self._folder.drop(ref)
        if not with_asides:
            return [ref]
        for aside in self._folder.asides_of(ref.shard):
            self._folder.drop_aside(aside)
        # A swap whose answer was lost may have replaced this replica's id; its folder is then an orphan.
        others = self._folder.replicas_of(ref.shard)
        for other in others:
            self._folder.drop(other)
        return [ref, *others]


def _engine_of(folder: ReplicaFolder, spec: CollectionSpec, settings: EngineSettings) -> tuple[Engine, Beginning]:
    engine = Engine.open(folder, spec, settings)
    try:
        return engine, engine.beginning()
    except BaseException:
        engine.close()
        raise


def _cost_of(folder: ReplicaFolder, dim: int, growing_rows: int) -> ReplicaCost:
    """Return the memory that opening will take.

    Vectors that a segment keeps beside its index, and the index of its texts, are read from the file when they are
    needed.
    """
    files = {file: file.stat().st_size for file in folder.segments_path.iterdir()}
    return opening_cost(
        dim=dim,
        capacity=growing_rows,
        stored_bytes=folder.store_path.stat().st_size,
        file_bytes=sum(size for file, size in files.items() if file.suffix not in (VECTORS_SUFFIX, TEXT_SUFFIX)),
    )
