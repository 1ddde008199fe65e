"""TLS of HTTP connections to one server: each new connection uses the newest certificates."""

from __future__ import annotations

import ssl

from shoal.wire.tls import Tls


class Encryption:
    """How connections to a server are encrypted. Thread-safe.

    name: the name or address that must be in the server's certificate.
    """

    __slots__ = ("_made", "_tls", "name")

    def __init__(self, tls: Tls, name: str) -> None:
        self._tls, self.name = tls, name
        self._made: tuple[int, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context of the next connection. Connections that are open keep theirs."""
        newest, made = self._tls.current(), self._made
        if made is None or made[0] != newest.version:
            # Two threads may do this at once. Both contexts are good.
            made = self._made = newest.version, newest.client_context()
        return made[1]
