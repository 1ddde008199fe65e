"""The gRPC server of every role: message sizes, health, interceptors, errors as statuses, clean end."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from shoal.core.addresses import joined
from shoal.core.errors import NotInstalled, Unavailable
from shoal.runtime.interceptors import error_interceptor, metrics_interceptor
from shoal.runtime.logs import event
from shoal.runtime.metrics import Metrics, NoMetrics
from shoal.wire.channels import server_options

log = logging.getLogger("shoal.server")


class GrpcServer:
    """A grpc.aio server with grpc.health.v1. Add servicers to `.grpc` before `start`.

    interceptors: run outside the one that turns errors into statuses. metrics: count and time every call.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        message_bytes: int,
        interceptors: Sequence[grpc.aio.ServerInterceptor[Any, Any]] = (),
        metrics: Metrics | None = None,
    ) -> None:
        measuring = () if metrics is None or isinstance(metrics, NoMetrics) else (metrics_interceptor(metrics),)
        self.grpc = grpc.aio.server(
            interceptors=[*measuring, *interceptors, error_interceptor()],
            options=server_options(message_bytes),
            maximum_concurrent_rpcs=4_096,
        )
        self._host, self._port = host, port
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)

    def enable_reflection(self, *services: str) -> None:
        """Answer gRPC reflection about these services. services: full names.

        Raises NotInstalled if the package for reflection is not installed.
        """
        try:
            reflection = importlib.import_module("grpc_reflection.v1alpha.reflection")
        except ModuleNotFoundError as error:
            raise NotInstalled(f"reflection needs {error.name}, which is not installed: pip install 'shoal[server]'") from None
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self.grpc)

    async def start(self) -> str:
        """Bind the port (0: any free one) and serve. Returns host:port. Raises Unavailable if the port is taken."""
        wanted = joined(self._host, self._port)
        try:
            port = self.grpc.add_insecure_port(wanted)
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {wanted}: {_doubt(self._port)} ({error})") from None
        await self.grpc.start()
        address = joined(self._host, port)
        log.info(event("listening", address=address))
        return address

    async def set_serving(self, serving: bool) -> None:
        """Report by grpc.health.v1 whether this process can do its work."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set("", status)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, give running calls grace_s seconds, and end the server."""
        await self._health.enter_graceful_shutdown()
        await self.grpc.stop(grace_s)


def _doubt(port: int) -> str:
    """Return a possible reason why the port cannot be bound. gRPC does not report the reason."""
    return "is the port in use?" if port >= 1024 else "is the port in use, or not allowed for this user (below 1024)?"
