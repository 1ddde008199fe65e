"""A network of its own for a cluster under test: each host in a network namespace, all on one bridge. Its lines can be
cut silently.

Needs root and iproute2. From outside only the ports of the relay on loopback are reached (see net_relay). The network
ends with the test; the next test removes what a killed one left behind.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.repository import ROOT

ETCD, SERVERS = "10.213.0.1", "10.213.0.2"
"""Addresses in the hub: of etcd, and of coordinators and routers."""

_STEP_S = 20.0
_FOLDER = Path("/run/netns")
_PREFIX = "shoal-test-"
_NOBODY = "02:00:00:00:00:00"
"""A hardware address that no host has: packets to it are lost silently."""


@functools.cache
def why_no_network() -> str | None:
    """Return why such a network cannot be made here; None if it can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    name = f"{_PREFIX}{os.getpid()}-probe"
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "br0", "type", "bridge")
        _ip("-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        subprocess.run([*_inside(name), "true"], check=True, capture_output=True, timeout=_STEP_S)
    except (OSError, subprocess.SubprocessError) as error:
        return f"a network namespace with a bridge cannot be made here: {error}"
    finally:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            _ip("netns", "del", name)
    return None


class PrivateNetwork:
    """A hub and hosts 0 to hosts - 1. Created by `open`, removed by `close`."""

    def __init__(self, hosts: int) -> None:
        self._hub = f"{_PREFIX}{os.getpid()}-hub"
        self._hosts = [f"{_PREFIX}{os.getpid()}-{number}" for number in range(hosts)]
        self._relay: subprocess.Popen[bytes] | None = None

    def address(self, host: int) -> str:
        return f"10.213.0.{host + 11}"

    def inside(self, host: int | None) -> tuple[str, ...]:
        """Return the prefix of a command line that runs on a host; None: in the hub."""
        return _inside(self._hub if host is None else self._hosts[host])

    def open(self) -> None:
        """Create the network. A process has one network at a time."""
        _sweep()
        _ip("netns", "add", self._hub)
        _ip("-n", self._hub, "link", "set", "lo", "up")
        _ip("-n", self._hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "br0", "up")
        for address in (ETCD, SERVERS):
            _ip("-n", self._hub, "addr", "add", f"{address}/24", "dev", "br0")
        for number, name in enumerate(self._hosts):
            _ip("netns", "add", name)
            _ip("-n", self._hub, "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", self._hub, "link", "set", f"v{number}", "master", "br0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")

    def relay(self, targets: Iterable[str]) -> None:
        """Make each host:port reachable from outside, at the same port of loopback."""
        command = [sys.executable, "-m", "tests.support.network.net_relay", str(os.getpid()), str(_FOLDER / self._hub), *targets]
        self._relay = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._relay.stdout is not None
        assert self._relay.stdout.readline() == b"ready\n", "the relay did not start"

    def close(self) -> None:
        if self._relay is not None:
            self._relay.kill()
            self._relay.communicate(timeout=_STEP_S)
        for name in (*self._hosts, self._hub):
            if (_FOLDER / name).exists():
                _ip("netns", "del", name)

    def isolate(self, host: int) -> None:
        """Cut the host off from all others."""
        _ip("-n", self._hub, "link", "set", f"v{host}", "down")

    def lose(self, host: int, address: str) -> None:
        """Lose everything that the host sends to an address from now on; the other direction goes on working."""
        _ip("-n", self._hosts[host], "neigh", "replace", address, "lladdr", _NOBODY, "nud", "permanent", "dev", "eth0")

    def heal(self, host: int) -> None:
        """Connect the host again; its messages are no longer lost."""
        _ip("-n", self._hub, "link", "set", f"v{host}", "up")
        _ip("-n", self._hosts[host], "neigh", "flush", "dev", "eth0", "nud", "permanent")


def _inside(name: str) -> tuple[str, ...]:
    return ("nsenter", f"--net={_FOLDER / name}")


def _sweep() -> None:
    """Remove the networks of dead tests, and an earlier network of this process whose cluster did not start."""
    for path in _FOLDER.glob(f"{_PREFIX}*") if _FOLDER.is_dir() else ():
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        if owner == str(os.getpid()) or not Path(f"/proc/{owner}").exists():
            _ip("netns", "del", path.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=_STEP_S)
