"""Options of the sockets of calls over HTTP."""

from __future__ import annotations

import socket
from typing import Any

JOINED_BYTES = 64 * 1024
"""A shorter message is sent together with its head as one piece. A longer one is not copied for that."""

_WATCH = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2), ("TCP_USER_TIMEOUT", 20_000))


def watch_peer(made: Any) -> None:
    """Send at once what is written, and notice within 20 seconds that the machine of the peer is gone, as gRPC does.

    made: a TCP socket. Some systems lack some of these options.
    """
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _WATCH:
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
