"""Test how each plain role ends, or waits, when it cannot work: one line says what is wrong, and there is
an exit code.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.core.ids import ClusterId
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from tests.support.cluster.role_cluster import RoleCluster, RoleProcess, wait_until
from tests.support.network.ports import free_port

ROLES = ("coordinator", "shard_worker", "router")

ERRORS = {
    "coordinator, port in use": "error: cannot listen on 127.0.0.1:{port}: is the port in use?",
    "router, port in use": "error: cannot listen on 127.0.0.1:{port}: is the port in use?",
    "shard_worker, port in use": "error: cannot listen on 127.0.0.1:{port}: is the port in use?",
    "shard_worker, folder in use": "error: data folder {folder} is in use",
    "shard_worker, folder of another cluster": "belongs to cluster another, this process to cluster ",
    "shard_worker, folder is a file": "error: data folder {file}",
    "coordinator, no endpoint": "error: etcd endpoint 'nowhere' must have the form host:port",
    "router, no endpoint": "error: etcd endpoint 'nowhere' must have the form host:port",
    "shard_worker, no endpoint": "error: etcd endpoint 'nowhere' must have the form host:port",
}


@pytest.fixture(scope="module")
def where(shared_cluster: RoleCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """Provide the obstacles: a taken port, a folder in use, a folder of another cluster, and a file."""
    folder = tmp_path_factory.mktemp("in-the-way")
    WorkerFolder.open(folder / "foreign", ClusterId("another")).close()
    (folder / "file").write_text("not a folder")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        in_use = shared_cluster.folder / "worker-0"
        yield {"port": taken.getsockname()[1], "folder": in_use, "foreign": folder / "foreign", "file": folder / "file", "logs": folder}


@pytest.fixture(scope="module")
def started(shared_cluster: RoleCluster, where: dict[str, object]) -> Iterator[dict[str, RoleProcess]]:
    """Start the processes of all cases at once. They do not meet, and most of their time is the start of Python."""
    processes = {}
    for case in ERRORS:
        role, what = case.split(", ")
        settings: dict[str, object] = {"etcd": shared_cluster.etcd.endpoint}
        if role == "shard_worker":
            places = {"folder in use": "folder", "folder of another cluster": "foreign", "folder is a file": "file"}
            settings["data"] = where[places[what]] if what in places else Path(str(where["logs"])) / case.replace(" ", "-")
        if what == "port in use":
            settings["port"] = where["port"]
        if what == "no endpoint":
            settings["etcd"] = "nowhere"
        processes[case] = RoleProcess(role, Path(str(where["logs"])) / f"{case}.log", **settings)
        processes[case].start()
    yield processes
    for process in processes.values():
        process.kill()


@pytest.mark.parametrize("case", ERRORS)
def test_a_role_that_cannot_work_says_why_in_one_line_and_ends_with_an_error(started, where, case):
    process = started[case]
    code, lines = process.wait(), process.log().splitlines()
    assert code in ((1, 2) if "endpoint" in case else (1,))
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:], process.log()
    assert ERRORS[case].format(**where) in errors[0]
    assert "Traceback" not in process.log()


def test_a_role_without_etcd_waits_says_so_and_still_ends_when_asked(tmp_path):
    endpoint = f"127.0.0.1:{free_port()}"
    roles = [
        RoleProcess(role, tmp_path / f"{role}.log", etcd=endpoint, port=0, **({"data": tmp_path / "w"} if role == "shard_worker" else {}))
        for role in ROLES
    ]
    for role in roles:
        role.start()
    for role in roles:
        wait_until(lambda role=role: "store_does_not_answer" in role.log(), "it says that etcd does not answer")
        assert role.running
    assert [role.stop() for role in roles] == [0, 0, 0]
    assert not any("Traceback" in role.log() or "error:" in role.log() for role in roles)


def test_the_worker_in_the_folder_was_not_disturbed(started, client, shared_cluster):
    assert started["shard_worker, folder in use"].wait() == 1
    assert all(role.running for role in shared_cluster.roles)
    assert {worker.state for worker in client.cluster().workers} == {"up"}
