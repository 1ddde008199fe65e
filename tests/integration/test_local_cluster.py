"""Test `python -m shoal.deploy.local.up`, which is `shoal up`, with a real etcd, a real Ray and real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import shoal
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.processes.ports import free_port
from shoal.deploy.ray.session import processes_of
from tests.support.network.listeners import listening
from tests.support.network.loopback_six import has_six
from tests.support.network.proxy import VARIABLES, Proxy, proxy_named_by

DIM, POINTS = 8, 500
VECTORS = np.random.default_rng(7).normal(size=(POINTS, DIM)).astype(np.float32)
TIMEOUT_S = 60.0


def await_that(holds: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def fill(address: str) -> None:
    with shoal.connect(address, timeout=TIMEOUT_S) as client:
        client.create_collection("things", dim=DIM, shards=3)
        client.upsert("things", list(range(POINTS)), VECTORS, [{"n": number} for number in range(POINTS)])


def check(address: str) -> None:
    """Check that each point is there once and is found."""
    with shoal.connect(address, timeout=TIMEOUT_S) as client:
        assert client.count("things") == POINTS
        hits = client.search_many("things", VECTORS[:20], k=3)
        assert [each[0].id for each in hits] == list(range(20))
        assert hits[5][0].payload == {"n": 5}


def run_up(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "shoal.deploy.local.up", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def holder(folder: Path) -> int:
    """Return the pid of the process that has locked a worker's folder."""
    return int((folder / "lock").read_text().split()[0])


def etcd_of(cluster: ForegroundCluster) -> int:
    """Return the pid of the cluster's etcd."""
    children = Path(f"/proc/{cluster.pid}/task/{cluster.pid}/children").read_text().split()
    (etcd,) = (int(pid) for pid in children if b"--data-dir" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return etcd


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """Start a proxy, and name it in every environment variable for proxies. No process of the cluster and no client may
    use it.
    """
    with proxy_named_by(VARIABLES) as named:
        yield named


def asked_for_ours(proxy: Proxy) -> list[str]:
    """Return what the proxy was asked, without Ray's questions whether this is a machine of Azure, Google or Amazon."""
    return [words for words in proxy.asked if not words.startswith(("GET http://169.254.169.254/", "GET http://metadata.google.internal/"))]


@pytest.fixture(scope="module")
def cluster(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForegroundCluster]:
    with ForegroundCluster(data=tmp_path_factory.mktemp("up") / "data", workers=2) as running:
        fill(running.address)
        yield running


def all_there(cluster: ForegroundCluster, workers: int) -> bool:
    with shoal.connect(cluster.address, timeout=TIMEOUT_S) as client:
        info = client.cluster()
    return sum(worker.state == "up" for worker in info.workers) == workers and all(shard.state == "ok" for shard in info.shards)


@pytest.mark.timeout(300)
def test_it_says_what_it_does_and_then_ready(cluster: ForegroundCluster) -> None:
    starts = [line.split()[0] for line in cluster.lines]
    assert starts[0] == "starting"
    assert f"ready  {cluster.address}" in cluster.lines
    check(cluster.address)


def test_shards_are_spread_over_the_workers(cluster: ForegroundCluster) -> None:
    with shoal.connect(cluster.address) as client:
        info = client.cluster()
    assert len(info.workers) == 2
    assert {shard.primary for shard in info.shards} == {worker.id for worker in info.workers}
    assert info.leader is not None


def test_all_of_it_listens_on_loopback_only(cluster: ForegroundCluster) -> None:
    """This holds for Ray's processes and the actors that they host, and for etcd."""
    session = Path((cluster.data / "ray-session").read_text())
    etcd = etcd_of(cluster)
    hosted = set(processes_of(session)) | {cluster.pid}
    assert len(hosted) > 5, "Ray, its agents and three actors"
    assert listening(hosted) == listening([etcd]) == {"127.0.0.1"}


def test_a_second_one_on_the_folder_is_refused_naming_the_first(cluster: ForegroundCluster) -> None:
    done = run_up(f"--data={cluster.data}", f"--port={free_port()}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: the folder")
    assert f"(pid {cluster.pid})" in done.stderr


def test_a_killed_worker_comes_back_with_its_data(cluster: ForegroundCluster) -> None:
    victim = holder(cluster.data / "workers" / "2")
    os.kill(victim, signal.SIGKILL)
    cluster.await_line("worker-2 is back", TIMEOUT_S)
    await_that(lambda: all_there(cluster, 2))
    check(cluster.address)
    assert holder(cluster.data / "workers" / "2") != victim


def test_the_killed_router_comes_back_on_its_port(cluster: ForegroundCluster) -> None:
    os.kill(holder(cluster.data / "workers" / "1"), signal.SIGKILL)
    cluster.await_line("worker-1 is back", TIMEOUT_S)
    await_that(lambda: all_there(cluster, 2))
    check(cluster.address)


def test_a_killed_etcd_comes_back(cluster: ForegroundCluster) -> None:
    os.kill(etcd_of(cluster), signal.SIGKILL)
    check(cluster.address)
    cluster.await_line("etcd ended", TIMEOUT_S)
    with shoal.connect(cluster.address, timeout=TIMEOUT_S) as client:
        client.create_collection("later", dim=2)
        client.drop_collection("later")


def test_commands_and_async_clients_work_beside_a_proxy(cluster: ForegroundCluster, proxy: Proxy) -> None:
    done = subprocess.run([Path(sys.executable).parent / "shoal", "--address", cluster.address, "status"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr

    async def count() -> int:
        async with shoal.connect_async(cluster.address, timeout=TIMEOUT_S) as client:
            return await client.count("things")

    assert asyncio.run(count()) == POINTS
    assert asked_for_ours(proxy) == []


@pytest.mark.timeout(500)
def test_a_clean_end_and_everything_back(cluster: ForegroundCluster, proxy: Proxy) -> None:
    """This test ends the shared cluster, so it must be the last one that uses it."""
    session = Path((cluster.data / "ray-session").read_text())
    os.killpg(cluster.pid, signal.SIGINT)
    assert cluster.wait() == 0
    assert cluster.lines[-2:] == ["stopping", "stopped"]
    assert not session.exists()
    assert processes_of(session) == []

    once_more = ForegroundCluster(data=cluster.data, port=cluster.port, workers=1)
    with once_more:
        await_that(lambda: all_there(once_more, 2))
        check(once_more.address)
        session = Path((cluster.data / "ray-session").read_text())
        once_more.signal(signal.SIGKILL)
        once_more.wait()
        await_that(lambda: processes_of(session) == [] and not session.exists())

    six = has_six()
    with ForegroundCluster(data=cluster.data, port=cluster.port, flags=("--host=::1",) if six else ()) as after_kill:
        (ready,) = (line for line in after_kill.lines if line.startswith("ready"))
        assert ready.split()[1] == (f"[::1]:{cluster.port}" if six else cluster.address)
        check(ready.split()[1])
    assert after_kill.wait() == 0
    assert asked_for_ours(proxy) == []


def test_a_taken_port_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        port = taker.getsockname()[1]
        done = run_up(f"--data={tmp_path / 'data'}", f"--port={port}")
    assert done.returncode == 1
    assert done.stderr == f"error: port {port} on 127.0.0.1 is in use by another program (Address already in use); choose another --port\n"


def test_an_unreachable_etcd_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = run_up(f"--data={tmp_path / 'data'}", f"--etcd=127.0.0.1:{free_port()}", f"--port={free_port()}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: etcd at 127.0.0.1:")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("flag", ["--port=0", "--port=x", "--workers=0"])
def test_impossible_flags_are_one_line_and_exit_code_1(flag: str) -> None:
    done = run_up(flag)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: ")
