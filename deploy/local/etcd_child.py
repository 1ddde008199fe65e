"""An etcd of our own as a child process. Its data and ports are kept in the folder. It ends with its parent."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shoal.core.deadline import Deadline
from shoal.core.errors import Unavailable
from shoal.deploy.local.etcd_binary import EtcdBinary
from shoal.deploy.processes.die_with_parent import DYING_WITH_US
from shoal.deploy.processes.log_files import opened_log
from shoal.deploy.processes.ports import free_port
from shoal.deploy.ray.session import MARK
from shoal.runtime.logs import event

log = logging.getLogger("shoal.up")

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
REVIVE_PAUSE_S = 2.0
_BACK_TIMEOUT_S = 5.0
_POLL_S = 0.05
_HEALTH_TIMEOUT_S = 2.0
_QUOTA_BYTES = 2 * 1024**3
_LEAST_BYTES = 80 * 1024**2
"""Least free disk space to start etcd: it reserves 64 MB for its log before it answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdPorts:
    """Loopback ports of one etcd: for clients, and for peers, although there are none."""

    client: int
    peer: int


class EtcdChild:
    """One etcd. Used from one thread."""

    def __init__(self, *, binary: EtcdBinary, folder: Path, log_file: Path) -> None:
        """folder: for its data and its ports. log_file: for its output."""
        self._binary, self._folder, self._log_file = binary, folder, log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = EtcdPorts(client=0, peer=0)
        self._revived_s = -REVIVE_PAUSE_S

    @property
    def endpoint(self) -> str:
        """host:port for clients, after the start."""
        return f"127.0.0.1:{self._ports.client}"

    @property
    def pid(self) -> int | None:
        """Process id, None before the start."""
        return self._process.pid if self._process else None

    def start(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Start it and wait until it answers, or until `stopped()`.

        Raises Unavailable, naming the log file, if it does not answer.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._ports = remembered_ports(self._folder / "ports.json")
            self._spawn()
        except OSError as error:
            raise Unavailable(f"etcd cannot be started: {error}") from None
        deadline = Deadline.after(START_TIMEOUT_S, time.monotonic)
        while not stopped() and not self._answers():
            if not self.alive():
                raise Unavailable(f"etcd ended while it started; see {self._log_file}{_room(self._folder)}")
            if deadline.passed:
                raise Unavailable(f"etcd did not answer within {START_TIMEOUT_S:.0f} s; see {self._log_file}")
            time.sleep(_POLL_S)

    def alive(self) -> bool:
        """Return whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def revive(self, now_s: float) -> bool:
        """Start it again if it has ended, on the same data and ports, at most once in REVIVE_PAUSE_S.

        Returns at once, with whether it was started.
        """
        if self.alive() or now_s < self._revived_s + REVIVE_PAUSE_S:
            return False
        self._revived_s = now_s
        try:
            self._spawn()
        except OSError as error:
            log.warning(event("etcd_not_started", reason=error, action="try again"))
            return False
        return True

    @contextlib.contextmanager
    def kept_running(self) -> Iterator[None]:
        """Keep it running within the context: a thread starts it again whenever it ends. The context begins when it
        answers, or after _BACK_TIMEOUT_S.

        No other method may be called within the context.
        """
        ended = threading.Event()

        def keep() -> None:
            while not ended.wait(_POLL_S):
                if self.revive(time.monotonic()):
                    log.warning(event("etcd_ended", action="start it again until the roles have ended"))

        keeper = threading.Thread(target=keep, name="etcd-keeper")
        keeper.start()
        try:
            deadline = Deadline.after(_BACK_TIMEOUT_S, time.monotonic)
            while not self._answers() and not deadline.passed:
                time.sleep(_POLL_S)
            yield
        finally:
            ended.set()
            keeper.join()

    def stop(self) -> None:
        """End it cleanly; kill it after STOP_TIMEOUT_S."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _spawn(self) -> None:
        with opened_log(self._log_file) as log:
            self._process = subprocess.Popen(
                [*DYING_WITH_US, str(os.getpid()), str(self._binary.path), *_flags(self._folder, self._ports)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name != MARK},
            )

    def _answers(self) -> bool:
        """Return whether it reports to be healthy. Not by urllib, which would use the proxy that a variable names."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports.client, timeout=_HEALTH_TIMEOUT_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.request("GET", "/health")
            return str(json.load(connection.getresponse()).get("health")) == "true"
        return False


def remembered_ports(file: Path) -> EtcdPorts:
    """Return the ports in `file` if they are still free. Else choose free ports, and write them to the file."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        ports = EtcdPorts(client=int(raw["client"]), peer=int(raw["peer"]))
        if _is_free(ports.client) and _is_free(ports.peer):
            return ports
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        file.unlink(missing_ok=True)
    ports = _free_ports()
    file.write_text(json.dumps({"client": ports.client, "peer": ports.peer}), encoding="utf-8")
    return ports


def _room(folder: Path) -> str:
    """Return a hint if the disk is too full for etcd to start, else ""."""
    free = shutil.disk_usage(folder).free
    return f"; its disk has {free >> 20} MiB left, make room there" if free < _LEAST_BYTES else ""


def _flags(folder: Path, ports: EtcdPorts) -> list[str]:
    client, peer = f"http://127.0.0.1:{ports.client}", f"http://127.0.0.1:{ports.peer}"
    return [
        "--name=shoal",
        f"--data-dir={folder / 'data'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=shoal={peer}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1h",
        f"--quota-backend-bytes={_QUOTA_BYTES}",
    ]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_ports() -> EtcdPorts:
    client = peer = free_port()
    while peer == client:
        peer = free_port()
    return EtcdPorts(client=client, peer=peer)
