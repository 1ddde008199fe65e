from __future__ import annotations

import socket
from pathlib import Path

import pytest

from shoal.deploy.processes import ports
from shoal.deploy.processes.ports import free_port


def outgoing(path: Path, first: int) -> Path:
    """Write the range of ports that the system would give to outgoing connections, as Linux shows it."""
    path.write_text(f"{first}\t60999\n")
    return path


def test_no_outgoing_connection_can_take_a_free_port() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(200):
        with socket.socket() as server:
            port = free_port()
            assert port < first
            server.bind(("127.0.0.1", port))


def test_ports_in_use_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_SPAN", 2)
    with socket.socket() as first, socket.socket() as second:
        below = free_port()
        monkeypatch.setattr(ports, "_OUTGOING", outgoing(tmp_path / "range", below + 1))
        first.bind(("127.0.0.1", below))
        first.listen()
        other = free_port()
        assert other == below - 1 or other > below
        second.bind(("127.0.0.1", other))
        second.listen()
        assert free_port() not in (below, other)


def test_where_all_ports_are_for_outgoing_connections_it_is_one_of_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_OUTGOING", outgoing(tmp_path / "range", 1_024))
    assert free_port() >= 1_024
