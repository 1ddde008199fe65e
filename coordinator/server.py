"""The coordinator as a role that any process can host: owns its store client, its server and its tasks, and connects
its parts.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import Callable

from shoal.coordinator.act import Actor
from shoal.coordinator.administer import Administrator
from shoal.coordinator.audit_log import AuditLog
from shoal.coordinator.balancing import Balancing
from shoal.coordinator.draining import Draining
from shoal.coordinator.election import Election
from shoal.coordinator.key_requests import KeyRequests
from shoal.coordinator.log_ends import GrpcReplicaReports
from shoal.coordinator.logic.balance_changes import has_changed
from shoal.coordinator.logic.balance_input import plan_of
from shoal.coordinator.logic.plan_run import item_states
from shoal.coordinator.loop import Loop
from shoal.coordinator.metrics import StepMeter, gather
from shoal.coordinator.operate import Operator
from shoal.coordinator.plan_store import PlanStore
from shoal.coordinator.plans import PlanLogic, Plans
from shoal.coordinator.recover import Recoverer
from shoal.coordinator.service import CoordinatorService
from shoal.coordinator.settings import CoordinatorSettings
from shoal.coordinator.user_request import UserRequests
from shoal.coordinator.worker_reports import WorkerReports
from shoal.core.api_keys import SECRET_BYTES
from shoal.core.errors import Internal
from shoal.core.limits import Limits
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s, wall_ms
from shoal.runtime.interceptors import call_table
from shoal.runtime.logs import event
from shoal.runtime.prometheus import metrics_of
from shoal.runtime.server import GrpcServer
from shoal.runtime.server_tls import Callers, measure_certificate, role_tls, server_tls
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import etcd_settings
from shoal.store.interface import Store
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver

log = logging.getLogger("shoal.coordinator.server")

COMMITS_AT_ONCE = 16
STEPS_PER_ROUND = 1_024
_GRACE_S = 1.0
_HEALTH_EVERY_S = 1.0


def _etcd_store(settings: CoordinatorSettings) -> Store:
    return EtcdStore(etcd_settings(settings))


class CoordinatorRole:
    """A coordinator.

    Make it inside the event loop that runs it. It is healthy while the store answers, both as leader and as standby.
    """

    def __init__(self, settings: CoordinatorSettings, open_store: Callable[[CoordinatorSettings], Store] = _etcd_store) -> None:
        self._settings = settings
        tls = role_tls(settings)
        self._metrics = metrics_of(settings, tls)
        measure_certificate(self._metrics, tls, "coordinator")
        self._store = open_store(settings)
        self._changes = ChangeSignal()
        keys = Keys(settings.cluster_name)
        limits = Limits(message_bytes=settings.message_bytes)
        self._observer = MapObserver(store=self._store, keys=keys, clock=boot_s, changed=self._changes.notify)
        self._reports = GrpcReplicaReports(settings.message_bytes, tls)
        self._election = self._new_election(keys)
        self._worker_reports = WorkerReports(
            calls=self._reports, cluster=lambda: self._observer.map, leads=lambda: self.leads, clock=boot_s
        )
        self._loop = self._new_loop(keys)
        requests = self._new_requests(keys)
        plan_store = PlanStore(keys=keys, wall_ms=wall_ms)
        audit = AuditLog(keys=keys, wall_ms=wall_ms, new_id=_new_id)
        plans = self._new_plans(requests, plan_store, audit)
        self._balancing = self._new_balancing(requests, keys, plans, plan_store)
        gather(
            self._metrics,
            leads=lambda: self.leads,
            lease_age_s=self._election.lease_age_s,
            connected=lambda: self._observer.connected,
        )
        self._server = GrpcServer(
            host=settings.host,
            port=settings.port,
            message_bytes=settings.message_bytes,
            role="coordinator",
            metrics=self._metrics,
            secured=server_tls(tls, Callers.INTERNAL),
        )
        service = self._new_service(requests, keys, limits, self._new_operator(requests, keys, plans, audit), audit)
        self._server.add(call_table(service.calls(), metrics=self._metrics))
        if settings.reflection:
            self._server.enable_reflection("shoal.v1.Coordinator")
        self._tasks: list[asyncio.Task[None]] = []
        self.address: str | None = None

    @property
    def leads(self) -> bool:
        """Whether this coordinator leads and surely holds its lease."""
        return self._election.leadership() is not None

    async def start(self) -> None:
        """Listen, observe the store, and stand for election.

        Returns once the store has answered. Raises Unavailable if the port is taken.
        """
        self._metrics.start()
        await self._server.set_serving(False)
        self.address = await self._server.start()
        runs = (
            self._observer.run(),
            self._election.run(self.address),
            self._loop.run(),
            self._worker_reports.run(),
            self._balancing.run(),
            self._tell_health(),
        )
        self._tasks = [asyncio.create_task(run) for run in runs]
        listed = asyncio.create_task(self._changes.until(lambda: self._observer.listed, timeout_s=None))
        try:
            await asyncio.wait({listed, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listed.cancel()
            await asyncio.gather(listed, return_exceptions=True)
        self._raise_failure()
        log.info(event("started", address=self.address, revision=self._observer.map.revision))

    async def failed(self) -> None:
        """See Role."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()
        raise Internal("a task of the coordinator ended, which it never should")

    async def stop(self) -> None:
        """Stop acting, end leadership so that a standby takes over at once, finish running calls, and close."""
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop(_GRACE_S)
        await self._reports.close()
        await self._store.close()
        await asyncio.to_thread(self._metrics.stop)

    def _raise_failure(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    async def _tell_health(self) -> None:
        told = False
        while True:
            heard = self._changes.count
            serving = self._observer.listed and self._observer.connected
            if serving != told:
                await self._server.set_serving(serving)
                told = serving
            await self._changes.wait(heard, _HEALTH_EVERY_S)

    def _new_election(self, keys: Keys) -> Election:
        return Election(
            store=self._store,
            keys=keys,
            observer=self._observer,
            changes=self._changes,
            clock=boot_s,
            lease_ttl_s=self._settings.lease_ttl_s,
            timeout_s=self._settings.store_timeout_s,
        )

    def _new_loop(self, keys: Keys) -> Loop:
        actor = Actor(
            store=self._store,
            keys=keys,
            leadership=self._election.leadership,
            at_once=COMMITS_AT_ONCE,
            timeout_s=self._settings.store_timeout_s,
            told=StepMeter(self._metrics),
        )
        return Loop(
            observer=self._observer,
            changes=self._changes,
            actor=actor,
            reports=self._reports,
            leads=lambda: self.leads,
            new_seed=lambda: uuid.uuid4().hex,
            clock=boot_s,
            every_s=self._settings.reconcile_every_s,
            replace_after_s=self._settings.replace_after_s,
            steps_per_round=STEPS_PER_ROUND,
            statuses=self._worker_reports.newest,
            wall_ms=wall_ms,
        )

    def _new_requests(self, keys: Keys) -> UserRequests:
        return UserRequests(
            store=self._store,
            keys=keys,
            observer=self._observer,
            changes=self._changes,
            leadership=self._election.leadership,
            clock=boot_s,
            call_s=self._settings.store_timeout_s,
        )

    def _new_plans(self, requests: UserRequests, store: PlanStore, audit: AuditLog) -> Plans:
        logic = PlanLogic(plan_of=plan_of, has_changed=has_changed, item_states=item_states)
        return Plans(requests=requests, store=store, reports=self._worker_reports, logic=logic, audit=audit, new_id=_new_id)

    def _new_balancing(self, requests: UserRequests, keys: Keys, plans: Plans, store: PlanStore) -> Balancing:
        return Balancing(
            requests=requests,
            keys=keys,
            observer=self._observer,
            changes=self._changes,
            reports=self._worker_reports,
            plans=plans,
            store=store,
            leads=lambda: self.leads,
            clock=boot_s,
            wall_ms=wall_ms,
        )

    def _new_operator(self, requests: UserRequests, keys: Keys, plans: Plans, audit: AuditLog) -> Operator:
        draining = Draining(
            requests=requests,
            keys=keys,
            reports=self._worker_reports,
            audit=audit,
            absent_s=self._loop.absent_s,
            replace_after_s=self._settings.replace_after_s,
            wall_ms=wall_ms,
        )
        return Operator(requests=requests, keys=keys, plans=plans, draining=draining, audit=audit)

    def _new_service(self, requests: UserRequests, keys: Keys, limits: Limits, operator: Operator, audit: AuditLog) -> CoordinatorService:
        administrator = Administrator(requests=requests, keys=keys, new_id=_new_id, limits=limits)
        recoverer = Recoverer(requests=requests, keys=keys, reports=self._reports, wall_ms=wall_ms, new_id=_new_id)
        api_keys = KeyRequests(
            requests=requests,
            keys=keys,
            audit=audit,
            wall_ms=wall_ms,
            new_id=_new_id,
            new_secret=lambda: secrets.token_bytes(SECRET_BYTES),
        )
        return CoordinatorService(administrator, recoverer, operator, api_keys, limits)


def _new_id() -> str:
    return str(uuid.uuid4())
