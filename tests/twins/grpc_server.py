"""A plain gRPC server of the public calls, which says in its metadata where HTTP is."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from shoal.core.errors import ShoalError
from shoal.wire.status import code_of, details_to_metadata, message_of
from shoal.wire.tls import Tls
from tests.support.network.ports import free_port
from tests.twins.connect_server import CallAnswer


class PlainGrpcServer(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Listens on a port of loopback from `start` to `stop`. says: metadata before each answer. paths: of the calls that
    came. tls: None for plain text; clients need a certificate if client_required is set.
    """

    def __init__(
        self, answer: CallAnswer, says: Iterable[tuple[str, str]] = (), *, tls: Tls | None = None, client_required: bool = True
    ) -> None:
        self._answer, self.says = answer, tuple(says)
        self._tls, self._client_required = tls, client_required
        self.port = free_port()
        self.paths: list[str] = []
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> PlainGrpcServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        if self._tls is None:
            assert self._server.add_insecure_port(self.address) == self.port
        else:
            credentials = self._tls.server_credentials(client_required=self._client_required)
            assert self._server.add_secure_port(self.address, credentials) == self.port
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def service(self, details: Any) -> Any:
        """Return the handler of a call."""

        def handle(data: bytes, context: Any) -> bytes:
            self.paths.append(details.method)
            context.send_initial_metadata(tuple(self.says))
            try:
                return self._answer(details.method, data, context.time_remaining() or 0.0)
            except ShoalError as error:
                context.set_trailing_metadata(details_to_metadata(error))
                context.abort(code_of(error), message_of(error))
                raise AssertionError("unreachable: abort raises") from None

        return grpc.unary_unary_rpc_method_handler(handle)
