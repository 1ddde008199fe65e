"""The router as a role: owns its public server, its store client and its watch."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence

from shoal.core.addresses import is_loopback
from shoal.core.api_keys import admin_key
from shoal.core.ids import WorkerId
from shoal.core.shard_calls import ShardService
from shoal.router.cluster.finder import StoreNames
from shoal.router.cluster.view import MapView
from shoal.router.cluster.workers import Tended, Workers, tend
from shoal.router.rpc.access_service import AccessService, Settled, settled_already
from shoal.router.rpc.admission import Admission
from shoal.router.rpc.cluster_service import ClusterService
from shoal.router.rpc.collections_service import CollectionsService
from shoal.router.rpc.leader import GrpcLeader
from shoal.router.rpc.operations_service import OperationsService
from shoal.router.rpc.points_service import PointsService
from shoal.router.rpc.remote_worker import connect_worker
from shoal.router.rpc.search_service import SearchService
from shoal.router.settings import RouterSettings
from shoal.router.shards.metrics import ShardCallMeter, gather
from shoal.router.wiring import Router, make_router
from shoal.runtime.calls import CallTable, UnaryCall
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s, wall_ms
from shoal.runtime.fair_pool import FairPool
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import Interceptor, call_table
from shoal.runtime.key_file import key_from_file
from shoal.runtime.logs import event
from shoal.runtime.metrics import Metrics
from shoal.runtime.prometheus import metrics_of
from shoal.runtime.server import GrpcServer, announced_address
from shoal.runtime.server_tls import Callers, measure_certificate, role_tls, server_tls
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import etcd_settings
from shoal.store.interface import Store
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver
from shoal.store.observe_keys import KeyObserver
from shoal.wire.public_calls import HTTP_ASKED_BY, METHODS

log = logging.getLogger("shoal.router")

_GRACE_S = 2.0

_SETTLED_S = 2.0
"""Longest wait for a key to be seen by the router that was asked to make or revoke it."""

SERVICES = ("shoal.v1.Search", "shoal.v1.Points", "shoal.v1.Collections", "shoal.v1.Cluster", "shoal.v1.Operations", "shoal.v1.Access")
"""The public gRPC services."""


class RouterRole:
    """A router on its public port.

    local: workers of this process, called without the network. store: used instead of the etcd of the settings, closed
    by `stop`. interceptors: of the public calls. metrics: of this process, if its owner serves them. `address` and
    `http_address` are host:port after the start; `http_address` is "" without an HTTP port.
    """

    def __init__(
        self,
        settings: RouterSettings,
        local: Mapping[WorkerId, ShardService] | None = None,
        *,
        store: Store | None = None,
        interceptors: Sequence[Interceptor] = (),
        metrics: Metrics | None = None,
    ) -> None:
        self._own_metrics = metrics is None
        self.address = self.http_address = ""
        self._settings, self._interceptors = settings, interceptors
        self._tls = role_tls(settings)
        self._metrics = metrics_of(settings, self._tls) if metrics is None else metrics
        measure_certificate(self._metrics, self._tls, "router")
        self._keys = Keys(settings.cluster_name)
        self._store = store or EtcdStore(etcd_settings(settings))
        self._conversions = FairPool(1, name="convert", what="requests with long filters", limit="waiting_conversions")
        self._workers = Workers(
            connect=lambda worker: connect_worker(worker, settings.message_bytes, self._conversions, self._tls), local=local
        )
        self._leader = GrpcLeader(settings.message_bytes, self._tls)
        self._view = MapView()
        self._keys_changed = ChangeSignal()
        self._api_keys = KeyObserver(store=self._store, keys=self._keys, changed=self._on_keys) if settings.keys else None
        self._admission = None if self._api_keys is None else self._new_admission(self._api_keys)
        self._observer = MapObserver(store=self._store, keys=self._keys, clock=boot_s, changed=self._on_change)
        gather(self._metrics, lambda: self._observer.connected)
        self._server: GrpcServer | None = None
        self._http: HttpServer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tended: tuple[Tended, ...] = ()

    async def start(self) -> None:
        """Listen, then wait for the first listing of the store.

        Raises Unavailable if the port is taken, DataLoss if the store holds an unreadable value.
        """
        if self._own_metrics:
            self._metrics.start()
        self._server = await self._serve()
        self._tasks.append(asyncio.create_task(self._observer.run()))
        if self._api_keys is not None:
            self._tasks.append(asyncio.create_task(self._api_keys.run()))
        await self._first_map()
        self._tasks.append(asyncio.create_task(tend((*self._tended, self._workers, self._leader), self._view)))
        await self._server.set_serving(True)
        if self._http is not None:
            self._http.set_serving(True)
        log.info(event("serving", address=self.address, http=self.http_address or "none"))

    async def failed(self) -> None:
        """Wait until the store can no longer be followed, and raise the reason."""
        await self._first_end(self._tasks)

    async def stop(self) -> None:
        """Let running calls end, then close everything. May also be called after a failed start."""
        await asyncio.gather(*(each.stop(_GRACE_S) for each in (self._server, self._http) if each is not None))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._workers.close()
        await self._leader.close()
        await self._store.close()
        await asyncio.to_thread(self._conversions.close)
        if self._own_metrics:
            await asyncio.to_thread(self._metrics.stop)

    async def _serve(self) -> GrpcServer:
        """Listen on both ports. The HTTP port is first, since the answers of the other one tell of it."""
        settings = self._settings
        router = self._router()
        self._tended = router.tended
        table = call_table(public_calls(router, settings, self._settled), metrics=self._metrics, interceptors=self._interceptors)
        if self._admission is not None:
            table = CallTable(map(self._admission.guarded, table.values()))
        announced = ""
        secured = server_tls(self._tls, Callers.CERTIFIED if settings.tls_client_required else Callers.ANY)
        if settings.http_port:
            self._http = HttpServer(
                host=settings.host,
                port=max(settings.http_port, 0),
                table=table,
                limits=HttpLimits(message_bytes=settings.message_bytes),
                role="router",
                metrics=self._metrics,
                secured=secured,
            )
            self.http_address = await self._http.start()
            announced = announced_address(settings.host, self.http_address)
        server = GrpcServer(
            host=settings.host,
            port=settings.port,
            message_bytes=settings.message_bytes,
            role="router",
            metrics=self._metrics,
            secured=secured,
        )
        http_id = self._http.server_id if self._http is not None else ""
        server.add(table, http_address=announced, http_id=http_id, asked_by=METHODS[HTTP_ASKED_BY].path)
        if settings.reflection:
            server.enable_reflection(*SERVICES)
        await server.set_serving(False)
        self.address = await server.start()
        return server

    def _router(self) -> Router:
        return make_router(
            view=self._view,
            workers=self._workers,
            names=StoreNames(self._store, self._keys),
            leader=self._leader,
            clock=boot_s,
            new_request_id=lambda: uuid.uuid4().hex,
            limits=self._settings.limits,
            read_patience_s=self._settings.read_patience_s,
            status_timeout_s=self._settings.status_timeout_s,
            meter=ShardCallMeter(self._metrics),
            conversions=self._conversions,
            insecure=self._tls is None and not is_loopback(self._settings.host),
            not_after=lambda: None if self._tls is None else self._tls.current().not_after,
        )

    def _new_admission(self, keys: KeyObserver) -> Admission:
        path = self._settings.admin_key_file
        admin = admin_key(key_from_file(path, "admin_key_file")) if path else None
        return Admission(keys=keys, admin=admin, clock=boot_s, wall_ms=wall_ms, metrics=self._metrics)

    async def _settled(self, id: str, known: bool) -> None:
        """See Settled."""
        keys = self._api_keys
        if keys is not None:
            await self._keys_changed.until(lambda: (keys.get(id) is not None) is known, _SETTLED_S)

    async def _first_news(self) -> None:
        """Wait until the store has told its map, and its keys where they are asked for."""
        await self._view.wait_for_first()
        keys = self._api_keys
        if keys is not None:
            await self._keys_changed.until(lambda: keys.listed, None)

    async def _first_map(self) -> None:
        listed = asyncio.create_task(self._first_news())
        try:
            await self._first_end([listed, *self._tasks])
        finally:
            listed.cancel()
            await asyncio.gather(listed, return_exceptions=True)

    async def _first_end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait until one of the tasks ends, and raise its error. If the wait is cancelled, the tasks go on."""
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    def _on_keys(self) -> None:
        if self._admission is not None:
            self._admission.keys_changed()
        self._keys_changed.notify()

    def _on_change(self) -> None:
        if self._observer.listed:
            self._view.publish(self._observer.map)


def public_calls(router: Router, settings: RouterSettings, settled: Settled = settled_already) -> tuple[UnaryCall, ...]:
    """Return the calls of the public services of a router. settled: waits for keys."""
    limits, timeout_s = settings.limits, settings.default_timeout_s
    search = SearchService(
        reads=router.reads, fused=router.fused, limits=limits, default_timeout_s=timeout_s, conversions=router.conversions
    )
    points = PointsService(
        reads=router.reads,
        writes=router.writes,
        updates=router.updates,
        limits=limits,
        default_timeout_s=timeout_s,
        conversions=router.conversions,
    )
    collections = CollectionsService(
        administration=router.administration,
        default_timeout_s=timeout_s,
        optimize_timeout_s=settings.optimize_timeout_s,
    )
    cluster = ClusterService(overview=router.overview, default_timeout_s=timeout_s)
    operations = OperationsService(operators=router.operations, default_timeout_s=timeout_s)
    access = AccessService(operators=router.operations, default_timeout_s=timeout_s, settled=settled)
    return (*search.calls(), *points.calls(), *collections.calls(), *cluster.calls(), *operations.calls(), *access.calls())
