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
from shoal.client.transports.places import SCHEME
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown

TransportName = Literal["auto", "http", "grpc"]
"""auto: over HTTP where a router offers it, else over gRPC; http: only over HTTP; grpc: only over gRPC."""

NAMES: tuple[str, ...] = get_args(TransportName)


def blocking_transport(given: TransportName | Transport, addresses: Iterable[str]) -> Transport:
    """Return the transport of this name for a blocking client; one that is an object already as it is.

    Raises InvalidArgument for an unknown name, and for addresses that it cannot reach.
    """
    if not isinstance(given, str) and hasattr(given, "send"):
        return given
    made: dict[str, Callable[[], Transport]] = {
        "auto": AutoTransport,
        "http": lambda: AutoTransport(only_http=True),
        "grpc": GrpcTransport,
    }
    return made[_checked(given, addresses)]()


def async_transport(given: TransportName | AsyncTransport, addresses: Iterable[str]) -> AsyncTransport:
    """Return the transport of this name for an asyncio client, which has one of each event loop; one that is an object
    already as it is.

    Raises InvalidArgument for an unknown name, and for addresses that it cannot reach.
    """
    if not isinstance(given, str) and hasattr(given, "send"):
        return given
    made: dict[str, Callable[[], AsyncBytesTransport]] = {
        "auto": AsyncAutoTransport,
        "http": lambda: AsyncAutoTransport(only_http=True),
        "grpc": AsyncGrpcTransport,
    }
    return LoopTransports(made[_checked(given, addresses)])


def _checked(name: Any, addresses: Iterable[str]) -> str:
    if not isinstance(name, str) or name not in NAMES:
        raise InvalidArgument(f"transport is {shown(name)}, it must be one of {', '.join(NAMES)}", ErrorDetails(field="transport"))
    over_http = next((each for each in addresses if each.startswith(SCHEME)), None)
    if name == "grpc" and over_http is not None:
        message = f"address {over_http!r} is for HTTP, and transport is 'grpc': give host:port of the gRPC port"
        raise InvalidArgument(message, ErrorDetails(field="address"))
    return name
