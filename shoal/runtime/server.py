"""The gRPC server of every role: message sizes, health, errors as statuses, clean end."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from shoal.core.addresses import joined
from shoal.core.deadline import Clock
from shoal.core.errors import NotInstalled, ShoalError, Unavailable
from shoal.runtime.calls import Admit, CallTable, UnaryCall, authorization_in
from shoal.runtime.interceptors import reader_of
from shoal.runtime.logs import event
from shoal.runtime.metrics import Metrics, NoMetrics
from shoal.runtime.server_tls import ServerTls, grpc_interceptors
from shoal.wire.channels import server_options
from shoal.wire.http.request import SERVER_HEADER
from shoal.wire.status import code_of, details_to_metadata, message_of

log = logging.getLogger("shoal.server")

HTTP_ADDRESS_KEY = "shoal-http"
"""Key of the initial metadata that announces the HTTP port: "host:port", or ":port" on the host that was dialled."""

_REMEMBERED_PEERS = 4_096
_REMEMBERED_S = 1.0
_EVERY_ADDRESS = ("0.0.0.0", "::")

MOST_CALLS = 4_096
"""Most calls that run at the same time. More are refused, and the caller may try again."""


class GrpcServer:
    """A grpc.aio server with grpc.health.v1. Add calls before `start`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        message_bytes: int,
        role: str = "server",
        metrics: Metrics | None = None,
        secured: ServerTls | None = None,
    ) -> None:
        """role: its name for the probes of the metrics port. secured: None for plain text."""
        # The stubs of grpc lack methods that generated code calls.
        self._grpc: Any = grpc.aio.server(
            interceptors=grpc_interceptors(secured), options=server_options(message_bytes), maximum_concurrent_rpcs=MOST_CALLS
        )
        self._host, self._port, self._role, self._secured = host, port, role, secured
        self._standing = (metrics or NoMetrics()).standing
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)

    def add(self, table: CallTable, *, http_address: str = "", http_id: str = "", asked_by: str = "") -> None:
        """Serve the calls of a table.

        http_address: where the same calls are served by HTTP, announced to every peer. "" if they are not. http_id: of
        the server there. asked_by: path of the call by which clients ask for it: each of its answers tells it.
        """
        announcement = Announcement(http_address, http_id) if http_address else None
        services: dict[str, dict[str, Any]] = {}
        for call in table.values():
            _, service, method = call.path.split("/")
            announce = None if announcement is None else announcement.always if call.path == asked_by else announcement.to
            services.setdefault(service, {})[method] = _handler(call, announce)
        for service, handlers in services.items():
            self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
            self._grpc.add_registered_method_handlers(service, handlers)

    def enable_reflection(self, *services: str) -> None:
        """Answer gRPC reflection about these services. services: full names.

        Raises NotInstalled if the package for reflection is not installed.
        """
        try:
            reflection = importlib.import_module("grpc_reflection.v1alpha.reflection")
        except ModuleNotFoundError as error:
            raise NotInstalled(f"reflection needs {error.name}, which is not installed: pip install 'shoal[server]'") from None
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self._grpc)

    async def start(self) -> str:
        """Bind the port (0: any free one) and serve. Returns host:port. Raises Unavailable if the port is taken."""
        wanted = joined(self._host, self._port)
        try:
            if self._secured is None:
                port = self._grpc.add_insecure_port(wanted)
            else:
                port = self._grpc.add_secure_port(wanted, self._secured.grpc_credentials())
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {wanted}: {_doubt(self._port)} ({error})") from None
        await self._grpc.start()
        address = joined(self._host, port)
        log.info(event("listening", address=address))
        return address

    async def set_serving(self, serving: bool) -> None:
        """Report by grpc.health.v1, and to the probes of the metrics port, whether this role can do its work."""
        self._standing.tell(self._role, serving)
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set("", status)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, give running calls grace_s seconds, and end the server."""
        await self._health.enter_graceful_shutdown()
        await self._grpc.stop(grace_s)


def _doubt(port: int) -> str:
    """Return a possible reason why the port cannot be bound. gRPC does not report the reason."""
    return "is the port in use?" if port >= 1024 else "is the port in use, or not allowed for this user (below 1024)?"


class Announcement:
    """Tells each peer the address of the HTTP port, in the initial metadata of the answer to its first call.

    Metadata on every answer would cost about a sixth of the server's time for a call. gRPC does not tell which
    connection a call came by, only from which port of the client, and a later connection may come from the same port.
    So a peer is told again after a while.
    """

    def __init__(self, http_address: str, http_id: str, *, clock: Clock = time.monotonic) -> None:
        """clock: monotonic, in seconds."""
        self._metadata = ((HTTP_ADDRESS_KEY, http_address), (SERVER_HEADER, http_id))
        self._clock = clock
        self._told: dict[str, float] = {}

    async def to(self, context: Any) -> None:
        """Tell the peer of a call, unless it was told within the last second. Who was forgotten is told again."""
        peer, now = context.peer(), self._clock()
        told = self._told.get(peer)
        if told is not None:
            if now - told < _REMEMBERED_S:
                return
            del self._told[peer]
        self._told[peer] = now
        if len(self._told) > _REMEMBERED_PEERS:
            del self._told[next(iter(self._told))]
        await self.always(context)

    async def always(self, context: Any) -> None:
        """Tell the peer of a call."""
        await context.send_initial_metadata(self._metadata)


def announced_address(host: str, address: str) -> str:
    """Return the address to announce: of a host that stands for all addresses of a machine, the port only.

    host: as it was given to listen on; address: host:port.
    """
    return f":{address.rsplit(':', 1)[1]}" if host in _EVERY_ADDRESS else address


def _handler(call: UnaryCall, announce: Callable[[Any], Awaitable[None]] | None) -> Any:
    """Return the handler of gRPC for a call. A ShoalError ends the call with its status."""
    if call.admit is not None:
        return _admitting_handler(call, call.admit, announce)
    handle, at_once, read = call.handle, call.at_once, reader_of(call)

    async def answered(request: bytes, context: Any) -> Any:
        if announce is not None:
            await announce(context)
        try:
            if at_once is not None:
                answer = at_once(request, context)
                if answer is not None:
                    return answer if isinstance(answer, bytes) else await answer()
            return (await handle(read(request), context)).SerializeToString()
        except ShoalError as error:
            await context.abort(code_of(error), message_of(error), details_to_metadata(error))

    # Without serializers, gRPC passes bytes.
    return grpc.unary_unary_rpc_method_handler(answered)


def _admitting_handler(call: UnaryCall, admit: Admit, announce: Callable[[Any], Awaitable[None]] | None) -> Any:
    """Return the handler of a call that needs a credential. A caller without one is not told the HTTP port either."""
    read = reader_of(call)

    async def answered(request: bytes, context: Any) -> Any:
        try:
            admitted = admit(authorization_in(context.invocation_metadata()), context.peer())
            if announce is not None:
                await announce(context)
            if admitted.at_once is not None:
                answer = admitted.at_once(request, context)
                if answer is not None:
                    return answer if isinstance(answer, bytes) else await answer()
            return (await admitted.handle(read(request), context)).SerializeToString()
        except ShoalError as error:
            await context.abort(code_of(error), message_of(error), details_to_metadata(error))

    return grpc.unary_unary_rpc_method_handler(answered)
