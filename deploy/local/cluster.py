"""Runs `shoal up` (see shoal.deploy.local.up): a whole cluster from one command, in the foreground, in one folder.

It owns the order in which the parts start and end. Every part that it starts is also ended here, also after an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.core.addresses import joined
from shoal.core.deadline import Deadline
from shoal.core.errors import NotInstalled, ShoalError, Unavailable
from shoal.deploy.folder import ClusterFolder, FolderLock
from shoal.deploy.local.etcd_binary import find_etcd
from shoal.deploy.local.etcd_child import EtcdChild
from shoal.deploy.local.terminal import Terminal
from shoal.deploy.plans import LOOPBACK, ProcessPlan, process_plans, stop_groups
from shoal.deploy.processes.ports import kept_port
from shoal.deploy.ray.link import RayLink
from shoal.deploy.ray.session import ray_session
from shoal.deploy.settings import NODE_HOST, LocalSettings
from shoal.deploy.supervise import Launcher, Supervisor
from shoal.runtime.key_file import key_from_file
from shoal.runtime.logs import event
from shoal.runtime.server_tls import internal_tls
from shoal.runtime.stop_signals import StopSignals
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import etcd_settings
from shoal.store.etcd.verdict import Untrusted
from shoal.store.keys import Keys
from shoal.wire.tls import Tls

if TYPE_CHECKING:
    from shoal.deploy.ray.cluster import OwnRay

log = logging.getLogger("shoal.up")

STOP_TIMEOUT_S = 20.0
ETCD_TIMEOUT_S = 5.0
_TURN_S = 0.2
_IDLE_TURN_S = 0.5
_ANY_HOST = ("0.0.0.0", "::")


def run(settings: LocalSettings, stop: StopSignals) -> None:
    """Start everything, serve until asked to stop, end everything. Raises ShoalError."""
    folder = ClusterFolder.at(settings.data)
    folder.create()
    folder.check(with_roles=not settings.ray_address)
    if importlib.util.find_spec("ray") is None:
        raise NotInstalled("ray is not installed; pip install 'shoal[server]'")
    with Terminal() as terminal:
        with FolderLock(folder), terminal.to_ourselves(folder.log("up"), settings.log_level):
            try:
                with ExitStack() as stack:
                    LocalCluster(settings, folder, stop, stack, terminal.say).run()
                    terminal.say("stopping")
            except ShoalError as error:
                log.error(event("failed", reason=error.message))
                raise
        terminal.say("stopped")


def ready_line(address: str, http_port: int, *, secure: bool = False) -> str:
    """Return the line that says that the cluster serves. address: of the router for clients. secure: it speaks TLS.

    http_port: as the router's settings name it. If there is none, or only a log knows it, the line does not name it.
    """
    over_http = f"  http{'s' if secure else ''}://{address.rpartition(':')[0]}:{http_port}" if http_port > 0 else ""
    return f"ready  {address}{over_http}"


class LocalCluster:
    """One run of a cluster. The given stack ends all started parts, in reverse order."""

    def __init__(
        self, settings: LocalSettings, folder: ClusterFolder, stop: StopSignals, stack: ExitStack, say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._settings, self._folder, self._stop, self._stack = _wherever_we_go(settings), folder, stop, stack
        self._workers = max(settings.workers, folder.worker_count())
        self._tls: Tls | None = None
        self._api_key = ""
        self._etcd: EtcdChild | None = None
        self._ray: OwnRay | None = None
        self._launcher: Launcher | None = None

    def run(self) -> None:
        """Start everything, print `ready`, serve until asked to stop. Raises ShoalError if something cannot start."""
        self._check_secrets()
        endpoints = self._settings.etcd or self._start_etcd()
        if self._settings.etcd:
            asyncio.run(_check_etcd(self._settings))
        if self._stop.asked():
            return
        self._check_metrics()
        plans = process_plans(self._settings, self._folder, endpoints, self._workers)
        address = self._enter_ray(plans)
        if self._stop.asked():
            return
        supervisor = self._supervisor(plans)
        if self._await_ready(supervisor, address, endpoints):
            supervisor.settled()
            self._say(ready_line(address, self._settings.router_http_port, secure=self._tls is not None))
            self._serve(supervisor)

    def _check_secrets(self) -> None:
        """Read certificates and keys before anything is started with them. Raises InvalidArgument for unusable ones."""
        self._tls = internal_tls(self._settings.tls_files)
        if self._settings.keys:
            self._api_key = key_from_file(self._settings.admin_key_file, "admin_key_file")
        if self._settings.insecure:
            self._say(f"warning: insecure: whoever reaches {self._settings.host} may read, write and delete")

    def _check_metrics(self) -> None:
        """Switch metrics off, with a warning, if prometheus-client is not installed."""
        if self._settings.metrics_port and importlib.util.find_spec("prometheus_client") is None:
            self._say("warning: no metrics, because prometheus-client is not installed: pip install 'shoal[server]'")
            self._settings = dataclasses.replace(self._settings, metrics_port=0)

    def _start_etcd(self) -> tuple[str, ...]:
        binary = find_etcd()
        if binary.warning:
            self._say(f"warning: {binary.warning}")
        self._say(f"starting etcd {binary.version} (data in {self._folder.etcd})")
        self._etcd = EtcdChild(binary=binary, folder=self._folder.etcd, log_file=self._folder.log("etcd"))
        self._stack.callback(self._etcd.stop)
        self._etcd.start(self._stop.asked)
        return (self._etcd.endpoint,)

    def _enter_ray(self, plans: tuple[ProcessPlan, ...]) -> str:
        """Start or join Ray. Returns the address of the router for clients."""
        settings, host = self._settings, self._settings.host
        labels = tuple(dict.fromkeys(plan.label for plan in plans))
        if settings.ray_address:
            self._say(f"joining Ray at {settings.ray_address}")
            self._launcher = link = RayLink(address=settings.ray_address, cluster_name=settings.cluster_name)
            self._stack.callback(link.close)
            link.join(self._stop.asked)
            if self._stop.asked():
                return settings.ray_address
            homes = link.check_labels(plans, settings.host)
            host = homes[labels[0]] if settings.host == NODE_HOST else host
        else:
            self._stack.enter_context(kept_port(settings.host, settings.port))
            if settings.router_http_port > 0:
                self._stack.enter_context(kept_port(settings.host, settings.router_http_port, "--http-port"))
            self._say("starting Ray")
            session = self._stack.enter_context(ray_session(self._folder.session))
            from shoal.deploy.ray.cluster import local_ray
            from shoal.deploy.ray.launch import RayLauncher

            self._ray = self._stack.enter_context(local_ray(labels, session))
            self._launcher = RayLauncher(cluster_name=settings.cluster_name, detached=False)
        return joined(LOOPBACK if host in _ANY_HOST else host, settings.port)

    def _supervisor(self, plans: tuple[ProcessPlan, ...]) -> Supervisor:
        assert self._launcher is not None, "Ray is entered first"
        workers = f"{self._workers} worker{'s' if self._workers > 1 else ''}"
        self._say(f"starting a coordinator, a router and {workers} (logs in {self._folder.logs})")
        supervisor = Supervisor(plans=plans, launcher=self._launcher, clock=time.monotonic, say=self._say)
        self._stack.callback(self._stop_roles, supervisor, plans)
        return supervisor

    def _stop_roles(self, supervisor: Supervisor, plans: tuple[ProcessPlan, ...]) -> None:
        """End the roles while etcd runs, because they write to it that they leave. If a signal also ended etcd, it is
        started again for this.
        """
        if self._ray is not None and not self._ray.hosts():
            return
        with contextlib.nullcontext() if self._etcd is None else self._etcd.kept_running():
            supervisor.stop(stop_groups(plans), STOP_TIMEOUT_S)

    def _await_ready(self, supervisor: Supervisor, address: str, endpoints: tuple[str, ...]) -> bool:
        """Wait until the cluster answers. Returns False if asked to stop before that.

        Raises Unavailable if it takes too long, or if the router of another cluster answers at the address.
        """
        from shoal.deploy.local.readiness import OwnId, look

        own_id = OwnId(self._settings, endpoints)
        timeout_s = self._settings.start_timeout_s
        deadline, said = Deadline.after(timeout_s, time.monotonic), ""
        while not self._stop.asked():
            self._check_ray()
            supervisor.turn(_TURN_S)
            seen = look(address, self._workers, own_id.get(), self._tls, self._api_key)
            if seen.foreign:
                raise Unavailable(
                    f"port {self._settings.port} is in use: the router of another cluster answers at {address}; choose another --port"
                )
            if seen.lacking is None:
                for line in seen.failed:
                    self._say(f"warning: shard {line}")
                return True
            if seen.lacking != said:
                self._say(f"waiting for {seen.lacking}")
                said = seen.lacking
            if deadline.passed:
                raise Unavailable(f"after {timeout_s:.0f} s the cluster still lacks {said}; see the logs in {self._folder.logs}")
        return False

    def _serve(self, supervisor: Supervisor) -> None:
        while not self._stop.asked():
            self._check_ray()
            supervisor.turn(_IDLE_TURN_S)
            if self._etcd is not None and not self._stop.asked() and self._etcd.revive(time.monotonic()):
                self._say("etcd ended; starting it again")

    def _check_ray(self) -> None:
        if self._ray is not None and (ended := self._ray.ended()):
            raise Unavailable(f"Ray ended: its {ended} was killed or failed, see {self._folder.log('up')}; start 'shoal up' again")


def _wherever_we_go(settings: LocalSettings) -> LocalSettings:
    """Return the settings with absolute paths, because the roles run in other folders."""
    names = ("etcd_ca", "etcd_cert", "etcd_key", "etcd_password_file", "admin_key_file", "tls_ca", "tls_cert", "tls_key")
    given: dict[str, Any] = {name: getattr(settings, name) for name in names}
    absolute: dict[str, Any] = {name: str(Path(path).absolute()) for name, path in given.items() if path}
    return dataclasses.replace(settings, **absolute)


async def _check_etcd(settings: LocalSettings) -> None:
    store = EtcdStore(etcd_settings(settings))
    try:
        await store.get(Keys(settings.cluster_name).cluster, ETCD_TIMEOUT_S)
    except Untrusted:
        raise
    except Unavailable as error:
        raise Unavailable(f"etcd at {', '.join(settings.etcd)} does not answer ({error.message}); start it or correct --etcd") from None
    finally:
        await store.close()
