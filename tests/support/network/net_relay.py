"""`python -m tests.support.network.net_relay PARENT NAMESPACE HOST:PORT...`: forwards each port of our loopback into a
network namespace.

A listening socket stays in the namespace in which it was created. Outgoing connections use the namespace that the
process entered later.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys

from tests.support.network.tcp_proxy import TcpProxy

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


async def relay(listening: dict[str, socket.socket]) -> None:
    """Forward until the process is killed."""
    proxies = []
    for target, listener in listening.items():
        host, _, port = target.rpartition(":")
        proxies.append(TcpProxy(int(port), host))
        await proxies[-1].start(listener)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main(parent: int, namespace: str, targets: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    listening = {target: socket.create_server(("127.0.0.1", int(target.rpartition(":")[2]))) for target in targets}
    with open(namespace) as entered:
        if libc.setns(entered.fileno(), _CLONE_NEWNET) != 0:
            sys.exit(f"cannot enter {namespace}: {os.strerror(ctypes.get_errno())}")
    asyncio.run(relay(listening))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
