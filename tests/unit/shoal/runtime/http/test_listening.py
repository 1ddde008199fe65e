from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from shoal.core.errors import Unavailable
from shoal.runtime.http.listening import listening_sockets
from shoal.runtime.server import announced_address
from tests.support.network.loopback_six import needs_six


def bound(host: str, port: int = 0) -> list[tuple[str, int]]:
    """Return the addresses of the sockets that listen for a host, and close them."""
    made = asyncio.run(listening_sockets(host, port))
    try:
        return [each.getsockname()[:2] for each in made]
    finally:
        for each in made:
            each.close()


def test_a_host_listens_on_a_free_port() -> None:
    ((host, port),) = bound("127.0.0.1")
    assert (host, port > 0) == ("127.0.0.1", True)


def test_all_addresses_of_a_name_listen_on_one_port() -> None:
    found = bound("localhost")
    assert {host for host, _ in found} <= {"127.0.0.1", "::1"}
    assert len({port for _, port in found}) == 1


@needs_six
def test_the_address_of_both_families_takes_calls_of_both() -> None:
    (listening,) = asyncio.run(listening_sockets("::", 0))
    with closing(listening):
        listening.listen()
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listening.getsockname()[1]), 5.0).close()


def test_a_port_in_use_is_refused_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port}: the port is in use"):
            bound("127.0.0.1", port)


def test_a_host_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(Unavailable, match=r"no-such-host\.invalid:7: its host is not known"):
        bound("no-such-host.invalid", 7)


@pytest.mark.parametrize(
    ("host", "address", "announced"),
    [
        ("10.0.0.7", "10.0.0.7:7680", "10.0.0.7:7680"),
        ("db", "db:7680", "db:7680"),
        ("::1", "[::1]:7680", "[::1]:7680"),
        ("0.0.0.0", "0.0.0.0:7680", ":7680"),
        ("::", "[::]:7680", ":7680"),
    ],
)
def test_of_a_host_that_stands_for_all_addresses_only_the_port_is_announced(host: str, address: str, announced: str) -> None:
    assert announced_address(host, address) == announced
