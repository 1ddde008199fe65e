"""Test roles that listen on an IPv6 address, in each spelling, and find each other there. Test also the port that
`shoal up` probes.
"""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest

import shoal
from shoal.core.errors import Unavailable
from shoal.deploy.processes.ports import check_port_free, free_port
from tests.support.cluster.role_cluster import RoleProcess, wait_until
from tests.support.etcd.process import EtcdProcess
from tests.support.network.loopback_six import needs_six

pytestmark = needs_six


def told(role: RoleProcess, event: str) -> str:
    """Return the address in the first line of a role's log that has this event."""
    wait_until(lambda: f" {event} " in role.log(), event)
    line = next(line for line in role.log().splitlines() if f" {event} " in line)
    return line.partition("address=")[2]


@pytest.mark.timeout(120)
def test_roles_on_ipv6_find_each_other_and_are_found(tmp_path: Path) -> None:
    port = free_port()
    etcd = EtcdProcess(tmp_path / "etcd")
    etcd.start()
    shared = {"etcd": etcd.endpoint}
    coordinator = RoleProcess("coordinator", tmp_path / "coordinator.log", host="::1", **shared)
    worker = RoleProcess("shard_worker", tmp_path / "worker.log", host="[::1]", data=tmp_path / "w", metrics_port=-1, **shared)
    router = RoleProcess("router", tmp_path / "router.log", host="::", port=port, insecure=True, **shared)
    roles = (coordinator, worker, router)
    try:
        for role in roles:
            role.start()
        assert told(router, "listening") == f"[::]:{port}"
        with urllib.request.urlopen(f"http://{told(worker, 'metrics_listening')}/metrics", timeout=10) as answer:
            assert b"process_" in answer.read()
        for address in (f"[::1]:{port}", f"127.0.0.1:{port}", f"localhost:{port}"):
            with shoal.connect(address, timeout=60.0) as client:
                wait_until(lambda: len(client.cluster().workers) == 1, "the worker", 60)
        with shoal.connect(f"[::1]:{port}", timeout=60.0) as client:
            client.create_collection("things", dim=2)
            client.upsert("things", [1], [[0.0, 1.0]])
            assert [hit.id for hit in client.search("things", [0.0, 1.0], k=1)] == [1]
            info = client.cluster()
            assert info.workers[0].address == told(worker, "listening")
            assert info.workers[0].address.startswith("[::1]:")
            assert info.leader is not None
            assert info.leader.startswith("[::1]:")
    finally:
        for role in roles:
            role.kill()
        etcd.stop()


@pytest.mark.parametrize("taken", ["::1", "::"])
@pytest.mark.parametrize("wanted", ["::1", "::"])
def test_a_port_that_is_taken_on_ipv6_is_seen(taken: str, wanted: str) -> None:
    with socket.socket(socket.AF_INET6) as taker:
        taker.bind((taken, 0))
        taker.listen()
        port = taker.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} on {wanted} is in use"):
            check_port_free(wanted, port)
    check_port_free(wanted, port)


def test_a_port_that_is_taken_on_ipv4_is_seen_by_the_wildcard_of_ipv6() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taker, pytest.raises(Unavailable):
        check_port_free("::", taker.getsockname()[1])
