"""Test addresses that are not the router's: of every other role, of etcd, of web servers and of servers that do not
speak gRPC; with every client and command.
"""

from __future__ import annotations

import asyncio
import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster

TIMEOUT_S = 1.0
AT_ONCE_S = 60.0
ROLES = ("worker", "coordinator", "etcd")
OTHERS = ("web server", "banner", "silence", "hang-up")


@pytest.fixture(scope="module")
def addresses(shared_cluster: RoleCluster) -> Iterator[dict[str, str]]:
    """Return an address for each kind of server."""
    with shoal.connect(shared_cluster.address) as client:
        info = client.cluster()
    assert info.leader is not None
    ended = threading.Event()
    listeners = {what: socket.create_server(("127.0.0.1", 0)) for what in ("banner", "silence", "hang-up")}
    behaviours: dict[str, Callable[[socket.socket], object]] = {
        "banner": lambda peer: (peer.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"), ended.wait(AT_ONCE_S)),
        "silence": lambda _: ended.wait(AT_ONCE_S),
        "hang-up": lambda _: None,
    }
    for what, listener in listeners.items():
        threading.Thread(target=serve, args=(listener, behaviours[what]), daemon=True).start()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield {
        "worker": info.workers[0].address,
        "coordinator": info.leader,
        "etcd": shared_cluster.etcd.endpoint,
        "web server": f"127.0.0.1:{web.server_port}",
        **{what: f"127.0.0.1:{listener.getsockname()[1]}" for what, listener in listeners.items()},
    }
    ended.set()
    web.shutdown()
    web.server_close()
    for listener in listeners.values():
        listener.close()


def serve(listener: socket.socket, behave: Callable[[socket.socket], object]) -> None:
    def one(peer: socket.socket) -> None:
        with peer:
            behave(peer)

    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(peer,), daemon=True).start()


def count_blocking(address: str, timeout_s: float) -> None:
    with shoal.connect(address, timeout=timeout_s) as client:
        client.count("things")


def count_awaiting(address: str, timeout_s: float) -> None:
    async def count() -> None:
        async with shoal.connect_async(address, timeout=timeout_s) as client:
            await client.count("things")

    asyncio.run(count())


@pytest.mark.parametrize("what", ROLES)
@pytest.mark.parametrize("ask", [count_blocking, count_awaiting])
def test_a_server_that_is_no_router_is_named_at_once(addresses: dict[str, str], what: str, ask: Callable[[str, float], None]) -> None:
    with pytest.raises(shoal.PreconditionFailed) as caught:
        ask(addresses[what], AT_ONCE_S)
    assert caught.value.message.startswith(f"no router of Shoal answers at {addresses[what]}")
    assert caught.value.details.field == "address"


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("ask", [count_blocking, count_awaiting])
def test_what_speaks_no_grpc_is_unavailable(addresses: dict[str, str], what: str, ask: Callable[[str, float], None]) -> None:
    with pytest.raises(shoal.Unavailable) as caught:
        ask(addresses[what], TIMEOUT_S)
    if what != "hang-up":
        assert caught.value.message.startswith(f"no router of Shoal answers at {addresses[what]}")


def test_a_write_that_no_router_got_left_nothing_in_doubt(addresses: dict[str, str]) -> None:
    with shoal.connect(addresses["worker"], timeout=AT_ONCE_S) as client, pytest.raises(shoal.PreconditionFailed) as caught:
        client.create_collection("things", dim=2)
    assert "may have been applied" not in caught.value.message


def test_the_command_says_what_to_do(addresses: dict[str, str]) -> None:
    command = [Path(sys.executable).parent / "shoal", "--address", addresses["coordinator"], "count", "things"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=AT_ONCE_S, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no router of Shoal answers at {addresses['coordinator']}")
    assert "--address" in done.stderr
    assert "defect" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_router_given_as_etcd_is_named(shared_cluster: RoleCluster, tmp_path: Path) -> None:
    command = [Path(sys.executable).parent / "shoal", "up", f"--data={tmp_path}", f"--etcd={shared_cluster.address}", "--port=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=AT_ONCE_S, check=False)
    assert done.returncode == 1
    assert f"the server at {shared_cluster.address} is not etcd" in done.stderr
    assert done.stderr.count("\n") == 1
