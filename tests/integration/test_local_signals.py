"""Test `shoal up` as users run it: its terminal closes, signals go to every process, parts of Ray are killed, Ctrl-C
comes while it starts. The processes are real.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import shoal
from shoal.deploy.processes.ports import free_port
from shoal.deploy.ray.session import children_of, is_alive, name_of, processes_of
from tests.support.scope import LONG

TIMEOUT_S = 90.0

pytestmark = pytest.mark.timeout(300)


def await_that(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, f"it did not come about: {what}"
        time.sleep(0.05)


def tree(pid: int) -> list[int]:
    """Return the pids of a process and all its descendants, parents first."""
    return [pid, *(each for child in children_of(pid) for each in tree(child))]


class Up:
    """Runs `shoal up` on a folder, in a process group and a session of its own, as a shell does. Its lines are read
    from its log.
    """

    def __init__(self, data: Path, *, output: int = subprocess.DEVNULL, hangup_ignored: bool = False) -> None:
        self.data, self.port = data, free_port()
        self._past = {name: self._read(name) for name in ("up", "worker-1", "coordinator")}
        command = [sys.executable, "-P", "-m", "shoal.deploy.local.up", f"--data={data}", f"--port={self.port}"]
        if hangup_ignored:
            command = ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', *command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self, name: str = "up") -> str:
        """Return what this run wrote to a log."""
        return self._read(name)[len(self._past[name]) :]

    def told(self) -> list[str]:
        """Return the lines for the terminal, also those that it could not write there."""
        return [line.partition(" shoal.up ")[2] for line in self.log().splitlines() if " shoal.up " in line]

    def await_told(self, start: str) -> None:
        def is_there() -> bool:
            assert self.process.poll() is None, self.log()[-2000:]
            return any(line.startswith(start) for line in self.told())

        await_that(is_there, f"{start!r} in {self.log()[-2000:]}")

    def session(self) -> Path:
        return Path((self.data / "ray-session").read_text())

    def ended(self) -> int:
        """Wait for the end and return the exit code. Checks that Ray's session is gone."""
        code = self.process.wait(TIMEOUT_S)
        assert not (self.data / "ray-session").exists()
        return code

    def ended_cleanly(self) -> None:
        """Check that it ended as after Ctrl-C on the command alone: each role was told to stop, none was killed, and
        each gave its lease back.
        """
        session = self.session()
        assert self.ended() == 0, self.log()[-3000:]
        assert processes_of(session) == []
        assert not session.exists()
        assert "stopping" in self.told()
        assert not any("killed" in line for line in self.told())
        for role in ("coordinator", "worker-1"):
            assert "shoal.role stopping" in self.log(role), role
            assert "not revoked" not in self.log(role), role
            assert "Traceback" not in self.log(role), role

    def _read(self, name: str) -> str:
        file = self.data / "logs" / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return one folder for all tests, because they also show that it can be used again."""
    folder = tmp_path_factory.mktemp("wild") / "data"
    yield folder
    lock = folder / "shoal.pid"
    if lock.exists() and is_alive(pid := int(lock.read_text() or 0)):
        os.kill(pid, signal.SIGTERM)
        await_that(lambda: not is_alive(pid), "the cluster ends")


def worker(data: Path) -> int:
    return int((data / "workers" / "1" / "lock").read_text().split()[0])


def test_without_its_terminal_it_goes_on_and_sigterm_to_every_process_ends_it_cleanly(data: Path) -> None:
    """nohup runs it, then the terminal closes. Later systemd ends the unit and signals every process
    (KillMode=control-group).
    """
    main, side = pty.openpty()
    up = Up(data, output=side, hangup_ignored=True)
    os.close(side)
    up.await_told("ready")
    with shoal.connect(f"127.0.0.1:{up.port}", timeout=TIMEOUT_S) as client:
        client.create_collection("things", dim=2)
        client.upsert("things", [1], [[1.0, 2.0]])
    os.killpg(up.pid, signal.SIGHUP)
    os.close(main)
    os.kill(worker(data), signal.SIGKILL)
    up.await_told("worker-1 is back")
    up.await_told("output_lost")
    for pid in tree(up.pid):
        os.kill(pid, signal.SIGTERM)
    up.ended_cleanly()


def test_a_hangup_of_the_whole_group_is_a_clean_end(data: Path) -> None:
    up = Up(data)
    up.await_told("ready")
    with shoal.connect(f"127.0.0.1:{up.port}", timeout=TIMEOUT_S) as client:
        assert client.count("things") == 1, "written in the test before"
    os.killpg(up.pid, signal.SIGHUP)
    os.killpg(up.pid, signal.SIGHUP)
    up.ended_cleanly()


@pytest.mark.parametrize("victim", ["gcs_server", "raylet"] if LONG else ["gcs_server"])
def test_a_ray_of_our_own_that_loses_a_part_ends_it_with_one_line(data: Path, victim: str) -> None:
    up = Up(data)
    up.await_told("ready")
    session = up.session()
    (pid,) = (each for each in tree(up.pid) if name_of(each) == victim)
    os.kill(pid, signal.SIGKILL)
    assert up.ended() == 1
    assert processes_of(session) == []
    assert not session.exists()
    assert f"Ray ended: its {victim} was killed" in up.told()[-1]
    assert ("shoal.role stopping" in up.log("worker-1")) == (victim == "gcs_server"), "what the raylet hosts dies with it"


MOMENTS = {"etcd": "starting etcd", "Ray": "starting Ray", "roles": "starting a coordinator", "opening": "waiting for the router"}


@pytest.mark.parametrize("moment", MOMENTS if LONG else ["Ray"])
def test_ctrl_c_while_it_starts_leaves_nothing_and_the_folder_can_be_used(data: Path, moment: str) -> None:
    up = Up(data)
    up.await_told(MOMENTS[moment])
    started = tree(up.pid)
    for _ in range(2):
        os.killpg(up.pid, signal.SIGINT)
    assert up.ended() == 0, up.log()[-3000:]
    assert up.told()[-1] == "stopping"
    assert "Traceback" not in up.log()
    # A session knows its processes by their environment. A killed process loses its environment shortly before it is
    # gone.
    await_that(lambda: not any(is_alive(pid) for pid in started), "all that it started is gone")


@pytest.mark.skipif(not LONG, reason="one more start; what it shows is part of test_local_cluster, too")
def test_after_all_this_it_starts_and_ctrl_c_of_the_group_is_a_clean_end(data: Path) -> None:
    up = Up(data)
    up.await_told("ready")
    os.killpg(up.pid, signal.SIGINT)
    up.ended_cleanly()
