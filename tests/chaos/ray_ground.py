"""Chaos on `shoal up`: Ray hosts the roles, and its supervisor restarts processes that end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import shoal
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.ray.session import processes_of
from tests.chaos.grounds import HEALED_WITHIN_S, WORKERS, Ground, copy_logs
from tests.chaos.operators import Operators
from tests.chaos.schedule import Fault, Planned
from tests.support.cluster.role_cluster import shards_are_whole, wait_until


def ray_cluster(folder: Path, ttl_s: int) -> ForegroundCluster:
    """Return a cluster with router and worker in one process, three more workers, and its own etcd and Ray."""
    return ForegroundCluster(data=folder / "data", workers=WORKERS, flags=(f"--lease-ttl-s={ttl_s}",))


class RayGround(Ground):
    """The processes that `shoal up` hosts."""

    faults = (
        Fault.WORKER_KILLED,
        Fault.WORKER_FROZEN,
        Fault.COORDINATOR_KILLED,
        Fault.COORDINATOR_FROZEN,
        Fault.ETCD_KILLED,
        Fault.ETCD_FROZEN,
        Fault.PLAN_APPLIED,
        Fault.PLAN_CANCELLED,
        Fault.WORKER_DRAINED,
        Fault.WORKER_YIELDS,
    )

    def __init__(self, cluster: ForegroundCluster) -> None:
        self._cluster, self.addresses = cluster, [cluster.address]
        self.counts = {"worker": WORKERS, "coordinator": 1, "etcd": 1, "plan": 1}
        self.operators = Operators(self._worker_id)
        self._frozen: dict[Planned, int] = {}

    def _harm(self, planned: Planned) -> None:
        """See Ground. A process that an earlier fault of the round has killed must first be back."""
        wait_until(
            lambda: self._pid(planned.role, planned.target) is not None,
            f"{planned.role} {planned.target} runs",
            HEALED_WITHIN_S,
        )
        pid = self._pid(planned.role, planned.target)
        assert pid is not None
        if "frozen" in planned.fault:
            self._frozen[planned] = pid
            os.kill(pid, signal.SIGSTOP)
        else:
            os.kill(pid, signal.SIGKILL)

    def _heal(self, planned: Planned, client: shoal.Client) -> None:
        """See Ground.

        The supervisor restarts killed processes. It may also have ended a process that did not answer.
        """
        if planned in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._frozen.pop(planned), signal.SIGCONT)

    def is_plain_failover(self, planned: Sequence[Planned]) -> bool:
        """See Ground. The first worker shares its process with the router."""
        return super().is_plain_failover(planned) and planned[0].target != 0

    def _runs_whole(self, client: shoal.Client) -> bool:
        with contextlib.suppress(shoal.ShoalError):
            cluster = client.cluster()
            up = sum(worker.state == "up" for worker in cluster.workers)
            return up == WORKERS and cluster.leader is not None and shards_are_whole(client)
        return False

    def reachable(self, address: str) -> str:
        """See Ground."""
        return address

    def keep_logs(self, folder: Path) -> None:
        """See Ground."""
        copy_logs(self._cluster.data, folder)
        (folder / "shoal-up.log").write_text("\n".join(self._cluster.lines))

    def _worker_id(self, number: int) -> str:
        return str(json.loads((self._cluster.data / "workers" / str(number + 1) / "worker.json").read_text())["worker_id"])

    def _pid(self, role: str, number: int) -> int | None:
        """Return the process of a role; None while there is none."""
        if role == "worker":
            running = [int((self._cluster.data / "workers" / str(number + 1) / "lock").read_text().split()[0])]
        elif role == "etcd":
            children = Path(f"/proc/{self._cluster.pid}/task/{self._cluster.pid}/children").read_text().split()
            running = [int(pid) for pid in children if b"--data-dir" in _command(int(pid))]
        else:
            session = Path((self._cluster.data / "ray-session").read_text().strip())
            running = [pid for pid in processes_of(session) if _writes_to(pid) == f"{role}.log"]
        return next((pid for pid in running if _command(pid)), None)


def _command(pid: int) -> bytes:
    """Return the command line of a process, nothing of one that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _writes_to(pid: int) -> str:
    """Return the name of the file that a process writes its output to."""
    with contextlib.suppress(OSError):
        return Path(os.readlink(f"/proc/{pid}/fd/1")).name
    return ""
