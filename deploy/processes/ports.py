"""The public port: whether it is free, keeping it for us while a cluster starts, waiting until a process that is ending
has left it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from typing import Any

from shoal.core.addresses import joined
from shoal.core.errors import InvalidArgument, Unavailable

_POLL_S = 0.05


@contextlib.contextmanager
def kept_port(host: str, port: int) -> Iterator[None]:
    """Within the context no other `shoal up` of this machine can have the port: its router listens only after seconds.

    Raises Unavailable when another one has it or another program listens there, InvalidArgument as `check_port_free`
    does.
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
    """Raise Unavailable when another program listens there, InvalidArgument when this machine has no such address, or
    we may not.

    A name may stand for several addresses: one of them must be of this machine, and nobody may listen on any.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:
        found = []
    ours = [_may_listen(family, address, host, port) for family, *_, address in found]
    if not any(ours):
        raise InvalidArgument(f"cannot listen on {host}: this machine has no such address")


def _may_listen(family: int, address: Any, host: str, port: int) -> bool:
    """Whether this machine has the address. Raises Unavailable when the port is taken there."""
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
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return check_port_free(host, port)
        except Unavailable:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_POLL_S)
