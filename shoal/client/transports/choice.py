"""The transports by their names, and which addresses each of them takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from shoal.client.async_driver import AsyncBytesTransport, AsyncTransport
from shoal.client.sync_driver import Transport
from shoal.client.transports.auto_async import AsyncAutoTransport
from shoal.client.transports.auto_blocking import AutoTransport
from shoal.client.transports.grpc_async import AsyncGrpcTransport
from shoal.client.transports.grpc_blocking import GrpcTransport
from shoal.client.transports.loop_transports import LoopTransports
from shoal.client.transports.places import ENCRYPTED, PLAIN, SCHEMES
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown
from shoal.wire.tls import Tls, TlsFiles

TransportName = Literal["auto", "http", "grpc"]
"""auto: over HTTP where a router offers it, else over gRPC; http: only over HTTP; grpc: only over gRPC."""

NAMES: tuple[str, ...] = get_args(TransportName)


def blocking_transport(
    given: TransportName | Transport, addresses: Iterable[str], files: TlsFiles | None = None, api_key: str = ""
) -> Transport:
    """Return the transport of this name for a blocking client; one that is an object already as it is.

    files: certificates; None for connections without TLS. api_key: "" for none. Raises InvalidArgument for an unknown
    name, for addresses that it cannot reach, and for files that cannot be used.
    """
    if not isinstance(given, str) and hasattr(given, "send"):
        return given
    name, tls = _checked(given, addresses, files), _opened(files)
    made: dict[str, Callable[[], Transport]] = {
        "auto": lambda: AutoTransport(tls=tls, api_key=api_key),
        "http": lambda: AutoTransport(only_http=True, tls=tls, api_key=api_key),
        "grpc": lambda: GrpcTransport(tls=tls, api_key=api_key),
    }
    return made[name]()


def async_transport(
    given: TransportName | AsyncTransport, addresses: Iterable[str], files: TlsFiles | None = None, api_key: str = ""
) -> AsyncTransport:
    """Return the transport of this name for an asyncio client, which has one of each event loop; one that is an object
    already as it is.

    files, errors: as in blocking_transport.
    """
    if not isinstance(given, str) and hasattr(given, "send"):
        return given
    name, tls = _checked(given, addresses, files), _opened(files)
    made: dict[str, Callable[[], AsyncBytesTransport]] = {
        "auto": lambda: AsyncAutoTransport(tls=tls, api_key=api_key),
        "http": lambda: AsyncAutoTransport(only_http=True, tls=tls, api_key=api_key),
        "grpc": lambda: AsyncGrpcTransport(tls=tls, api_key=api_key),
    }
    return LoopTransports(made[name])


def _opened(files: TlsFiles | None) -> Tls | None:
    return None if files is None else Tls(files)


def _checked(name: Any, addresses: Iterable[str], files: TlsFiles | None) -> str:
    if not isinstance(name, str) or name not in NAMES:
        raise InvalidArgument(f"transport is {shown(name)}, it must be one of {', '.join(NAMES)}", ErrorDetails(field="transport"))
    given = tuple(addresses)
    for each in given:
        if each.startswith(ENCRYPTED) and files is None:
            raise InvalidArgument(f"address {each!r} is for TLS: give tls_ca, too", ErrorDetails(field="tls_ca"))
        if each.startswith(PLAIN) and files is not None:
            fitting = ENCRYPTED + each.removeprefix(PLAIN)
            raise InvalidArgument(f"address {each!r} is without TLS, and tls_ca is given: give {fitting}", ErrorDetails(field="address"))
    over_http = next((each for each in given if each.startswith(SCHEMES)), None)
    if name == "grpc" and over_http is not None:
        message = f"address {over_http!r} is for HTTP, and transport is 'grpc': give host:port of the gRPC port"
        raise InvalidArgument(message, ErrorDetails(field="address"))
    return name
