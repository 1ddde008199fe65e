"""Makes one plan for each hosted process, from the settings of the cluster. Starts nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shoal.coordinator.settings import CoordinatorSettings
from shoal.deploy.folder import ClusterFolder
from shoal.deploy.settings import NODE_HOST, LocalSettings
from shoal.router.settings import RouterSettings
from shoal.shard_worker.settings import WorkerSettings

LOOPBACK = "127.0.0.1"

WORKER_LABEL = "shoal-worker-"
"""Prefix of the labels of nodes that host workers."""

_ACCESS = ("etcd_ca", "etcd_cert", "etcd_key", "etcd_user", "etcd_password_file", "tls_ca", "tls_cert", "tls_key", "insecure")

S = TypeVar("S", CoordinatorSettings, WorkerSettings, RouterSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoordinatorPlan:
    """Host a coordinator."""

    coordinator: CoordinatorSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerPlan:
    """Host a shard worker."""

    worker: WorkerSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class CombinedPlan:
    """Host a shard worker and a router."""

    worker: WorkerSettings
    router: RouterSettings


RolePlan = CoordinatorPlan | WorkerPlan | CombinedPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessPlan:
    """One hosted process. name: unique in the cluster. label: of the node to host it. log_file: for its output."""

    name: str
    role: RolePlan
    label: str
    log_file: Path
    log_level: str


def label_of(worker: int) -> str:
    """Return the label of the Ray node on which this worker runs. The label's value is "true"."""
    return f"{WORKER_LABEL}{worker}"


def process_plans(settings: LocalSettings, folder: ClusterFolder, etcd: tuple[str, ...], workers: int) -> tuple[ProcessPlan, ...]:
    """Return the plans in the order of starting: the coordinator, the worker with the router, the other workers."""
    return (
        ProcessPlan(
            name="coordinator",
            role=CoordinatorPlan(coordinator=_coordinator(settings, etcd)),
            label=label_of(1),
            log_file=folder.log("coordinator"),
            log_level=settings.log_level,
        ),
        *(_worker_process(settings, folder, etcd, number, workers) for number in range(1, workers + 1)),
    )


def stop_groups(plans: tuple[ProcessPlan, ...]) -> list[list[str]]:
    """Return the names in the order of stopping: the coordinator, then all workers and the router together.

    So no replica is elected or leaves an isr because another worker ended a moment earlier. Replicas that were in sync
    are still in sync at the next start.
    """
    return [[plan.name for plan in plans if isinstance(plan.role, kind)] for kind in (CoordinatorPlan, CombinedPlan | WorkerPlan)]


def on_node(plan: ProcessPlan, address: str) -> ProcessPlan:
    """Return the plan with `address` in place of the host "node"."""
    match plan.role:
        case CoordinatorPlan(coordinator=coordinator):
            role: RolePlan = CoordinatorPlan(coordinator=_placed(coordinator, address))
        case WorkerPlan(worker=worker):
            role = WorkerPlan(worker=_placed(worker, address))
        case CombinedPlan(worker=worker, router=router):
            role = CombinedPlan(worker=_placed(worker, address), router=_placed(router, address))
    return dataclasses.replace(plan, role=role)


def _placed(settings: S, address: str) -> S:
    return dataclasses.replace(settings, host=address) if settings.host == NODE_HOST else settings


def internal_host(settings: LocalSettings) -> str:
    """Return the address on which the roles listen for each other.

    With a Ray of our own it is loopback, since all roles run on this machine.
    """
    return settings.host if settings.ray_address else LOOPBACK


def metrics_port(settings: LocalSettings, number: int) -> int:
    """Return the metrics port of a process. number: 0 is the coordinator, n is worker n."""
    return settings.metrics_port + number if settings.metrics_port > 0 else settings.metrics_port


def memory_percent(settings: LocalSettings, workers: int) -> float:
    """Return the percentage of a machine's memory for each worker. With our own Ray, all workers share one machine."""
    return settings.memory_percent if settings.ray_address else settings.memory_percent / workers


def _worker_process(settings: LocalSettings, folder: ClusterFolder, etcd: tuple[str, ...], number: int, workers: int) -> ProcessPlan:
    worker = WorkerSettings(
        data=str(folder.worker(number)),
        host=internal_host(settings),
        lease_ttl_s=settings.lease_ttl_s,
        builds=settings.builds,
        memory_budget_bytes=settings.memory_budget_bytes,
        memory_percent=memory_percent(settings, workers),
        metrics_port=metrics_port(settings, number),
        **_shared(settings, etcd),
    )
    name = f"worker-{number}"
    return ProcessPlan(
        name=name,
        role=CombinedPlan(worker=worker, router=_router(settings, etcd)) if number == 1 else WorkerPlan(worker=worker),
        label=label_of(number),
        log_file=folder.log(name),
        log_level=settings.log_level,
    )


def _coordinator(settings: LocalSettings, etcd: tuple[str, ...]) -> CoordinatorSettings:
    return CoordinatorSettings(
        host=internal_host(settings),
        lease_ttl_s=settings.lease_ttl_s,
        replace_after_s=settings.replace_after_s,
        metrics_port=metrics_port(settings, 0),
        **_shared(settings, etcd),
    )


def _router(settings: LocalSettings, etcd: tuple[str, ...]) -> RouterSettings:
    return RouterSettings(
        host=settings.host,
        port=settings.port,
        http_port=settings.router_http_port,
        reflection=settings.reflection,
        keys=settings.keys,
        admin_key_file=settings.admin_key_file,
        tls_client_required=settings.tls_client_required,
        **_shared(settings, etcd),
    )


def _shared(settings: LocalSettings, etcd: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings that all roles share."""
    access = {name: getattr(settings, name) for name in _ACCESS}
    return {
        "etcd": etcd,
        "cluster_name": settings.cluster_name,
        "message_bytes": settings.message_bytes,
        "log_level": settings.log_level,
        **access,
    }
