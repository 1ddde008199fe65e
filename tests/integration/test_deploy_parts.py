"""Test the processes of a local cluster: our etcd, children that end with their parent, Ray's session and its guard,
and the port.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shoal.core.errors import InvalidArgument, Unavailable
from shoal.deploy.local.etcd_binary import find_etcd
from shoal.deploy.local.etcd_child import EtcdChild, EtcdPorts, remembered_ports
from shoal.deploy.local.readiness import OwnId, look
from shoal.deploy.processes.die_with_parent import DYING_WITH_US
from shoal.deploy.processes.ports import await_port_free, check_port_free, free_port, kept_port
from shoal.deploy.ray.session import MARK, end_session, processes_of, start_guard
from shoal.deploy.settings import LocalSettings
from tests.support.cluster.role_cluster import RoleCluster

SLEEPER = (sys.executable, "-c", "import sys, time; print('up', flush=True); time.sleep(600)")


def await_that(holds: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Return whether the process has ended. One that only waits to be reaped counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdChild]:
    child = EtcdChild(binary=find_etcd(), folder=tmp_path / "etcd", log_file=tmp_path / "etcd.log")
    child.start()
    yield child
    child.stop()


def put_and_get(endpoint: str, *, put: bool) -> bytes:
    """Put or get a key through etcd's JSON gateway, because no client of ours is under test here."""
    body, verb = (b'{"key":"YQ==","value":"Yg=="}', "put") if put else (b'{"key":"YQ=="}', "range")
    request = urllib.request.Request(f"http://{endpoint}/v3/kv/{verb}", data=body)
    with urllib.request.urlopen(request, timeout=10) as answer:
        read: bytes = answer.read()
        return read


def test_etcd_keeps_its_data_and_its_ports(etcd: EtcdChild, tmp_path: Path) -> None:
    put_and_get(etcd.endpoint, put=True)
    etcd.stop()
    again = EtcdChild(binary=find_etcd(), folder=tmp_path / "etcd", log_file=tmp_path / "etcd.log")
    again.start()
    try:
        assert again.endpoint == etcd.endpoint
        assert b'"Yg=="' in put_and_get(again.endpoint, put=False)
    finally:
        again.stop()
    assert not again.alive()


def test_a_dead_etcd_is_revived_but_not_in_a_frenzy(etcd: EtcdChild) -> None:
    assert not etcd.revive(100.0)
    assert etcd.pid is not None
    os.kill(etcd.pid, signal.SIGKILL)
    await_that(lambda: not etcd.alive())
    assert etcd.revive(100.0)
    os.kill(etcd.pid, signal.SIGKILL)
    await_that(lambda: not etcd.alive())
    assert not etcd.revive(101.0)
    assert etcd.revive(102.5)


def test_etcd_that_cannot_start_is_an_error_naming_its_log(tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd" / "data").write_text("no folder")
    child = EtcdChild(binary=find_etcd(), folder=tmp_path / "etcd", log_file=tmp_path / "etcd.log")
    with pytest.raises(Unavailable, match=r"etcd\.log"):
        child.start()


def test_ports_are_remembered_unless_somebody_took_them(tmp_path: Path) -> None:
    first = remembered_ports(tmp_path / "ports.json")
    assert remembered_ports(tmp_path / "ports.json") == first
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", first.client))
        taker.listen()
        other = remembered_ports(tmp_path / "ports.json")
    assert other.client != first.client
    assert remembered_ports(tmp_path / "ports.json") == other


@pytest.mark.parametrize("text", ["", "{", "[]", '{"client": 1}'])
def test_unreadable_ports_are_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    ports = remembered_ports(tmp_path / "ports.json")
    assert isinstance(ports, EtcdPorts)
    assert remembered_ports(tmp_path / "ports.json") == ports


def test_a_child_dies_with_its_killed_parent() -> None:
    source = (
        "import os, subprocess, sys, time; from shoal.deploy.processes.die_with_parent import DYING_WITH_US\n"
        "child = subprocess.Popen([*DYING_WITH_US, str(os.getpid()), sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    await_that(
        lambda: (
            b"time.sleep" in Path(f"/proc/{child}/cmdline").read_bytes() and b"deploy" not in Path(f"/proc/{child}/cmdline").read_bytes()
        )
    )
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await_that(lambda: is_gone(child))


def test_a_child_whose_parent_is_gone_already_does_not_run() -> None:
    done = subprocess.run([*DYING_WITH_US, "1", "/bin/echo", "ran"], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    folder = tmp_path / "shoal-session"
    folder.mkdir()
    member = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, env={**os.environ, MARK: str(folder)}, start_new_session=True)
    assert member.stdout is not None
    member.stdout.readline()
    yield folder, member
    member.kill()
    member.wait()
    member.stdout.close()


def test_the_end_of_a_session_takes_its_processes_and_its_folder(session: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    folder, member = session
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, env={**os.environ, MARK: str(tmp_path / "shoal-other")}) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        assert processes_of(folder) == [member.pid]
        end_session(folder)
        assert member.wait(10) == -signal.SIGKILL
        assert not folder.exists()
        assert stranger.poll() is None
        stranger.kill()
    end_session(folder)


def test_only_a_folder_of_our_own_naming_is_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    end_session(tmp_path / "precious")
    assert (tmp_path / "precious").exists()


def test_the_guard_ends_the_session_when_its_parent_is_killed(session: tuple[Path, subprocess.Popen[bytes]]) -> None:
    folder, member = session
    guard = start_guard(folder)
    assert guard.stdin is not None
    assert member.poll() is None
    guard.stdin.close()
    assert guard.wait(20) == 0
    assert member.wait(10) == -signal.SIGKILL
    assert not folder.exists()


def test_a_taken_port_is_an_error_until_it_is_left() -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        port = taker.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} on 127.0.0.1 is in use"):
            check_port_free("127.0.0.1", port)
        with pytest.raises(Unavailable):
            asyncio.run(await_port_free("127.0.0.1", port, 0.1))

        async def leave_meanwhile() -> None:
            waiting = asyncio.create_task(await_port_free("127.0.0.1", port, 10.0))
            await asyncio.sleep(0)
            assert not waiting.done()
            taker.close()
            await waiting

        asyncio.run(leave_meanwhile())


def test_a_port_is_kept_for_one_command_before_anybody_listens() -> None:
    port = free_port()
    with kept_port("127.0.0.1", port):
        with pytest.raises(Unavailable, match=f"port {port} on 127.0.0.1 is in use by another 'shoal up'"), kept_port("127.0.0.1", port):
            pass
        with kept_port("127.0.0.2", port), kept_port("127.0.0.1", free_port()):
            check_port_free("127.0.0.1", port)
    with kept_port("127.0.0.1", port):
        pass


def test_a_cluster_is_ready_only_for_who_started_it(shared_cluster: RoleCluster) -> None:
    """Another command's router may listen on our port. It answers just as ours would."""
    etcd = (shared_cluster.etcd.endpoint,)
    own_id = OwnId(LocalSettings(), etcd)
    assert own_id.get() is not None
    assert look(shared_cluster.address, 2, own_id.get()).lacking is None

    elsewhere = look(shared_cluster.address, 2, "another id")
    assert (elsewhere.lacking, elsewhere.foreign) == ("a coordinator that leads", True)

    unknown = OwnId(LocalSettings(cluster_name="unborn"), etcd).get()
    assert unknown is None
    undecided = look(shared_cluster.address, 2, unknown)
    assert (undecided.lacking, undecided.foreign) == ("a coordinator that leads", False)


def test_an_etcd_that_does_not_answer_knows_no_id_yet() -> None:
    assert OwnId(LocalSettings(), (f"127.0.0.1:{free_port()}",)).get() is None


def test_a_port_that_a_program_has_is_not_kept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taker:
        port = taker.getsockname()[1]
        with pytest.raises(Unavailable, match="in use by another program"), kept_port("127.0.0.1", port):
            pass
    with kept_port("127.0.0.1", port):
        pass


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="no such address"):
        check_port_free("203.0.113.1", 7600)
