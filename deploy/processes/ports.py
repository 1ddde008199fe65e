"""The public port: checks that it is free, keeps it while a cluster starts, waits until an ending process leaves it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from typing import Any

from shoal.core.addresses import joined
from shoal.core.deadline import Deadline
from shoal.core.errors import InvalidArgument, Unavailable

_POLL_S = 0.05


@contextlib.contextmanager
def kept_port(host: str, port: int) -> Iterator[None]:
    """Keep other `shoal up` of this machine from the port within the context. Our router listens only seconds later.

    Raises Unavailable when another `shoal up` keeps the port or another program listens there, InvalidArgument as
    `check_port_free` does.
    """
    with socket.socket(socket.AF_UNIX) as keeper:
        try:
            # A name without a file, in the same network namespace as the port; it is gone with this process.
            keeper.bind(f"\0shoal-up/{joined(host, port)}")
        except OSError:
            raise Unavailable(f"port {port} on {host} is in use by another 'shoal up'; choose another --port") from None
        check_port_free(host, port)
        yield


def check_port_free(host: str, port: int) -> None:
    """Raise Unavailable when another program listens there, and InvalidArgument when this machine has no such address
    or this user may not listen there.

    A name may stand for several addresses. One of them must belong to this machine, and all that do must be free.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        found = []
    ours = [_may_listen(family, address, host, port) for family, *_, address in found]
    if not any(ours):
        raise InvalidArgument(f"cannot listen on {host}: this machine has no such address")


def _may_listen(family: int, address: Any, host: str, port: int) -> bool:
    """Return whether this machine has the address. Raises Unavailable when the port is taken there."""
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # As gRPC does: "::" is every address of IPv4, too.
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(address)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return False
        if error.errno == errno.EACCES:
            raise InvalidArgument(f"this user may not listen on port {port} (below 1024); choose another --port") from None
        raise Unavailable(f"port {port} on {host} is in use by another program ({error.strerror}); choose another --port") from None
    return True


async def await_port_free(host: str, port: int, timeout_s: float) -> None:
    """Wait until nobody listens there. Raises Unavailable after timeout_s."""
    deadline = Deadline.after(timeout_s, time.monotonic)
    while True:
        try:
            return check_port_free(host, port)
        except Unavailable:
            if deadline.passed:
                raise
        await asyncio.sleep(_POLL_S)
