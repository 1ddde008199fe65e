"""The processes of a local Ray and their folder. They are marked, so that all of them end with the command, also if it
is killed.

Most children of Ray end with it, but two agents stay for a minute, and the folder stays. Every process of a session has
the session's folder in its environment, which Linux shows in /proc. To end a session, all processes with this mark are
killed.
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
"""Environment variable with the folder of the session to which a process belongs."""

_PREFIX = "shoal-"
_GUARD_TIMEOUT_S = 15
_GONE_WITHIN_S = 5.0
_POLL_S = 0.02
_ENVIRONMENT = {
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # With this, Ray uses loopback as this machine's address, and listens on no other.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_grpc_enable_http_proxy": "0",
    # Ray lowers the priority of its workers; ours answer queries.
    "RAY_worker_niceness": "0",
    "OMP_NUM_THREADS": "1",
}


@contextlib.contextmanager
def ray_session(remember: Path) -> Iterator[Path]:
    """Prepare the session of our own Ray: its folder, its token, and the guard that ends it if we cannot. Yields the
    folder.

    Enter it before ray is imported, since ray reads the environment at its import. remember: file that holds the path
    of the folder during the session; with it, the next command cleans up after a command that was killed. Ray's ports
    are on loopback, which every user of this machine can reach, so each session has a secret token. Ray's workers
    import from the working directory of this process, so an empty folder is used. Raises Unavailable if no folder can
    be made.
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
    """Kill every process of the session and remove its folder. Does nothing if there is no session."""
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
    """Return the ids of the processes, except our own, that have the session's mark."""
    wanted = f"{MARK}={folder}".encode()
    return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if pid != os.getpid() and wanted in _environment(pid)]


def start_guard(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process that ends the session when our end of its standard input closes, also because we were killed."""
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
    """Return the ids of the child processes of a process, including ended ones that it has not waited for."""
    return [int(child) for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()]


def name_of(pid: int) -> str:
    """Return the name of a process's program, at most 15 characters; "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
