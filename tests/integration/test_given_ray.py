"""`shoal up --ray-address`: a Ray that runs already hosts the roles, which outlive the command and are found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal
from deploy.foreground import ForegroundCluster, free_port
from deploy.session import MARK, end_session
from shoal.core.errors import Unavailable
from tests.etcd_process import EtcdProcess

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Flags of `shoal up` for a Ray of one node, which carries the label of worker 1, and an etcd."""
    folder = Path(tempfile.mkdtemp(prefix="shoal-given-", dir="/tmp"))
    port = free_port()
    command = [Path(sys.executable).parent / "ray", "start", "--head", f"--port={port}", "--labels=shoal-worker-1=true"]
    limits = ["--num-cpus=1", "--object-store-memory=80000000", "--include-dashboard=false", "--disable-usage-stats"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", MARK: str(folder)}
    etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    etcd.start()
    try:
        subprocess.run(
            [*command, *limits, f"--temp-dir={folder}"],
            env=environment,
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
def test_roles_outlive_the_command_and_are_found_again(given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
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
def test_a_missing_label_is_named(given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = ForegroundCluster(data=tmp_path / "data", workers=2, flags=given)
    with pytest.raises(Unavailable, match=r"carries the label shoal-worker-2; start the node .* --labels shoal-worker-2=true"):
        cluster.start()
    assert cluster.wait() == 1
