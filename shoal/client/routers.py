"""The addresses of the routers that a client may ask, and the router that answered last."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shoal.core.addresses import is_ipv6
from shoal.core.errors import ErrorDetails, InvalidArgument

DEFAULT_PORT = 7600

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[a-zA-Z0-9._-]+)(?::([0-9]{1,5}))?")


class Routers:
    """addresses: "host:port", in the order given; preferred: position of the router to ask first.

    Threads may overwrite each other's `preferred`. It is only a hint: any position works.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses
        self.preferred = 0

    def prefer(self, position: int) -> None:
        """Ask the router at this position first from now on."""
        self.preferred = position


def addresses_from_input(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return addresses from a user's text (one, or several joined by commas) or list. A missing port is 7600.

    Raises InvalidArgument if there is no address, or for a text that is not host:port.
    """
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InvalidArgument(f"address is {given!r}, it must be host:port, or a list of them", ErrorDetails(field="address"))
    parts = given.split(",") if isinstance(given, str) else list(given)
    addresses = tuple(dict.fromkeys(_address(part) for part in parts))
    if not addresses:
        raise InvalidArgument("no address is given, at least one host:port is needed", ErrorDetails(field="address"))
    return addresses


def _address(part: str) -> str:
    found = _ADDRESS.fullmatch(part.strip()) if isinstance(part, str) else None
    port = int(found[2] or DEFAULT_PORT) if found else 0
    if found is None and isinstance(part, str) and is_ipv6(part.strip()):
        message = f"address {part!r} is an IPv6 address, which stands in brackets: [{part.strip()}]:{DEFAULT_PORT}"
        raise InvalidArgument(message, ErrorDetails(field="address"))
    if found is None or not 1 <= port <= 65_535:
        raise InvalidArgument(f"address {part!r} must look like host:port, without a scheme", ErrorDetails(field="address"))
    return f"{found[1]}:{port}"
