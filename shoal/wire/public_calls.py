"""Converts every public request to bytes and every answer from bytes, for the SDK.

The bytes of a request are made here, not by gRPC, so that an unusable request fails with an error of our own tree.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from shoal.core.errors import ErrorDetails, Internal, InvalidArgument, ResourceExhausted
from shoal.core.requests import ListCollections, Request
from shoal.wire import access, cluster, collections, fused_searches, operations, points, recall, recovery, searches
from shoal.wire.method import Method, Methods

METHODS: Methods = {
    **collections.METHODS,
    **recall.METHODS,
    **recovery.METHODS,
    **points.METHODS,
    **searches.METHODS,
    **fused_searches.METHODS,
    **cluster.METHODS,
    **operations.METHODS,
    **access.METHODS,
}
"""The RPC of each class of request."""

HTTP_ASKED_BY = ListCollections
"""The request by which clients ask a router over gRPC where its HTTP port is."""


def encoded(method: Method, request: Request, message_bytes: int) -> bytes:
    """Return the bytes of a request. Raises ResourceExhausted if they are more than message_bytes."""
    data = method.encode(request)
    if len(data) > message_bytes:
        raise ResourceExhausted(
            f"the request has {len(data)} bytes, a message may have {message_bytes}: send less at once",
            ErrorDetails(limit="message_bytes"),
        )
    return data


def decoded(method: Method, answer: bytes, address: str) -> Any:
    """Return the value of an answer of the router at `address`. Raises Internal if it cannot be read."""
    try:
        return method.decode(method.answer.FromString(answer))
    except (DecodeError, InvalidArgument) as error:
        raise Internal(f"the answer of {address} to {method.path} cannot be read: {error}") from None
