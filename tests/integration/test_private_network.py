"""Test the network that failover tests cut: a cut drops packets silently, in one direction if asked, and no trace of
the network is left afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.network.private_network import PrivateNetwork, why_no_network

LISTEN = "import socket; s = socket.create_server(('0.0.0.0', 7777)); print('ready', flush=True); [s.accept() for _ in range(100)]"
CONNECT = "import socket; socket.create_connection(('{address}', 7777), timeout={timeout_s})"


@pytest.fixture
def network() -> Iterator[PrivateNetwork]:
    if why := why_no_network():
        pytest.skip(why)
    network = PrivateNetwork(2)
    network.open()
    yield network
    network.close()


def connects(network: PrivateNetwork, host: int, other: int, timeout_s: float) -> str:
    """Return "yes" if a connection is made, otherwise the error."""
    program = CONNECT.format(address=network.address(other), timeout_s=timeout_s)
    ended = subprocess.run([*network.inside(host), sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return ended.stderr.strip().splitlines()[-1] if ended.returncode else "yes"


def test_a_cut_is_silent_and_heals_and_nothing_is_left(network: PrivateNetwork) -> None:
    command = [*network.inside(1), sys.executable, "-c", LISTEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"ready\n"
            assert connects(network, 0, 1, 20.0) == "yes"
            for cut in (
                lambda: network.lose(0, network.address(1)),
                lambda: network.lose(1, network.address(0)),
                lambda: network.isolate(1),
            ):
                cut()
                assert "timed out" in connects(network, 0, 1, 0.5)
                network.heal(0)
                network.heal(1)
                assert connects(network, 0, 1, 20.0) == "yes"
        finally:
            listener.kill()
    names = [name.removeprefix("--net=/run/netns/") for host in (None, 0, 1) for name in network.inside(host)[1:]]
    network.close()
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert [name for name in names if name in left] == []
