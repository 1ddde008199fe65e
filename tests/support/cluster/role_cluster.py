"""A whole cluster as plain processes, for tests: a real etcd, `python -m shoal.coordinator`, `python -m
shoal.shard_worker`, `python -m shoal.router`.

Every process dies with the test process. `wait_until` waits for conditions, never for seconds. Workers can be cut off
from etcd; in a network of their own, they can be cut off from each other, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import shoal
from shoal.wire.tls import TlsFiles
from tests.support.etcd.process import LOOPBACK, EtcdProcess
from tests.support.network.ports import free_port
from tests.support.network.private_network import ETCD, SERVERS, PrivateNetwork
from tests.support.network.tcp_proxy import ProxyThread
from tests.support.repository import ROOT

PATIENCE_S = 60.0

_DIE_WITH_PARENT = """
import ctypes, os, runpy, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
module = sys.argv[2]
sys.argv = [module, *sys.argv[3:]]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def wait_until(holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition. Raises AssertionError naming the condition if it stays false."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain: {what}"
        time.sleep(0.02)


class Signer(Protocol):
    """Makes the files of TLS for each kind of process."""

    def internal(self) -> TlsFiles: ...

    def router(self) -> TlsFiles: ...

    def client(self) -> TlsFiles: ...


class RoleProcess:
    """One role as a process. After a kill, `start` starts it again with the same arguments."""

    def __init__(self, module: str, log: Path, *, inside: tuple[str, ...] = (), **settings: object) -> None:
        """inside: command prefix that runs it in another network namespace."""
        self._module, self._log, self._inside = module, log, inside
        self._arguments = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        command = [*self._inside, sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), f"shoal.{self._module}", *self._arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def freeze(self) -> None:
        """Send SIGSTOP: connections stay open, and the process answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> int:
        """Return the exit code of a process that ends by itself."""
        assert self._process is not None, "not started"
        return self._process.wait(PATIENCE_S)

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


def tls_settings(files: TlsFiles) -> dict[str, Any]:
    """Return the settings of a role, and the arguments of `shoal.connect`, for these files."""
    return {"tls_ca": files.ca, "tls_cert": files.cert, "tls_key": files.key}


def shards_are_whole(client: shoal.Client) -> bool:
    """Return whether every shard has all the replicas that its collection wants, in sync and on live workers.

    Returns False if the router does not know.
    """
    try:
        cluster, listed = client.cluster(), client.list_collections()
    except shoal.ShoalError:
        return False
    wanted = {each.name: each.spec.replicas for each in listed}
    up = {worker.id for worker in cluster.workers if worker.state == "up"}
    return all(
        shard.state == "ok" and len(shard.isr) == wanted.get(shard.collection) and not shard.learners and up.issuperset(shard.isr)
        for shard in cluster.shards
    )


def state_of(client: shoal.Client) -> str:
    """Return what is known of the workers and shards, for a test that fails."""
    try:
        cluster = client.cluster()
    except shoal.ShoalError as error:
        return str(error)
    workers = [f"worker {each.id} {each.state}" for each in cluster.workers]
    shards = [
        f"{each.collection}/{each.shard} {each.state}: term {each.term}, {each.primary} leads, in sync {each.isr}, learners {each.learners}"
        for each in cluster.shards
    ]
    return "\n".join([*workers, *shards])


class RoleCluster:
    """etcd, coordinators, workers and routers over one folder.

    lines: connections between each coordinator and etcd, if there are several coordinators; worker_lines: the same for
    each worker, if requested.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        coordinators: int = 1,
        routers: int = 1,
        lease_ttl_s: int | None = None,
        zones: Sequence[str] = (),
        worker_lines: bool = False,
        private: bool = False,
        spares: int = 0,
        coordinator_settings: Mapping[str, object] | None = None,
        router_settings: Mapping[str, object] | None = None,
        authority: Signer | None = None,
        **worker_settings: object,
    ) -> None:
        """lease_ttl_s: of coordinators and workers; None for their default. zones: of each worker. private: use a
        network of its own, with each worker on its own host, and etcd, coordinators and routers in the hub; there are
        no lines then. spares: workers that `add_worker` can start, besides those that run from the beginning.
        authority: signs certificates, with which every port speaks TLS.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # A network of its own is reached by nobody else.
        self._internal: dict[str, object] = {"insecure": True} if private else {}
        self._public, self.access = self._internal, dict[str, Any]()
        if authority is not None:
            self._internal, self._public = tls_settings(authority.internal()), tls_settings(authority.router())
            self.access = tls_settings(authority.client())
        self.network = PrivateNetwork(workers + spares) if private else None
        self.etcd = EtcdProcess(folder / "etcd", host=ETCD if private else LOOPBACK, inside=self._inside(None))
        self._lease = {} if lease_ttl_s is None else {"lease_ttl_s": lease_ttl_s}
        self.lines = self._lines(coordinators if coordinators > 1 else 0)
        self.worker_lines = self._lines(workers + spares if worker_lines else 0)
        self._zones, self._worker_settings = zones, worker_settings
        self.coordinator_ports = [free_port() for _ in range(coordinators)]
        self.coordinators = [
            self._server("coordinator", n, port, self.lines, **self._lease, **(coordinator_settings or {}))
            for n, port in enumerate(self.coordinator_ports)
        ]
        self.worker_ports = [free_port() if private else 0 for _ in range(workers + spares)]
        self.workers = [self._worker(n, self.worker_ports[n]) for n in range(workers)]
        self.ports = [free_port() for _ in range(routers)]
        # In a network of their own, the HTTP ports of routers cannot be reached from outside.
        self.http_ports = [0 if private else free_port() for _ in self.ports]
        self.routers = [
            self._server("router", n, port, (), http_port=self.http_ports[n], **(router_settings or {}))
            for n, port in enumerate(self.ports)
        ]

    @property
    def port(self) -> int:
        """Return the port of the first router."""
        return self.ports[0]

    @property
    def http_port(self) -> int:
        """Return the HTTP port of the first router."""
        return self.http_ports[0]

    @property
    def address(self) -> str:
        """Return the address of the first router."""
        return f"127.0.0.1:{self.port}"

    @property
    def addresses(self) -> list[str]:
        """Return the addresses of all routers."""
        return [f"127.0.0.1:{port}" for port in self.ports]

    @property
    def coordinator(self) -> RoleProcess:
        """Return the first coordinator."""
        return self.coordinators[0]

    @property
    def router(self) -> RoleProcess:
        """Return the first router."""
        return self.routers[0]

    @property
    def roles(self) -> list[RoleProcess]:
        return [*self.coordinators, *self.workers, *self.routers]

    def __enter__(self) -> RoleCluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        if self.network is not None:
            self.network.open()
            self.network.relay(self._addresses_inside(self.network))
        self.etcd.start()
        self.start_roles()
        self.wait_ready()

    def start_roles(self) -> None:
        """Start every role, without waiting."""
        for line in (*self.lines, *self.worker_lines):
            line.restore()
        for role in self.roles:
            role.start()

    def stop(self) -> None:
        for role in reversed(self.roles):
            if role.running:
                role.stop()
        self.etcd.stop()
        for line in (*self.lines, *self.worker_lines):
            line.close()
        if self.network is not None:
            self.network.close()

    def add_worker(self) -> int:
        """Start a spare worker, without waiting. Return its number."""
        number = len(self.workers)
        assert number < len(self.worker_ports), "no spare is left"
        self.workers.append(self._worker(number, self.worker_ports[number]))
        self.workers[number].start()
        return number

    def remove_worker(self) -> Path:
        """Stop the worker with the highest number, which is a spare one afterwards. Return the folder of its data."""
        number = len(self.workers) - 1
        self.workers.pop().stop()
        return self.data(number)

    def kill_all(self) -> None:
        for role in self.roles:
            role.kill()
        self.etcd.kill()

    def connect(self, **options: Any) -> shoal.Client:
        """Return a client of the first router, with a certificate where the cluster has them."""
        return shoal.connect(self.address, **self.access, **options)

    def wait_ready(self) -> None:
        """Wait until every worker is registered and every shard has a primary that serves."""
        with self.connect(timeout=5) as client:
            wait_until(lambda: self._ready(client), f"the cluster is ready; see {self.folder}")

    def wait_whole(self, client: shoal.Client) -> None:
        """Wait until the cluster is ready, and every shard has all the replicas that its collection wants, in sync and
        on live workers.
        """
        wait_until(lambda: self.is_whole(client), f"every shard is whole; see {self.folder}")

    def is_whole(self, client: shoal.Client) -> bool:
        """Return whether the cluster is ready and every shard whole. Raises AssertionError if a role has ended."""
        return self._ready(client) and shards_are_whole(client)

    def worker_of_pid(self, pid: int) -> RoleProcess:
        return next(worker for worker in self.workers if worker.pid == pid)

    def data(self, worker: int) -> Path:
        """Return the data folder of a worker."""
        return self.folder / f"worker-{worker}"

    def worker_id(self, worker: int) -> str:
        """Return the id that the data folder of a worker has now."""
        return str(json.loads((self.data(worker) / "worker.json").read_text())["worker_id"])

    def worker_of_id(self, worker_id: str) -> int:
        return next(number for number in range(len(self.workers)) if self.worker_id(number) == worker_id)

    def reachable(self, address: str) -> str:
        """Return the address at which the tests reach the process that the roles reach at `address`."""
        return address if self.network is None else f"{LOOPBACK}:{address.rpartition(':')[2]}"

    def cut_from_etcd(self, worker: int) -> None:
        """Cut the connection of a worker to etcd: refused on loopback, silent in a network of its own."""
        if self.network is None:
            self.worker_lines[worker].cut()
        else:
            self.network.lose(worker, ETCD)

    def cut_from_worker(self, worker: int, other: int) -> None:
        """Lose every message from one worker to another one. Needs a network of its own."""
        assert self.network is not None, "workers on loopback cannot be cut off from each other"
        self.network.lose(worker, self.network.address(other))

    def isolate(self, worker: int) -> None:
        """Cut a worker off from all other processes. Needs a network of its own."""
        assert self.network is not None, "workers on loopback cannot be cut off from each other"
        self.network.isolate(worker)

    def mend(self, worker: int) -> None:
        """End all cuts at a worker."""
        if self.network is None:
            self.worker_lines[worker].restore()
        else:
            self.network.heal(worker)

    def leader(self, client: shoal.Client) -> int | None:
        """Return the number of the coordinator that leads, as the router sees it."""
        try:
            leader = client.cluster().leader
        except shoal.ShoalError:
            return None
        return None if leader is None else self.coordinator_ports.index(int(leader.rpartition(":")[2]))

    def _lines(self, count: int) -> list[ProxyThread]:
        return [] if self.network is not None else [ProxyThread(self.etcd.client_port) for _ in range(count)]

    def _inside(self, host: int | None) -> tuple[str, ...]:
        return () if self.network is None else self.network.inside(host)

    def _server(self, module: str, number: int, port: int, lines: Sequence[ProxyThread], **settings: object) -> RoleProcess:
        log, etcd = self.folder / f"{module}-{number}.log", lines[number].endpoint if lines else self.etcd.endpoint
        host = LOOPBACK if self.network is None else SERVERS
        tls = self._public if module == "router" else self._internal
        return RoleProcess(module, log, inside=self._inside(None), host=host, port=port, etcd=etcd, **tls, **settings)

    def _worker(self, number: int, port: int) -> RoleProcess:
        lines, zone = self.worker_lines, {"zone": self._zones[number]} if number < len(self._zones) else {}
        return RoleProcess(
            "shard_worker",
            self.folder / f"worker-{number}.log",
            inside=self._inside(number),
            host=LOOPBACK if self.network is None else self.network.address(number),
            port=port,
            data=self.data(number),
            etcd=lines[number].endpoint if lines else self.etcd.endpoint,
            **self._internal,
            **self._lease,
            **zone,
            **self._worker_settings,
        )

    def _addresses_inside(self, network: PrivateNetwork) -> list[str]:
        servers = (f"{SERVERS}:{port}" for port in (*self.coordinator_ports, *self.ports))
        workers = (f"{network.address(number)}:{port}" for number, port in enumerate(self.worker_ports))
        return [f"{LOOPBACK}:{self.etcd.client_port}", *servers, *workers]

    def _ready(self, client: shoal.Client) -> bool:
        for role in self.roles:
            assert role.running, f"a role ended:\n{role.log()[-3000:]}"
        try:
            cluster = client.cluster()
        except shoal.ShoalError:
            return False
        up = sum(worker.state == "up" for worker in cluster.workers)
        return up == len(self.workers) and all(shard.state == "ok" for shard in cluster.shards)
