"""TLS of the servers of a role: from its settings to certificates, and which callers a port admits (ADR 42)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import grpc
import grpc.aio

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.runtime.logs import event
from shoal.runtime.metrics import CERTIFICATE_END, Metrics, Sample
from shoal.runtime.role_settings import RoleSettings
from shoal.wire.tls import INTERNAL_NAME, Tls, TlsFiles

log = logging.getLogger("shoal.server")

INTERNAL_ONLY = f"this port is for the processes of the cluster: the certificate of a caller must have the name {INTERNAL_NAME}"


class Callers(Enum):
    """Who may call a port that speaks TLS."""

    ANY = "everybody; no certificate is asked for"
    CERTIFIED = "whoever has a certificate of the authority"
    INTERNAL = "whoever has a certificate of the authority with the internal name"


@dataclass(frozen=True, kw_only=True)
class ServerTls:
    """The certificates of a port, and whom it admits."""

    tls: Tls
    callers: Callers

    @property
    def client_required(self) -> bool:
        """Return whether a client must have a certificate."""
        return self.callers is not Callers.ANY

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a gRPC server, which follow the files."""
        return self.tls.server_credentials(client_required=self.client_required)

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a caller may call. certificate: its verified one, in the form of the ssl module."""
        if self.callers is not Callers.INTERNAL:
            return True
        return certificate is not None and ("DNS", INTERNAL_NAME) in certificate.get("subjectAltName", ())


def role_tls(settings: RoleSettings) -> Tls | None:
    """Return the certificates of a role; None if it speaks plain text. Warns if it does so beyond loopback.

    Raises InvalidArgument for files that cannot be used, and for a certificate without the internal name.
    """
    if settings.insecure:
        log.warning(event("insecure", host=settings.host, reason="no TLS: whoever reaches this address may read, write and delete"))
    tls = internal_tls(settings.tls_files)
    if tls is not None:
        log.info(event("tls", cert=settings.tls_cert, not_after=tls.current().not_after))
    return tls


def internal_tls(files: TlsFiles) -> Tls | None:
    """Return the certificates of a process of the cluster; None if no files are given. Raises as `role_tls`."""
    if not files.given:
        return None
    tls = Tls(files)
    if not tls.current().has_name(INTERNAL_NAME):
        raise InvalidArgument(
            f"tls_cert {files.cert} is no certificate of a role, it must have the DNS name {INTERNAL_NAME}: 'shoal cert init' makes "
            "router.pem for routers and for 'shoal up', and internal.pem for workers and coordinators",
            ErrorDetails(field="tls_cert"),
        )
    return tls


def measure_certificate(metrics: Metrics, tls: Tls | None, role: str) -> None:
    """Report when the certificate of a role ends."""
    if tls is not None:
        metrics.gather((CERTIFICATE_END,), lambda: [Sample(CERTIFICATE_END, tls.current().not_after or 0, (role,))])


def server_tls(tls: Tls | None, callers: Callers) -> ServerTls | None:
    """Return the TLS of a port; None for plain text."""
    return None if tls is None else ServerTls(tls=tls, callers=callers)


def grpc_interceptors(secured: ServerTls | None) -> tuple[Any, ...]:
    """Return the interceptors of gRPC that a port needs."""
    return (InternalOnly(),) if secured is not None and secured.callers is Callers.INTERNAL else ()


class InternalOnly(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Refuses each call whose caller has no certificate with the internal name, before its request is parsed.

    gRPC verifies the certificate at the handshake, but tells its names only during a call. Health and reflection are
    calls like all others.
    """

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of a call, behind the check."""
        handler = await continuation(handler_call_details)
        return None if handler is None else _Admitting(handler)


_NAME = INTERNAL_NAME.encode("ascii")


class _Admitting(grpc.RpcMethodHandler):  # type: ignore[type-arg]
    """A handler behind the check. gRPC passes it the bytes of requests, which it parses after the check."""

    def __init__(self, inner: Any) -> None:
        self.request_streaming, self.response_streaming = inner.request_streaming, inner.response_streaming
        self.request_deserializer, self.response_serializer = None, inner.response_serializer
        self.unary_unary = self.unary_stream = self.stream_unary = self.stream_stream = None
        parse = inner.request_deserializer or _as_it_is
        read = partial(_each, parse) if inner.request_streaming else parse
        kind = f"{_FORMS[inner.request_streaming]}_{_FORMS[inner.response_streaming]}"
        answer = getattr(inner, kind)
        setattr(self, kind, _streaming(answer, read) if inspect.isasyncgenfunction(answer) else _answering(answer, read))


_FORMS = {False: "unary", True: "stream"}


def _answering(answer: Callable[[Any, Any], Awaitable[Any]], read: Callable[[Any], Any]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def admitted(request: Any, context: Any) -> Any:
        await _check(context)
        return await answer(read(request), context)

    return admitted


def _streaming(answer: Callable[[Any, Any], AsyncIterator[Any]], read: Callable[[Any], Any]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def admitted(request: Any, context: Any) -> AsyncIterator[Any]:
        await _check(context)
        async for each in answer(read(request), context):
            yield each

    return admitted


async def _check(context: Any) -> None:
    """End the call of a caller without the internal name."""
    if _NAME not in context.auth_context().get("x509_subject_alternative_name", ()):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, INTERNAL_ONLY)


async def _each(parse: Callable[[bytes], Any], requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for each in requests:
        yield parse(each)


def _as_it_is(request: bytes) -> bytes:
    return request
