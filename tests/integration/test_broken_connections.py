"""Test connections that break in every way a socket can: the SDK's error names the address, says what happened, and has
no text of gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import shoal
from tests.support.examples.grpc_says import GRPC_SAYS
from tests.support.network.ports import free_port

TIMEOUT_S = 0.6
HTTP1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

Talk = Callable[[socket.socket], None]


def hang_up(connection: socket.socket) -> None:
    connection.close()


def speak_http1(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(HTTP1)
    connection.close()


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


@contextlib.contextmanager
def listener(talk: Talk) -> Iterator[str]:
    """Listen on a port, and let `talk` handle each connection to it."""
    server = socket.create_server(("127.0.0.1", 0))

    def quietly(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            talk(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=quietly, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    # The thread in accept() keeps the socket open until it is woken up.
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@contextlib.contextmanager
def server_that_leaves() -> Iterator[str]:
    """Run a gRPC server that stops while it handles a call. Afterwards nothing listens on its port."""
    asked, stopped = threading.Event(), threading.Event()

    class Slow(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
                asked.set()
                stopped.wait(20.0)
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Slow(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def leave() -> None:
        asked.wait(20.0)
        server.stop(0)

    leaving = threading.Thread(target=leave)
    leaving.start()
    yield f"127.0.0.1:{port}"
    asked.set()
    stopped.set()
    leaving.join()


def nobody() -> contextlib.AbstractContextManager[str]:
    return contextlib.nullcontext(f"127.0.0.1:{free_port()}")


PLACES: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[str]], str]] = {
    "nobody": (nobody, "no connection: refused, nothing listens there"),
    "hangs up": (lambda: listener(hang_up), "connection"),
    "http1": (lambda: listener(speak_http1), "no router of Shoal answers"),
    "says nothing": (lambda: listener(say_nothing), ""),
    "leaves": (server_that_leaves, "connection"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_breaks_is_told_in_our_words(name: str) -> None:
    make, said = PLACES[name]
    for asks in (ask, ask_async):
        with make() as address:
            error = asks(address)
        assert isinstance(error, (shoal.Unavailable, shoal.DeadlineExceeded)), error
        assert [sign for sign in GRPC_SAYS if sign in error.message.lower()] == [], error.message
        assert said in error.message
        assert not said or address in error.message


def ask(address: str) -> shoal.ShoalError:
    with shoal.connect(address, timeout=TIMEOUT_S) as client, pytest.raises(shoal.ShoalError) as caught:
        client.count("c")
    return caught.value


def ask_async(address: str) -> shoal.ShoalError:
    async def run() -> shoal.ShoalError:
        async with shoal.connect_async(address, timeout=TIMEOUT_S) as client:
            with pytest.raises(shoal.ShoalError) as caught:
                await client.count("c")
            return caught.value

    return asyncio.run(run())
