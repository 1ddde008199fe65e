"""Free ports on loopback. Test processes that run side by side never choose the same one."""

from __future__ import annotations

import fcntl
import functools
import itertools
import os
import random
import socket
from collections.abc import Iterator

_FIRST, _LAST, _BLOCK = 20_000, 32_000, 400
_CLAIMS = "/tmp/shoal-test-ports"
"""One byte of this file stands for each block of ports; a process that uses a block holds the lock on its byte."""


def free_port() -> int:
    """Return an unused port on loopback. Raises RuntimeError if this process finds none.

    A process gets each port of its block once before it gets one again, so that two servers that start at the same time
    never have the same one. The ports lie below those that the system gives to outgoing connections. Otherwise a client
    that tries to reach a stopped server could take the server's port before the server starts again.
    """
    ports = _own_ports()
    for port in itertools.islice(ports, _BLOCK):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"none of the {_BLOCK} ports of this process is free")


@functools.cache
def _own_ports() -> Iterator[int]:
    """Return the ports of a block, again and again. No other test process takes ports from it until this one ends."""
    claims = os.open(_CLAIMS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    for first in random.sample(range(_FIRST, _LAST, _BLOCK), (_LAST - _FIRST) // _BLOCK):
        try:
            fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, first)
        except BlockingIOError:
            continue
        return itertools.cycle(random.sample(range(first, first + _BLOCK), _BLOCK))
    raise RuntimeError(f"other test processes hold all ports from {_FIRST} to {_LAST - 1}")
