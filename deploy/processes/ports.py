"""Ports: finds a free one; checks that the public one is free, reserves it while a cluster starts, waits until another
process frees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoal.core.addresses import joined
from shoal.core.deadline import Deadline
from shoal.core.errors import InvalidArgument, Unavailable

_POLL_S = 0.05

_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SPAN = 700
_UNPRIVILEGED = 1_024


def free_port() -> int:
    """Return a port that is free on loopback at the moment, and that the system does not give to outgoing connections.

    Otherwise such a connection, perhaps of a client that waits for this very server, could take the port before the
    server listens, or while it restarts. Where all ports are for outgoing connections, it is one of these.
    """
    first_outgoing = int(_OUTGOING.read_text(encoding="ascii").split()[0])
    below = range(max(_UNPRIVILEGED, first_outgoing - _SPAN), first_outgoing)
    for port in (*random.sample(below, len(below)), 0):
        with socket.socket() as probe:
            # A server may listen although connections of the one before it still end.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise Unavailable("no port is free on 127.0.0.1")


@contextlib.contextmanager
def kept_port(host: str, port: int, flag: str = "--port") -> Iterator[None]:
    """Reserve the port against other `shoal up` of this machine, within the context. Our router listens seconds later.

    flag: of `shoal up`, for errors.

    Raises Unavailable if another `shoal up` has reserved the port or another program listens there, InvalidArgument as
    `check_port_free` does.
    """
    with socket.socket(socket.AF_UNIX) as keeper:
        try:
            # An abstract socket name: it needs no file, belongs to the network namespace of the port, and ends with
            # this process.
            keeper.bind(f"\0shoal-up/{joined(host, port)}")
        except OSError:
            raise Unavailable(f"port {port} on {host} is in use by another 'shoal up'; choose another {flag}") from None
        check_port_free(host, port, flag)
        yield


def check_port_free(host: str, port: int, flag: str = "--port") -> None:
    """Raise Unavailable if another program listens there, InvalidArgument if this machine has no such address or this
    user may not listen there.

    A host name may have several addresses. At least one must belong to this machine, and on all of these the port must
    be free.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        found = []
    ours = [_may_listen(family, address, host, port, flag) for family, *_, address in found]
    if not any(ours):
        raise InvalidArgument(f"cannot listen on {host}: this machine has no such address")


def _may_listen(family: int, address: Any, host: str, port: int, flag: str) -> bool:
    """Return whether this machine has the address. Raises as check_port_free."""
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # As gRPC does: "::" also means every IPv4 address.
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(address)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return False
        if error.errno == errno.EACCES:
            raise InvalidArgument(f"this user may not listen on port {port} (below 1024); choose another {flag}") from None
        raise Unavailable(f"port {port} on {host} is in use by another program ({error.strerror}); choose another {flag}") from None
    return True


async def await_port_free(host: str, port: int, timeout_s: float, flag: str = "--port") -> None:
    """Wait until no program listens there. Raises Unavailable after timeout_s seconds."""
    deadline = Deadline.after(timeout_s, time.monotonic)
    while True:
        try:
            return check_port_free(host, port, flag)
        except Unavailable:
            if deadline.passed:
                raise
        await asyncio.sleep(_POLL_S)
