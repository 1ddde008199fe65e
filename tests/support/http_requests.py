"""HTTP requests as bytes, and calls that answer them, for tests of the HTTP server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError

from shoal.runtime.calls import CallTable, calls_of
from shoal.runtime.interceptors import call_table
from shoal.v1 import points_pb2, search_pb2
from shoal.wire.services import POINTS, SEARCH

SEARCH_PATH = b"/shoal.v1.Search/Search"
COUNT_PATH = b"/shoal.v1.Points/Count"


class EchoSearch:
    """A Search service whose answer names the collection of the request as a missing shard. It answers at once."""

    async def Search(self, request: Any, context: Any) -> Any:
        """Echo, in a task."""
        return search_pb2.SearchResponse(missing_shards=[request.collection])

    def at_once(self, request: bytes, context: Any) -> bytes | None:
        """Echo without a task, but for a collection whose name begins with "task", and for bytes that are no search."""
        try:
            name = search_pb2.SearchRequest.FromString(request).collection
        except DecodeError:
            return None
        return None if name.startswith("task") else search_pb2.SearchResponse(missing_shards=[name]).SerializeToString()


class EchoCount:
    """A Points service that counts the bytes of the collection's name. It answers in a task."""

    async def Count(self, request: Any, context: Any) -> Any:
        """Count."""
        return points_pb2.CountResponse(count=len(request.collection))


def echo_table() -> CallTable:
    """Return the calls of both."""
    search = EchoSearch()
    return call_table((*calls_of(SEARCH, search, {"Search": search.at_once}), *calls_of(POINTS, EchoCount())))


def request_bytes(
    *,
    method: bytes = b"POST",
    target: bytes = SEARCH_PATH,
    version: bytes = b"1.1",
    host: bytes | None = b"h",
    kind: bytes | None = b"application/proto",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: bytes | None = b"",
) -> bytes:
    """Return a request. host, kind: None for no such header. body: None for no body and no content-length."""
    lines = [b"%b %b HTTP/%b" % (method, target, version)]
    given = [*([(b"host", host)] if host is not None else []), *([(b"content-type", kind)] if kind is not None else []), *headers]
    if body is not None:
        given.append((b"content-length", b"%d" % len(body)))
    lines += [b"%b: %b" % each for each in given]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def search_bytes(collection: str = "a") -> bytes:
    """Return the body of a search."""
    return search_pb2.SearchRequest(collection=collection, k=1).SerializeToString()


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n" + trailers + b"\r\n"
