"""Test `shoal up --ray-address`: a running Ray hosts the roles. They go on when the command ends, and the next command
finds them.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal
from shoal.core.errors import Unavailable
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.processes.ports import free_port
from shoal.deploy.ray.session import MARK, end_session
from tests.support.etcd.process import EtcdProcess
from tests.support.network.private_network import SERVERS, PrivateNetwork, why_no_network

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Start an etcd, and a Ray of one node that has the label of worker 1. Yield the flags of `shoal up` for them."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-given-", dir="/tmp"))
    port = free_port()
    command: list[str | Path] = [Path(sys.executable).parent / "ray", "start", "--head", f"--port={port}", "--labels=shoal-worker-1=true"]
    limits = ["--num-cpus=1", "--object-store-memory=80000000", "--include-dashboard=false", "--disable-usage-stats"]
    token = folder / "token"
    token.write_text(secrets.token_hex(32) + "\n")
    etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    etcd.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        patch.delenv("RAY_AUTH_TOKEN", raising=False)
        yield from _head(command, limits, folder, port, etcd)


def _head(command: list[str | Path], limits: list[str], folder: Path, port: int, etcd: EtcdProcess) -> Iterator[tuple[str, ...]]:
    try:
        subprocess.run(
            [*command, *limits, f"--temp-dir={folder}"],
            env={**os.environ, MARK: str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=90,
            check=True,
        )
        yield (f"--etcd={etcd.endpoint}", f"--ray-address=127.0.0.1:{port}")
    finally:
        end_session(folder)
        etcd.stop()


def only_worker(client: shoal.Client) -> int:
    (worker,) = client.cluster().workers
    return worker.pid


@pytest.mark.timeout(300)
def test_roles_outlive_the_command_and_are_found_again(given: tuple[str, ...], tmp_path: Path) -> None:
    first = ForegroundCluster(data=tmp_path / "data", flags=given)
    first.start()
    with shoal.connect(first.address, timeout=TIMEOUT_S) as client:
        client.create_collection("things", dim=2)
        client.upsert("things", [1, 2], [[0.0, 1.0], [1.0, 0.0]])
        pid = only_worker(client)
        first.signal(signal.SIGKILL)
        first.wait()
        assert client.count("things") == 2

        second = ForegroundCluster(data=tmp_path / "data", port=first.port, flags=given)
        with second:
            assert only_worker(client) == pid
            os.kill(pid, signal.SIGKILL)
            second.await_line("worker-1 is back", TIMEOUT_S)
            assert client.count("things") == 2
    assert second.wait() == 0
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.timeout(300)
def test_a_missing_label_is_named(given: tuple[str, ...], tmp_path: Path) -> None:
    cluster = ForegroundCluster(data=tmp_path / "data", workers=2, flags=given)
    with pytest.raises(Unavailable, match=r"label shoal-worker-2; .*'RAY_AUTH_MODE=token ray start .* --labels shoal-worker-2=true'"):
        cluster.start()
    assert cluster.wait() == 1


WRONG = {
    "another mode": ({"RAY_AUTH_MODE": "disabled"}, "wants a token, and RAY_AUTH_MODE=token is not set here"),
    "another token": ({"RAY_AUTH_TOKEN": "c" * 64}, "our token is not the one that the Ray cluster wants"),
    "no token": ({"RAY_AUTH_TOKEN_PATH": "/nowhere", "HOME": "/nowhere"}, "our token is missing"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", sorted(WRONG))
def test_without_the_token_it_is_one_line_that_says_what_to_do(given: tuple[str, ...], tmp_path: Path, case: str) -> None:
    changed, said = WRONG[case]
    command = [Path(sys.executable).parent / "shoal", "up", f"--data={tmp_path}", f"--port={free_port()}", *given]
    done = subprocess.run(command, env={**os.environ, **changed}, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert said in line
    assert "'ray get-auth-token --generate'" in line
    assert "RAY_AUTH_MODE=token" in line


JOIN = """
from shoal.deploy.ray.link import RayLink
from shoal.core.errors import ShoalError
try:
    RayLink(address={address!r}, cluster_name="c").join(lambda: False)
except ShoalError as error:
    print(type(error).__name__, error.message)
"""


@pytest.mark.timeout(120)
def test_a_ray_beyond_loopback_without_a_token_is_refused(tmp_path: Path) -> None:
    """This Ray runs in a network of its own, because everybody who reaches it can run code on this machine."""
    if why := why_no_network():
        pytest.skip(why)
    network, folder = PrivateNetwork(0), Path(tempfile.mkdtemp(prefix="shoal-open-", dir="/tmp"))
    network.open()
    ray = [*network.inside(None), Path(sys.executable).parent / "ray", "start", "--head", f"--node-ip-address={SERVERS}", "--port=6379"]
    limits = ["--num-cpus=0", "--object-store-memory=80000000", "--include-dashboard=false", "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", MARK: str(folder)}
    try:
        with (tmp_path / "ray.log").open("w") as log:
            subprocess.run([*ray, *limits, f"--temp-dir={folder}"], env=environment, stdout=log, stderr=log, timeout=90, check=True)
        join = [*network.inside(None), sys.executable, "-c", JOIN.format(address=f"{SERVERS}:6379")]
        done = subprocess.run(join, env={**environment, MARK: ""}, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    finally:
        end_session(folder)
        network.close()
    assert done.stdout.startswith("PreconditionFailed the Ray cluster at")
    assert f"has no token, so anybody who reaches {SERVERS} can run code as its user" in done.stdout
    assert "'ray get-auth-token --generate'" in done.stdout
