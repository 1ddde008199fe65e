"""The public port: whether it is free, and waiting until a process that is ending has left it."""

from __future__ import annotations

import asyncio
import errno
import socket
import time

from shoal.core.errors import InvalidArgument, Unavailable

_POLL_S = 0.05


def check_port_free(host: str, port: int) -> None:
    """Raise Unavailable when another program listens there, InvalidArgument when this machine has no such address, or we may not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise InvalidArgument(f"cannot listen on {host}: this machine has no such address") from None
            if error.errno == errno.EACCES:
                raise InvalidArgument(f"this user may not listen on port {port} (below 1024); choose another --port") from None
            raise Unavailable(f"port {port} on {host} is in use by another program ({error.strerror}); choose another --port") from None


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
