"""Sockets that listen on every address of a host, all on one port."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from shoal.core.addresses import joined
from shoal.core.errors import Unavailable


async def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Return the bound sockets of a host, one for each of its addresses. port: 0 for any free one.

    Raises Unavailable if the host is not known, or the port cannot be had.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Unavailable(f"cannot listen on {joined(host, port)}: its host is not known ({error.strerror})") from None
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            sockets.append(_bound(family, (address[0], port, *address[2:])))
            port = port or sockets[0].getsockname()[1]
    except OSError as error:
        for each in sockets:
            each.close()
        raise Unavailable(f"cannot listen on {joined(host, port)}: {_reason(error)}") from None
    return sockets


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The address "::" takes calls of both families, as over gRPC.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use"
    return os.strerror(error.errno).lower() if error.errno else str(error)
