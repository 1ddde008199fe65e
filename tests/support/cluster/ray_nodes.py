"""A Ray of several nodes on this machine, which tests damage: a head that hosts nothing, and one node for each worker,
with the label of its worker.

Its processes carry the mark of shoal.deploy.ray.session, so that leftover ones are found and killed at the end. Ray
keeps its tables in a folder (`RAY_gcs_storage`), so that a killed head can read them again.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ray import _raylet as _ray
from ray.cluster_utils import Cluster

from shoal.deploy.ray.session import MARK
from tests.support.network.ports import free_port

OBJECT_STORE_BYTES = 80 * 1024 * 1024
HEAD_TIMEOUT_S = 60
TOKEN = secrets.token_hex(32)
"""Ray listens on every interface. Without the token, anyone who reaches this machine could run code in our tests."""

ADDRESS_FILE = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of every process of Ray. A killed node is noticed within 2.5 s rather than 15 s."""
    return {
        MARK: str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(folder / "gcs"),
        "RAY_health_check_period_ms": "500",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "604800",
    }


def short_folder() -> Path:
    """Make a folder for Ray's sockets, whose paths must stay below 107 bytes."""
    return Path(tempfile.mkdtemp(prefix="shoal-nodes-", dir="/tmp"))


class RayNodes:
    """Nodes numbered from 1. Each has the label of the worker of its number. The environment above must be set."""

    def __init__(self, folder: Path, workers: int) -> None:
        # Ray read the environment when it was imported; this is its own way to read it again.
        raylet: Any = _ray
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
        self._folder = folder
        self._port = free_port()
        # Cluster writes its address there, whatever temp_dir says.
        ADDRESS_FILE.parent.mkdir(exist_ok=True)
        self._cluster = Cluster(shutdown_at_exit=False)
        self._head = self._cluster.add_node(num_cpus=0, gcs_server_port=self._port, include_dashboard=False, **self._common())
        self._nodes = {number: self._add(number) for number in range(1, workers + 1)}
        self._cluster.wait_for_nodes()
        ADDRESS_FILE.unlink(missing_ok=True)

    @property
    def address(self) -> str:
        address: str = self._cluster.address
        return address

    def raylet(self, number: int) -> int:
        """Return the process id of the parent of everything that a node hosts."""
        pid: int = self._nodes[number].all_processes["raylet"][0].process.pid
        return pid

    def id(self, number: int) -> str:
        """Return the id that Ray gives to a node."""
        name: str = self._nodes[number].node_id
        return name

    def kill_node(self, number: int) -> None:
        """Send SIGKILL to every process of a node."""
        self._cluster.remove_node(self._nodes.pop(number), allow_graceful=False)

    def start_node(self, number: int) -> None:
        """Start a new node with the label of the one that was killed."""
        self._nodes[number] = self._add(number)

    def kill_head(self) -> None:
        """Send SIGKILL to every process of the head: Ray's tables (GCS), its raylet, its agents."""
        for processes in self._head.all_processes.values():
            for each in processes:
                if each.process.poll() is None:
                    each.process.send_signal(signal.SIGKILL)
                    each.process.wait(10)

    def start_head(self) -> None:
        """Start the head again, on the same port and with the same tables."""
        flags = ["--head", f"--port={self._port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        command = [str(Path(sys.executable).parent / "ray"), "start", *flags, f"--object-store-memory={OBJECT_STORE_BYTES}"]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=HEAD_TIMEOUT_S, check=True, env=os.environ)

    def _add(self, number: int) -> Any:
        return self._cluster.add_node(wait=False, num_cpus=1, labels={f"shoal-worker-{number}": "true"}, **self._common())

    def _common(self) -> dict[str, Any]:
        return {"object_store_memory": OBJECT_STORE_BYTES, "temp_dir": str(self._folder)}
