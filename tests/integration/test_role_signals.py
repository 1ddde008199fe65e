"""Test plain roles as users run them: the terminal closes, nothing reads what they print, `nohup` runs them. The
processes are real and wait for an etcd that does not exist.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.cluster.role_cluster import wait_until
from tests.support.network.ports import free_port

ROLES = ("coordinator", "shard_worker", "router")
WAIT_S = 60.0


def start(tmp_path: Path, *shell: str, redirections: str = "") -> list[subprocess.Popen[bytes]]:
    """Start every role and wait until it takes signals. shell: what the shell does first."""
    endpoint = f"127.0.0.1:{free_port()}"
    started = []
    for role in ROLES:
        words = [
            sys.executable,
            "-P",
            "-m",
            f"shoal.{role}",
            f"--etcd={endpoint}",
            *([f"--data={tmp_path / 'w'}"] if role == "shard_worker" else []),
        ]
        shown = {} if redirections else {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = ["sh", "-c", "; ".join([*shell, f'exec "$0" "$@" {redirections}']), *words]
        started.append(subprocess.Popen(command, start_new_session=True, **shown))
    for process in started:
        wait_until(lambda process=process: takes_signals(process), "it takes signals")
    return started


def takes_signals(process: subprocess.Popen[bytes]) -> bool:
    """Return whether SIGTERM is blocked in the process. Then a thread waits for it."""
    assert process.poll() is None
    blocked = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigBlk"))
    return bool(int(blocked.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def codes(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    try:
        return [process.wait(WAIT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize("redirections", ["<&- >&- 2>&-", ">/dev/full 2>&1"])
def test_a_hangup_ends_a_role_cleanly_whatever_became_of_its_streams(tmp_path: Path, redirections: str) -> None:
    roles = start(tmp_path, redirections=redirections)
    for role in roles:
        role.send_signal(signal.SIGHUP)
        role.send_signal(signal.SIGHUP)
    assert codes(roles) == [0, 0, 0]


def test_under_nohup_a_role_outlives_a_hangup(tmp_path: Path) -> None:
    roles = start(tmp_path, 'trap "" HUP')
    for role in roles:
        role.send_signal(signal.SIGHUP)
        pending = Path(f"/proc/{role.pid}/status").read_text()
        assert "ShdPnd:\t0000000000000000" in pending, "ignored, not kept for later"
        assert role.poll() is None
        role.send_signal(signal.SIGTERM)
    assert codes(roles) == [0, 0, 0]
