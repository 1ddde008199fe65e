"""The bounds of an HTTP server, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.runtime.server import MOST_CALLS

_OVERHEAD_BYTES = 64 * 1024
"""Bytes for the other fields of a message whose columns have the largest allowed size, as over gRPC."""

READ_BYTES = 16 * 1024
"""Bytes that are parsed before the number of waiting requests is looked at. The parser cannot be stopped in between."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpLimits:
    """What one peer, and all peers together, may ask of an HTTP server.

    message_bytes: largest message either way. head_bytes: of a request line with its headers, and of the trailers of a
    chunked body. headers: of one request, trailers included. An SDK sends 6 headers, a browser about 20, a proxy adds a
    few. waiting: requests that one connection may send ahead of its answers; then it is not read any more.

    connections: open at once, at most a quarter of the files that the process may open. calls: that run at once, as
    over gRPC. held_bytes: of bodies that have arrived and are not answered, over all connections.

    head_s: for the head of a request, from its first byte. body_s: for its body. silent_s: without a byte in the body.
    idle_s: without a request; longer than an SDK keeps a connection. stalled_s: without a byte taken by a peer to which
    an answer is written. linger_s: for a peer to take the last answer, before its connection is closed.
    """

    message_bytes: int
    head_bytes: int = 16 * 1024
    headers: int = 100
    waiting: int = 16
    connections: int = 4_096
    calls: int = MOST_CALLS
    held_bytes: int = 1 << 30
    head_s: float = 10.0
    body_s: float = 300.0
    silent_s: float = 20.0
    idle_s: float = 300.0
    stalled_s: float = 30.0
    linger_s: float = 2.0

    @property
    def body_bytes(self) -> int:
        """Largest body of a request."""
        return self.message_bytes + _OVERHEAD_BYTES
