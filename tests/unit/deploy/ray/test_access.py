from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from shoal.core.errors import PreconditionFailed
from shoal.deploy.ray.access import check_open_ray, own_token, wants_token

HESITATES_S = 0.4
"""Several times as long as a channel that tries again and again gives its first attempt to connect."""


class _Guarded(grpc.GenericRpcHandler):
    """A head that wants the token "right"."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        right = ("authorization", "Bearer right") in details.invocation_metadata

        def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
            if not right:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.contextmanager
def slow_head() -> Iterator[str]:
    """A head on a busy machine: each connection stands for a while before anything is read. Yields its address."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[_Guarded()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def forward(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve(peer: socket.socket) -> None:
        time.sleep(HESITATES_S)
        with peer, socket.create_connection(("127.0.0.1", port)) as head:
            back = threading.Thread(target=forward, args=(head, peer))
            back.start()
            forward(peer, head)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{door.getsockname()[1]}"
        finally:
            door.shutdown(socket.SHUT_RDWR)
            server.stop(None).wait()


@pytest.mark.parametrize(("token", "said"), [("right", ""), ("wrong", "is not the one that the Ray cluster wants")])
def test_a_head_that_answers_late_is_understood(token: str, said: str) -> None:
    with slow_head() as address:
        environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        if not said:
            assert wants_token(address, environment)
            return
        with pytest.raises(PreconditionFailed, match=said):
            wants_token(address, environment)


@pytest.mark.parametrize("nodes", [set(), {"127.0.0.1"}, {"127.0.0.1", "::1", "localhost", "127.1.2.3"}])
def test_an_open_ray_on_loopback_only_is_let_pass(nodes: set[str]) -> None:
    check_open_ray("127.0.0.1:6379", nodes)


@pytest.mark.parametrize("node", ["10.0.0.7", "0.0.0.0", "fd00::7", "head.example"])
def test_an_open_ray_beyond_is_refused_naming_the_node_and_the_way_out(node: str) -> None:
    with pytest.raises(PreconditionFailed, match=f"anybody who reaches {node} can run code as its user: 'ray get-auth-token --generate'"):
        check_open_ray("127.0.0.1:6379", {"127.0.0.1", node})


def test_the_token_is_found_where_ray_looks_for_it_in_that_order(tmp_path: Path) -> None:
    home, named = tmp_path / ".ray" / "auth_token", tmp_path / "named"
    environment = {"HOME": str(tmp_path)}
    assert own_token(environment) == ""
    home.parent.mkdir()
    home.write_text("of home\n")
    assert own_token(environment) == "of home"
    environment["RAY_AUTH_TOKEN_PATH"] = str(named)
    assert own_token(environment) == ""
    named.write_text("of the file")
    assert own_token(environment) == "of the file"
    environment["RAY_AUTH_TOKEN"] = "given"
    assert own_token(environment) == "given"
