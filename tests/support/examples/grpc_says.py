"""Phrases of gRPC that must not appear in messages to users of Shoal, in lower case."""

from __future__ import annotations

GRPC_SAYS = (
    "stream removed",
    "socket closed",
    "rst_stream",
    "goaway",
    "deadline exceeded",
    "all addresses",
    "last error",
    "ipv4:",
    "ipv6:",
    "http2",
    "settings",
    "recvmsg",
    "larger than max",
    "deserializ",
    "errno",
    "(111)",
    "ares",
    "exception",
)
