"""The processes of a local Ray and their folder: marked, so that none outlives the command, even one that is killed.

Ray's own children end with it, but two of its agents linger for a minute and its folder stays. Every process of a
session carries the session's folder in its environment, which Linux shows in /proc; whoever ends a session kills what
carries it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shoal.core.deadline import Deadline
from shoal.core.errors import Unavailable

MARK = "SHOAL_RAY_SESSION"
"""Environment variable that names the folder of the session a process belongs to."""

_PREFIX = "shoal-"
_GUARD_TIMEOUT_S = 15
_GONE_WITHIN_S = 5.0
_POLL_S = 0.02
_ENVIRONMENT = {
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # With it Ray takes loopback for this machine's address, and listens nowhere else.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_grpc_enable_http_proxy": "0",
    # Ray lowers the priority of its workers; ours answer queries.
    "RAY_worker_niceness": "0",
    "OMP_NUM_THREADS": "1",
}


@contextlib.contextmanager
def ray_session(remember: Path) -> Iterator[Path]:
    """Everything around a Ray of our own: its folder, its secret, the guard that ends it if we cannot. Yields the
    folder.

    To be entered before ray is imported, which reads the environment only then. remember: file that names the folder
    meanwhile, so that what a killed command left behind is found. Ray's ports are on loopback, which every user of this
    machine can reach, hence a secret token for each session. Ray lets its workers import from the working directory of
    this process, hence an empty one. Raises Unavailable.
    """
    if remember.exists():
        end_session(Path(remember.read_text(encoding="utf-8").strip()))
    folder = _new_folder(remember)
    guard = start_guard(folder)
    os.environ.update(_ENVIRONMENT)
    os.environ.update({MARK: str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    empty = folder / "empty"
    empty.mkdir()
    os.chdir(empty)
    try:
        yield folder
    finally:
        os.chdir("/")
        _release(guard)
        end_session(folder)
        remember.unlink(missing_ok=True)


def _new_folder(remember: Path) -> Path:
    # Under /tmp because the paths of Ray's sockets must stay below 107 bytes.
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        remember.write_text(str(folder), encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"no folder for Ray: {error}") from None
    return folder


def end_session(folder: Path) -> None:
    """Kill every process of the session and remove its folder. Does nothing when there is no such session."""
    kill_session(folder)
    deadline = Deadline.after(_GONE_WITHIN_S, time.monotonic)
    while not deadline.passed and processes_of(folder):
        time.sleep(_POLL_S)
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def kill_session(folder: Path) -> None:
    """Kill every process of the session except this one."""
    for pid in processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(folder: Path) -> list[int]:
    """Return the ids of the processes, except our own, that carry the session's mark."""
    wanted = f"{MARK}={folder}".encode()
    return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if pid != os.getpid() and wanted in _environment(pid)]


def start_guard(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that ends the session once our end of its standard input closes, be it by our sudden death."""
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "shoal.deploy.ray.guard", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        start_new_session=True,
    )


def _release(guard: subprocess.Popen[bytes]) -> None:
    assert guard.stdin is not None
    guard.stdin.close()
    try:
        guard.wait(_GUARD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def children_of(pid: int) -> list[int]:
    """Return the processes that this one has started and not yet waited for."""
    return [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()]


def name_of(pid: int) -> str:
    """Return the name of a process's program, at most 15 characters; "" when there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether a process runs. One that has ended and only waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
