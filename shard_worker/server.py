"""The worker's role: connects folder, membership, assignments and service, and ends them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shoal.core.addresses import split
from shoal.core.cluster_map import MOVES_FEATURE, WorkerEntry
from shoal.core.errors import Internal
from shoal.core.file_budget import FileBudget, file_budget, http_connections, low_limit_words
from shoal.core.ids import ClusterId, Revision, ShardId, WorkerId
from shoal.core.memory_budget import memory_budget
from shoal.core.sizing import FILES_AT_REST, replica_files
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s, wall_ms
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import call_table
from shoal.runtime.logs import event
from shoal.runtime.metrics import Metrics, Sample
from shoal.runtime.prometheus import metrics_of
from shoal.runtime.server import GrpcServer
from shoal.runtime.server_tls import Callers, measure_certificate, role_tls, server_tls
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.hosting.hand_over_times import HandOverTimes
from shoal.shard_worker.hosting.handing_over import HandingOver
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.index.native.threads import search_thread_init, settle_linear_algebra
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.metrics import BUILD_SECONDS, BUILDS, GATHERED, HAND_OVER_SECONDS, LOG_FLUSH_SECONDS, shard_samples, worker_samples
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.resources.allocator import settle_allocator
from shoal.shard_worker.resources.builders import Runner, builder_of
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.os_limits import may_map_unused, memory_limits, raised_file_limit
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.rpc.peers import GrpcPeers
from shoal.shard_worker.rpc.replication_service import ReplicationServicer
from shoal.shard_worker.rpc.worker_service import WorkerServicer
from shoal.shard_worker.settings import WorkerSettings
from shoal.shard_worker.snapshots.fetch import FolderDownloads, SnapshotFetch
from shoal.shard_worker.snapshots.source import SnapshotSource
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.space import Full, Roomy, SpaceLimits, SpaceState, disk_space, disk_words, judge_space
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import etcd_settings
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver

log = logging.getLogger("shoal.worker")

SPACE_EVERY_S = 0.2
"""Short, since the check is cheap: a fast import must meet the limit before it fills a small disk."""

INTERNAL_FACTOR = 2
"""Internal messages may be this many times as large as public ones: a record carries a public message and more."""

GRACE_S = 2.0


@dataclass
class _Parts:
    """The parts that exist once the cluster is known."""

    folder: WorkerFolder
    membership: Membership
    assignments: Assignments
    stores: OpenStores
    peers: GrpcPeers
    source: SnapshotSource
    handing_over: HandingOver


class WorkerRole:
    """A shard worker that any process can host. `host` answers calls in the same process."""

    def __init__(self, settings: WorkerSettings, runner: Runner | None = None) -> None:
        """Prepare the worker. runner: builds indexes in other processes.

        Raises PreconditionFailed when the settings need a runner and there is none.
        """
        builder = builder_of(settings.builds, runner)
        settle_linear_algebra(settings.search_threads + settings.build_threads + 3)
        self.host = Host(memory=_memory_account(settings))
        self._settings = settings
        self._tls = role_tls(settings)
        self._secured = server_tls(self._tls, Callers.INTERNAL)
        self._readers = settings.search_threads + 2
        self._keys = Keys(settings.cluster_name)
        self._store = EtcdStore(etcd_settings(settings))
        self.metrics: Metrics = metrics_of(settings, self._tls)
        measure_certificate(self.metrics, self._tls, "worker")
        self.host.hand_overs = HandOverTimes(took=self.metrics.measure(HAND_OVER_SECONDS))
        self._pools = Pools(
            search_threads=settings.search_threads, build_threads=settings.build_threads, built=self._built, builder=builder
        )
        self._hot_filters = HotFilters(self.host.memory.cache_bytes, self._pools.chore)
        self._internal_bytes = INTERNAL_FACTOR * settings.message_bytes
        self._server = GrpcServer(
            host=settings.host,
            port=settings.port,
            message_bytes=self._internal_bytes,
            role="worker",
            metrics=self.metrics,
            secured=self._secured,
        )
        if settings.reflection:
            self._server.enable_reflection("shoal.v1.Worker")
        self._http: HttpServer | None = None
        self._started_ms = wall_ms()
        self._incarnation = str(uuid.uuid4())
        self._hurried = asyncio.Event()
        self._disk_used: float | None = None
        self._changed = ChangeSignal()
        self._observer = MapObserver(store=self._store, keys=self._keys, clock=boot_s, changed=self._on_change)
        self._parts: _Parts | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def worker_id(self) -> WorkerId:
        """Return the identity of the data folder; known once started."""
        if self._parts is None:
            raise Internal("the worker is not started")
        return self._parts.folder.worker_id

    async def start(self) -> None:
        """Wait for the cluster, lock the folder, listen, register. Raises PreconditionFailed, DataLoss, Unavailable."""
        search_thread_init()
        self.host.files = _file_budget(self._readers, http=self._settings.http_port != 0)
        self.metrics.start()
        observing = asyncio.create_task(self._observer.run())
        self._tasks.append(observing)
        cluster = await self._cluster(observing)
        folder = await asyncio.to_thread(self._lock_folder, cluster)
        source = SnapshotSource(
            host=self.host,
            folder=folder.path,
            bytes_per_s=self._settings.snapshot_bytes_per_s,
            move_bytes_per_s=lambda: self._observer.map.balance.move_bytes_per_s,
        )
        try:
            address, http_port = await self._serve(source)
        except BaseException:
            folder.close()
            raise
        self._parts = parts = self._wire(folder, address, http_port, source)
        self.metrics.gather(GATHERED, lambda: self._samples(parts))
        log.info(event("worker_started", worker=folder.worker_id, address=address, http_port=http_port or "none", data=folder.path))
        self._tasks += [
            asyncio.create_task(self._parts.membership.run()),
            asyncio.create_task(self._parts.assignments.run()),
            asyncio.create_task(self._parts.stores.run()),
            asyncio.create_task(self._watch_space(self._parts)),
            asyncio.create_task(self._pools.ticks.run()),
        ]
        self._on_change()

    async def failed(self) -> None:
        """Wait until the worker cannot go on, and raise the error of its failed task."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Stop: hand over what it leads, revoke the registration, refuse new calls, close replicas, unlock the
        folder.
        """
        if self._parts is not None:
            await self._parts.handing_over.run(self._hurried)
        self._pools.stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._parts is not None:
            # Before it is silent, so that nobody waits for a member that will not answer.
            await self._parts.membership.close()
        await asyncio.gather(*(each.stop(GRACE_S) for each in (self._server, self._http) if each is not None))
        if self._parts is not None:
            await self._parts.assignments.close()
            await self._parts.stores.close()
            await self._parts.peers.close()
            await self._parts.source.close()
            self._parts.folder.close()
        await asyncio.to_thread(self._pools.close)
        await self._store.close()
        await asyncio.to_thread(self.metrics.stop)

    def hasten(self) -> None:
        """See HastenedRole: `stop` hands over nothing more."""
        self._hurried.set()

    async def _serve(self, source: SnapshotSource) -> tuple[str, int]:
        """Listen. Returns host:port for gRPC, and the port for the same calls of routers by HTTP, 0 without one.

        Replication and snapshots are for gRPC only.
        """
        worker = call_table(WorkerServicer(self.host, self._pools.conversions).calls(), metrics=self.metrics)
        self._server.add(worker)
        self._server.add(call_table(ReplicationServicer(self.host, source).calls(), metrics=self.metrics))
        address, http_port = await self._server.start(), 0
        if self._settings.http_port:
            self._http = HttpServer(
                host=self._settings.host,
                port=max(self._settings.http_port, 0),
                table=worker,
                limits=HttpLimits(message_bytes=self._internal_bytes, connections=http_connections(self.host.files.limit)),
                role="worker",
                metrics=self.metrics,
                server_id=self._incarnation,
                secured=self._secured,
            )
            _, http_port = split(await self._http.start())
        return address, http_port

    def _entry(self, folder: WorkerFolder, address: str, http_port: int) -> WorkerEntry:
        """Return the registration of this worker, before it has one."""
        return WorkerEntry(
            id=folder.worker_id,
            address=address,
            http_port=http_port,
            incarnation=self._incarnation,
            pid=os.getpid(),
            node=self._settings.node or socket.gethostname(),
            zone=self._settings.zone,
            memory_budget_bytes=self.host.memory.budget_bytes,
            file_budget=self.host.files.for_replicas,
            replica_files=self.host.files.each,
            disk_bytes=disk_space(folder.path).size_bytes,
            features=frozenset({MOVES_FEATURE}),
            started_ms=self._started_ms,
            registration=Revision(0),
        )

    def _wire(self, folder: WorkerFolder, address: str, http_port: int, source: SnapshotSource) -> _Parts:
        settings = self._settings
        me = self._entry(folder, address, http_port)
        membership = Membership(store=self._store, keys=self._keys, me=me, lease_ttl_s=settings.lease_ttl_s, changed=self._on_change)
        engine = EngineSettings(
            growing_rows=settings.growing_rows,
            log_file_bytes=settings.log_file_bytes,
            readers=self._readers,
            hot_filters=self._hot_filters,
            flushed=self.metrics.measure(LOG_FLUSH_SECONDS),
            maps_unused=may_map_unused(),
        )
        swaps = ConfigSwaps(store=self._store, keys=self._keys, me=folder.worker_id)
        peers = GrpcPeers(swaps=swaps, message_bytes=self._internal_bytes, tls=self._tls)
        stores = OpenStores(most=self.host.files.open_at_once, idle_s=settings.idle_close_s, pressed=lambda: self.host.memory.is_short)
        folders = WorkerReplicaFolders(
            folder=folder,
            settings=engine,
            pools=self._pools,
            memory=self.host.memory,
            stores=stores,
            lease_held=membership.held_now,
            peers=peers,
            changed=self._look_at,
        )
        assignments = Assignments(
            host=self.host,
            swaps=swaps,
            me=folder.worker_id,
            membership=membership,
            folders=folders,
            snapshots=SnapshotFetch(
                peers=peers,
                downloads=FolderDownloads(folder),
                refusal=self.host.memory.refusal_of_filling,
                fetches=self.host.fetches,
            ),
            new_id=lambda: str(uuid.uuid4()),
        )
        handing_over = HandingOver(
            host=self.host, assignments=assignments, membership=membership, me=folder.worker_id, cluster=lambda: self._observer.map
        )
        return _Parts(
            folder=folder,
            membership=membership,
            assignments=assignments,
            stores=stores,
            peers=peers,
            source=source,
            handing_over=handing_over,
        )

    def _look_at(self, shard: ShardId) -> None:
        if self._parts is not None:
            self._parts.assignments.look_at(shard)

    def _samples(self, parts: _Parts) -> Iterable[Sample]:
        yield from shard_samples(self.host)
        yield from worker_samples(
            host=self.host,
            pools=self._pools,
            membership=parts.membership,
            connected=self._observer.connected,
            cache_bytes=self._hot_filters.memory_bytes,
            disk_used=self._disk_used,
        )

    def _built(self, outcome: str, seconds: float) -> None:
        self.metrics.measure(BUILDS, outcome)(1)
        if outcome == "done":
            self.metrics.measure(BUILD_SECONDS)(seconds)

    def _lock_folder(self, cluster: ClusterId) -> WorkerFolder:
        return WorkerFolder.open(Path(self._settings.data).absolute(), cluster)

    def _on_change(self) -> None:
        self._changed.notify()
        if self._parts is not None:
            self._parts.membership.see(self._observer.map.workers.get(self._parts.folder.worker_id))
            self._parts.peers.see_map(self._observer.map)
            self._parts.assignments.see_map(self._observer.map)

    async def _cluster(self, observing: asyncio.Task[None]) -> ClusterId:
        """Return the cluster's id as soon as a coordinator has created it."""
        waiting = asyncio.create_task(self._changed.until(lambda: self._observer.map.cluster is not None, None))
        await asyncio.wait({waiting, observing}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if observing.done():
            observing.result()
        assert self._observer.map.cluster is not None
        return self._observer.map.cluster

    async def _watch_space(self, parts: _Parts) -> None:
        limits = SpaceLimits(refuse_at=self._settings.disk_refuse_percent / 100, resume_at=self._settings.disk_resume_percent / 100)
        state: SpaceState = Roomy()
        while True:
            space = disk_space(parts.folder.path)
            self._disk_used = space.used
            before, state = state, judge_space(space, state, limits)
            self.host.disk = disk_words(space, state, limits)
            if type(state) is not type(before):
                log.warning(event("disk_space", state=type(state).__name__.lower()))
            parts.assignments.tell_space(state.reason if isinstance(state, Full) else None)
            serves = parts.membership.registration != 0
            await self._server.set_serving(serves)
            if self._http is not None:
                self._http.set_serving(serves)
            await parts.source.forget_silent()
            await asyncio.sleep(SPACE_EVERY_S)


def _memory_account(settings: WorkerSettings) -> WorkerMemory:
    settle_allocator()
    budget = memory_budget(memory_limits(), percent=settings.memory_percent, given_bytes=settings.memory_budget_bytes)
    log.info(event("memory_budget", bytes=budget.budget_bytes, why=budget.why))
    if budget.beyond:
        log.warning(event("memory_budget_too_large", bytes=budget.budget_bytes, more_than_is_left_by=budget.beyond))
    return WorkerMemory(budget.budget_bytes)


def _file_budget(readers: int, *, http: bool) -> FileBudget:
    found = raised_file_limit()
    connections = http_connections(found.limit) if http else 0
    budget = file_budget(found, at_rest=FILES_AT_REST, in_use=replica_files(readers), connections=connections)
    log.info(event("open_files", limit=budget.limit, replicas=budget.replicas, in_use_at_once=budget.open_at_once))
    words = low_limit_words(budget.limit)
    if words:
        log.warning(event("open_files_few", reason=words, replicas=budget.replicas))
    return budget
