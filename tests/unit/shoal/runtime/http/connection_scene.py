"""A connection of an HTTP server without sockets, and a service that answers when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from shoal.core.errors import NotFound
from shoal.runtime.calls import CallTable, Later, calls_of
from shoal.runtime.http.connection import HttpConnection
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import call_table
from shoal.v1 import search_pb2
from shoal.wire.services import SEARCH
from tests.support.http_requests import request_bytes, search_bytes

LIMITS = HttpLimits(message_bytes=1_000_000, waiting=3)
CLOSE = [(b"connection", b"close")]


class HeardSocket:
    """Takes any option."""

    def setsockopt(self, *_: int) -> None: ...


class HeardTransport(asyncio.Transport):
    """Keeps what is written. `held`: bytes that the peer has not taken."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.held = 0
        self.reads = True
        self.ended = self.closed = self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5_000) if name == "peername" else HeardSocket()

    def write(self, data: Any) -> None:
        assert (self.ended, self.closed, self.aborted) == (False, False, False)
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.held

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class GatedSearch:
    """Answers each search when its gate opens. Collections named "now..." are answered at once; others wait, and those
    named "later..." do so in the work of the synchronous door.
    """

    def __init__(self) -> None:
        self.began: list[str] = []
        self.cancelled: list[str] = []
        self.remaining_s: list[float | None] = []
        self.peers: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    async def Search(self, request: Any, context: Any) -> Any:
        name = request.collection
        self.began.append(name)
        self.remaining_s.append(context.time_remaining())
        self.peers.append(context.peer())
        try:
            await self.gate(name).wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if name.startswith("no"):
            raise NotFound(f"no {name}")
        return search_pb2.SearchResponse(missing_shards=[name])

    def at_once(self, request: bytes, context: Any) -> bytes | Later | None:
        asked = search_pb2.SearchRequest.FromString(request)
        name = asked.collection
        if name.startswith("later"):
            return partial(self.later, asked, context)
        if not name.startswith("now"):
            return None
        self.began.append(name)
        return search_pb2.SearchResponse(missing_shards=[name]).SerializeToString()

    async def later(self, request: Any, context: Any) -> bytes:
        answer: bytes = (await self.Search(request, context)).SerializeToString()
        return answer

    def table(self) -> CallTable:
        return call_table(calls_of(SEARCH, self, {"Search": self.at_once}))


@dataclass
class Playing:
    """One connection of a server that does not listen."""

    service: GatedSearch
    server: HttpServer
    connection: HttpConnection
    transport: HeardTransport

    def receive(self, *names: str, headers: Any = ()) -> None:
        self.connection.data_received(b"".join(request_bytes(body=search_bytes(name), headers=headers) for name in names))

    def answers(self) -> list[str]:
        """The missing shard of each good answer, the status of others."""
        return [told for _, told in answers_of(self.transport.written)]


def answers_of(data: bytes) -> list[tuple[int, str]]:
    found = []
    while data:
        head, data = data.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            found.append((100, "100"))
            continue
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body, data = data[:length], data[length:]
        is_search = status == 200 and b"application/proto" in head
        found.append((status, search_pb2.SearchResponse.FromString(body).missing_shards[0] if is_search else str(status)))
    return found


def played(script: Callable[[Playing], Coroutine[Any, Any, None]], limits: HttpLimits = LIMITS) -> None:
    async def run() -> None:
        service = GatedSearch()
        server = HttpServer(host="127.0.0.1", port=0, table=service.table(), limits=limits, role="test")
        connection, transport = HttpConnection(server), HeardTransport()
        connection.connection_made(transport)
        await script(Playing(service, server, connection, transport))
        connection.connection_lost(None)
        for call in list(server.running):
            await asyncio.wait({call.task})
        await turns()
        assert (server.held.now, server.running) == (0, set())
        await server.stop(0)

    asyncio.run(run())


async def turns(count: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
