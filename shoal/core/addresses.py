"""Hosts and host:port texts. An IPv6 address is in brackets before a port, and without brackets alone."""

from __future__ import annotations

import ipaddress
import re

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown

_MOST_PORT = 65_535
_NAME = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9._-]*[a-zA-Z0-9_.])?")


def plain_host(text: str) -> str:
    """Return a host without brackets: "[::1]" becomes "::1".

    Raises InvalidArgument for a text that is neither a name nor an address.
    """
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if is_ipv6(host) or (host == text and _NAME.fullmatch(host)):
        return host
    raise InvalidArgument(f"host is {text!r}, it must be a name or an address, without a port and a scheme", ErrorDetails(field="host"))


def joined(host: str, port: int) -> str:
    """Return host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port of a text host:port. Raises InvalidArgument for another text."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _MOST_PORT):
        raise InvalidArgument(f"address is {shown(address)}, it must be host:port", ErrorDetails(field="address"))
    return plain_host(host), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only processes of this machine reach an address to listen on. host: without brackets.

    A name other than localhost is beyond loopback, whatever it means today, and so are 0.0.0.0 and ::.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_ipv6(text: str) -> bool:
    """Return whether the text is an IPv6 address without brackets."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
