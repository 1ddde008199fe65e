"""The addresses of the routers that a client may ask, and the router that answered last."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from shoal.core.addresses import is_ipv6, joined
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown

DEFAULT_PORT = 7600
DEFAULT_HTTP_PORT = 7680

FROM_ENVIRONMENT = "SHOAL_ADDRESS, or localhost:7600"
"""Stands for an address that is not given. Only this object does, not an equal text."""

_VARIABLE, _HOST = "SHOAL_ADDRESS", "localhost"
_SCHEMES = ("http://", "https://")
_ADDRESS = re.compile(r"(?P<scheme>https?://)?(?P<host>\[[0-9a-fA-F:.%]+\]|[a-zA-Z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


class Routers:
    """addresses: "host:port", or "http://host:port" of an HTTP port (https:// with TLS), in the order given.

    preferred: position of the router to ask first. answered: whether a server has ever answered this client.

    Threads may overwrite each other's `preferred`. It is only a hint: any position works.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses
        self.preferred = 0
        self.answered = False

    def __str__(self) -> str:
        return ",".join(self.addresses)

    def prefer(self, position: int) -> None:
        """Ask the router at this position, which has answered, first from now on."""
        self.preferred = position
        self.answered = True


def address_from_input(address: str | Iterable[str], port: int | None) -> str | Iterable[str]:
    """Return the address that a user means. FROM_ENVIRONMENT: that of the environment variable SHOAL_ADDRESS, or
    localhost:7600; with a port: localhost.

    Raises InvalidArgument if a port is given beside anything but a host, and for a bad address in SHOAL_ADDRESS.
    """
    if port is not None:
        return _with_port(_HOST if address is FROM_ENVIRONMENT else address, port)
    if address is not FROM_ENVIRONMENT:
        return address
    given = os.environ.get(_VARIABLE) or f"{_HOST}:{DEFAULT_PORT}"
    try:
        addresses_from_input(given)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.message} (from the environment variable {_VARIABLE})", error.details) from None
    return given


def _with_port(host: str | Iterable[str], port: int) -> str:
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65_535:
        raise InvalidArgument(f"port is {shown(port)}, it must be a whole number from 1 to 65535", ErrorDetails(field="port"))
    name = host if isinstance(host, str) else ""
    scheme = next((each for each in _SCHEMES if name.startswith(each)), "")
    bare = name.removeprefix(scheme).removeprefix("[").removesuffix("]")
    if not bare or "," in bare or (":" in bare and not is_ipv6(bare)):
        message = f"address is {shown(host)} beside port {port}: give one host and its port, or host:port without a port"
        raise InvalidArgument(message, ErrorDetails(field="address"))
    return scheme + joined(bare, port)


def addresses_from_input(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return addresses from a user's text (one, or several joined by commas) or list.

    A missing port is 7600, after http:// and https:// 7680. Raises InvalidArgument if there is no address, or for a
    text of another form.
    """
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InvalidArgument(f"address is {shown(given)}, it must be host:port, or a list of them", ErrorDetails(field="address"))
    parts = given.split(",") if isinstance(given, str) else list(given)
    addresses = tuple(dict.fromkeys(_address(part) for part in parts))
    if not addresses:
        raise InvalidArgument("no address is given, at least one host:port is needed", ErrorDetails(field="address"))
    return addresses


def _address(part: str) -> str:
    text = part.strip() if isinstance(part, str) else ""
    found = _ADDRESS.fullmatch(text.removesuffix("/") if text.startswith(_SCHEMES) else text)
    scheme = (found["scheme"] or "") if found else ""
    usual = DEFAULT_HTTP_PORT if scheme else DEFAULT_PORT
    port = int(found["port"] or usual) if found else 0
    if found is None and is_ipv6(text):
        message = f"address {shown(part)} is an IPv6 address, which stands in brackets: [{text}]:{DEFAULT_PORT}"
        raise InvalidArgument(message, ErrorDetails(field="address"))
    if found is None or not 1 <= port <= 65_535:
        form = "host:port, or http://host:port for a router's HTTP port, https://host:port with TLS"
        raise InvalidArgument(f"address {shown(part)} must look like {form}", ErrorDetails(field="address"))
    return f"{scheme}{found['host']}:{port}"
