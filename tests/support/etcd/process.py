"""A real etcd for tests: one process with its data in a folder, on free ports of loopback. It ends with the tests."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.network.ports import free_port

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LOOPBACK = "127.0.0.1"

# The child asks to be killed with its parent, then becomes etcd. Unlike a preexec_fn, this is safe while threads run.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def etcd_program() -> str:
    """Return the path of etcd: `ETCD`, or the `etcd` on PATH.

    Raises RuntimeError if there is none, because these tests must not be skipped.
    """
    program = os.environ.get("ETCD") or shutil.which("etcd")
    if program is None or shutil.which(program) is None:
        raise RuntimeError("these tests need a real etcd: install it (apt: etcd-server), or set ETCD to its path")
    return program


class EtcdProcess:
    """One etcd over one folder. Every start uses the same ports and the same data."""

    def __init__(
        self,
        folder: Path,
        *,
        flags: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        host: str = LOOPBACK,
        inside: tuple[str, ...] = (),
    ) -> None:
        """flags: further flags of etcd. tls: for health checks, if etcd speaks TLS to clients. inside: command prefix
        that runs it in another network namespace, where its address is `host`; its port must be reachable on our
        loopback, too.
        """
        self._flags, self._tls, self._host, self._inside = flags, tls, host, inside
        self.client_port = free_port()
        self._peer_port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{self._host}:{self.client_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "etcd was not started"
        return self._process.pid

    def start(self) -> None:
        """Start etcd and wait until it is healthy. Raises RuntimeError with the end of its log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, env=_clean_environment())
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"etcd did not become healthy:\n{self._log_path.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End etcd in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def freeze(self) -> None:
        """Send SIGSTOP: connections stay open, and etcd answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        # When kill returns, the process may still run: on a busy machine an answer could still come.
        while any(_state_of(task) not in "Tt" for task in Path(f"/proc/{self.pid}/task").iterdir()):
            time.sleep(0.001)

    def thaw(self) -> None:
        """Send SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def data_folder(self) -> Path:
        return self._folder / "data"

    def _url(self, host: str) -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.client_port}"

    @property
    def _log_path(self) -> Path:
        return self._folder / "etcd.log"

    def _command(self) -> list[str]:
        everywhere = LOOPBACK if self._host == LOOPBACK else "0.0.0.0"
        peer = f"http://{LOOPBACK}:{self._peer_port}"
        flags = [
            f"--data-dir={self.data_folder}",
            "--name=test",
            f"--listen-client-urls={self._url(everywhere)}",
            f"--advertise-client-urls={self._url(self._host)}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}",
            "--logger=zap",
            "--log-level=warn",
            *self._flags,
        ]
        return [*self._inside, sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), etcd_program(), *flags]

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url(LOOPBACK)}/health", timeout=1.0, context=self._tls) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False


def _clean_environment() -> dict[str, str]:
    """Return our environment without the variables that etcd would read as settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD_") or name == "ETCD_UNSUPPORTED_ARCH"}


def _state_of(task: Path) -> str:
    """Return the letter of a thread's state, from its line in /proc."""
    return (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
