"""The clusters on which chaos takes place: each can begin and end a fault. Here: plain processes."""

from __future__ import annotations

import contextlib
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import shoal
from tests.chaos.kill_matrix import Victim
from tests.chaos.operators import Operators
from tests.chaos.schedule import MENDABLE, OPERATIONS, WIPES, Fault, Planned
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.network.private_network import why_no_network

WORKERS = 4
ZONES = ("a", "a", "b", "c", "b")
"""Of the workers, and of a newcomer."""

_SAFE_WITHIN_S = 20.0

HEALED_WITHIN_S = 90.0
"""Most seconds until a process is back, or the cluster is whole again, after a fault."""


class Ground(ABC):
    """A running cluster. faults: those that it can begin; counts: number of processes of each role; operators: who use
    it.
    """

    faults: Sequence[Fault]
    counts: Mapping[str, int]
    addresses: Sequence[str]
    operators: Operators

    def begin(self, planned: Planned, client: shoal.Client) -> None:
        """Begin the fault."""
        if planned.fault in OPERATIONS:
            self.operators.begin(planned, client)
        else:
            self._harm(planned)

    def end(self, planned: Planned, client: shoal.Client) -> None:
        """End the fault, as far as a supervisor, a repaired network or an operator would."""
        if planned.fault in OPERATIONS:
            self.operators.end(planned, client)
        else:
            self._heal(planned, client)

    def is_plain_failover(self, planned: Sequence[Planned]) -> bool:
        """Return whether a round harmed one worker and nothing else.

        Then the time without writes of its shards is the time of a failover.
        """
        return len(planned) == 1 and planned[0].role == "worker" and planned[0].fault not in OPERATIONS

    def is_whole(self, client: shoal.Client) -> bool:
        """Return whether every process runs, every shard has all its replicas in sync, and nothing moves or is drained.

        Ends what operators have begun.
        """
        return self.operators.tidy(client) and self._runs_whole(client)

    @abstractmethod
    def _harm(self, planned: Planned) -> None:
        """Begin a fault of the machine."""

    @abstractmethod
    def _heal(self, planned: Planned, client: shoal.Client) -> None:
        """End a fault of the machine."""

    @abstractmethod
    def _runs_whole(self, client: shoal.Client) -> bool:
        """Return whether every process runs and every shard has all its replicas in sync."""

    @abstractmethod
    def reachable(self, address: str) -> str:
        """Return the address at which a worker is reached from here."""

    @abstractmethod
    def keep_logs(self, folder: Path) -> None:
        """Copy every log into `folder`."""


def plain_cluster(folder: Path, ttl_s: int) -> RoleCluster:
    """Return a cluster with two routers and coordinators, and four workers in three zones, which another one can join.

    A worker that is gone for four leases is replaced.
    """
    return RoleCluster(
        folder,
        workers=WORKERS,
        coordinators=2,
        routers=2,
        zones=ZONES,
        spares=1,
        lease_ttl_s=ttl_s,
        private=why_no_network() is None,
        worker_lines=why_no_network() is not None,
        coordinator_settings={"replace_after_s": 4 * ttl_s},
    )


class PlainGround(Ground):
    """Plain processes; each worker is on a host of its own in a private network, if that is available."""

    def __init__(self, cluster: RoleCluster) -> None:
        self.cluster, self.addresses = cluster, cluster.addresses
        off = () if cluster.network is not None else (Fault.WORKER_ISOLATED, Fault.CUT_FROM_WORKER)
        self.faults = [fault for fault in Fault if fault not in off]
        self.counts = {
            "worker": len(cluster.workers),
            "coordinator": len(cluster.coordinators),
            "router": len(cluster.routers),
            "etcd": 1,
            "plan": 1,
            "newcomer": 1,
        }
        self.operators = Operators(cluster.worker_id, cluster)

    def _harm(self, planned: Planned) -> None:
        match planned.fault:
            case Fault.WORKER_ISOLATED:
                self.cluster.isolate(planned.target)
            case Fault.CUT_FROM_ETCD:
                self.cluster.cut_from_etcd(planned.target)
            case Fault.CUT_FROM_WORKER:
                self.cluster.cut_from_worker(planned.target, planned.other)
            case Fault.WORKER_FROZEN | Fault.COORDINATOR_FROZEN | Fault.ROUTER_FROZEN | Fault.ETCD_FROZEN:
                self._victim(planned).freeze()
            case _:
                self._victim(planned).kill()

    def _heal(self, planned: Planned, client: shoal.Client) -> None:
        if planned.fault in MENDABLE:
            self.cluster.mend(planned.target)
        elif "frozen" in planned.fault:
            self._victim(planned).thaw()
        else:
            if planned.fault in WIPES and self._others_hold_all(planned.target, client):
                self._wipe(planned)
            self._victim(planned).start()

    def _runs_whole(self, client: shoal.Client) -> bool:
        return self.cluster.is_whole(client) and self.cluster.leader(client) is not None

    def reachable(self, address: str) -> str:
        """See Ground."""
        return self.cluster.reachable(address)

    def keep_logs(self, folder: Path) -> None:
        """See Ground."""
        copy_logs(self.cluster.folder, folder)

    def _victim(self, planned: Planned) -> Victim:
        if planned.role == "etcd":
            return self.cluster.etcd
        roles = {"worker": self.cluster.workers, "coordinator": self.cluster.coordinators, "router": self.cluster.routers}
        return roles[planned.role][planned.target]

    def _others_hold_all(self, worker: int, client: shoal.Client) -> bool:
        """Return whether every shard certainly survives the loss of a dead worker's disk: others are in sync and one
        leads.
        """
        name = self.cluster.worker_id(worker)

        def holds() -> bool:
            with contextlib.suppress(shoal.ShoalError):
                return all(shard.primary != name and set(shard.isr) - {name} for shard in client.cluster().shards)
            return False

        deadline = time.monotonic() + _SAFE_WITHIN_S
        while not holds():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _wipe(self, planned: Planned) -> None:
        data = self.cluster.data(planned.target)
        if planned.fault is Fault.WORKER_WIPED:
            shutil.rmtree(data)
            return
        replicas = sorted(data.glob("*/*/[!.]*/"))
        if replicas:
            shutil.rmtree(replicas[planned.other % len(replicas)])


def copy_logs(source: Path, folder: Path) -> None:
    """Copy every log below `source` into `folder`, under unique names."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in source.rglob("*.log"):
        if "/log/" not in str(log):
            shutil.copyfile(log, folder / str(log.relative_to(source)).replace("/", "-"))
