"""A router in a process of its own beside a running cluster, so that every search crosses a hop to the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import shoal
from bench.peers.servers import free_port, terminated
from shoal.core.errors import ShoalError
from shoal.deploy.folder import ClusterFolder
from shoal.deploy.processes.die_with_parent import DYING_WITH_US

_START_S = 60.0


@dataclass(frozen=True, kw_only=True)
class RouterProcess:
    """A running router. address: host:port."""

    address: str
    pid: int


@contextmanager
def separate_router(data: Path, log: Path) -> Iterator[RouterProcess]:
    """Run a router beside the cluster of the data folder. Raises SystemExit if it does not answer in time."""
    ports = json.loads(ClusterFolder.at(str(data)).etcd_ports.read_text(encoding="ascii"))
    port = free_port()
    command = [*DYING_WITH_US, str(os.getpid()), sys.executable, "-P", "-m", "shoal.router"]
    command += [f"--etcd=127.0.0.1:{_client_port(ports)}", "--host=127.0.0.1", f"--port={port}", "--http-port=-1"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    with terminated(process):
        _await_answer(f"127.0.0.1:{port}", log)
        yield RouterProcess(address=f"127.0.0.1:{port}", pid=process.pid)


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _client_port(ports: object) -> int:
    assert isinstance(ports, dict), ports
    return int(ports["client"])


def _await_answer(address: str, log: Path) -> None:
    end = time.monotonic() + _START_S
    with shoal.connect(address, timeout=2) as client:
        while True:
            try:
                client.list_collections()
                return
            except ShoalError:
                if time.monotonic() > end:
                    raise SystemExit(f"error: the router at {address} does not answer: {log.read_text(errors='replace')[-2000:]}") from None
                time.sleep(0.1)
