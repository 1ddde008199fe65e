"""A whole cluster as plain processes, for tests: a real etcd, `python -m coordinator`, `python -m shard_worker`, `python -m router`.

Every process dies with the test process. Nothing waits for seconds: `wait_until` waits for conditions.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import shoal
from tests.etcd_process import EtcdProcess, free_port
from tests.tcp_proxy import ProxyThread

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
    """Wait for a condition. Raises AssertionError naming it when it does not come."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain: {what}"
        time.sleep(0.02)


class RoleProcess:
    """One role as a process. `start` again after a kill goes on with the same arguments."""

    def __init__(self, module: str, log: Path, **settings: object) -> None:
        self._module, self._log = module, log
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
        command = [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), self._module, *self._arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=Path(__file__).parent.parent)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> int:
        """The exit code of a process that ends by itself."""
        assert self._process is not None, "not started"
        return self._process.wait(PATIENCE_S)

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


class RoleCluster:
    """etcd, coordinators, workers and routers over one folder. One line a coordinator lies between it and etcd, when there are several."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        coordinators: int = 1,
        routers: int = 1,
        lease_ttl_s: int | None = None,
        **worker_settings: object,
    ) -> None:
        """lease_ttl_s: of coordinators and workers; their default when None."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.etcd = EtcdProcess(folder / "etcd")
        endpoint = {"etcd": self.etcd.endpoint}
        lease = {} if lease_ttl_s is None else {"lease_ttl_s": lease_ttl_s}
        self.lines = [ProxyThread(self.etcd.client_port) for _ in range(coordinators)] if coordinators > 1 else []
        self.coordinator_ports = [free_port() for _ in range(coordinators)]
        self.coordinators = [
            RoleProcess("coordinator", folder / f"coordinator-{number}.log", port=port, etcd=self._etcd_of_coordinator(number), **lease)
            for number, port in enumerate(self.coordinator_ports)
        ]
        self.workers = [
            RoleProcess("shard_worker", folder / f"worker-{n}.log", data=folder / f"worker-{n}", **endpoint, **lease, **worker_settings)
            for n in range(workers)
        ]
        self.ports = [free_port() for _ in range(routers)]
        self.routers = [RoleProcess("router", folder / f"router-{n}.log", port=port, **endpoint) for n, port in enumerate(self.ports)]

    @property
    def port(self) -> int:
        """Of the first router."""
        return self.ports[0]

    @property
    def address(self) -> str:
        """Of the first router."""
        return f"127.0.0.1:{self.port}"

    @property
    def addresses(self) -> list[str]:
        """Of every router."""
        return [f"127.0.0.1:{port}" for port in self.ports]

    @property
    def coordinator(self) -> RoleProcess:
        """The first one."""
        return self.coordinators[0]

    @property
    def router(self) -> RoleProcess:
        """The first one."""
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
        self.etcd.start()
        self.start_roles()
        self.wait_ready()

    def start_roles(self) -> None:
        """Every role, without waiting."""
        for line in self.lines:
            line.restore()
        for role in self.roles:
            role.start()

    def stop(self) -> None:
        for role in reversed(self.roles):
            if role.running:
                role.stop()
        self.etcd.stop()
        for line in self.lines:
            line.close()

    def kill_all(self) -> None:
        for role in self.roles:
            role.kill()
        self.etcd.kill()

    def wait_ready(self) -> None:
        """Until every worker is registered and every shard has a serving primary."""
        with shoal.connect(self.address, timeout=5) as client:
            wait_until(lambda: self._ready(client), f"the cluster is ready; see {self.folder}")

    def worker_of_pid(self, pid: int) -> RoleProcess:
        return next(worker for worker in self.workers if worker.pid == pid)

    def leader(self, client: shoal.Client) -> int | None:
        """Number of the coordinator that leads, as the router sees it."""
        try:
            leader = client.cluster().leader
        except shoal.ShoalError:
            return None
        return None if leader is None else self.coordinator_ports.index(int(leader.rpartition(":")[2]))

    def _etcd_of_coordinator(self, number: int) -> str:
        return self.lines[number].endpoint if self.lines else self.etcd.endpoint

    def _ready(self, client: shoal.Client) -> bool:
        for role in self.roles:
            assert role.running, f"a role ended:\n{role.log()[-3000:]}"
        try:
            cluster = client.cluster()
        except shoal.ShoalError:
            return False
        up = sum(worker.state == "up" for worker in cluster.workers)
        return up == len(self.workers) and all(shard.state == "ok" for shard in cluster.shards)
