"""Test when a call on a worker goes over HTTP and when over gRPC, over real sockets. Behind each wire is a dumb twin of
its own, which notes its calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from shoal.core.errors import NotConnected, Unavailable, leaves_open
from shoal.core.ids import RequestId
from shoal.core.points import id_array
from shoal.core.shard_calls import ShardCount, ShardDelete
from shoal.router.logic.worker_lane import FIRST_PAUSE_S
from shoal.router.rpc.remote_worker import RemoteWorker
from shoal.router.rpc.worker_lines import WorkerLines
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import call_table
from shoal.runtime.server import GrpcServer
from shoal.shard_worker.rpc.worker_service import WorkerServicer
from tests.integration.test_router_transport import MESSAGE_BYTES, SEARCH_SHARDS, SHARD, WAIT_S, entry, twin_worker
from tests.support.network.ports import free_port
from tests.support.network.proxy import VARIABLES, proxy_named_by
from tests.twins.cluster import TwinWorker, new_conversions
from tests.twins.virtual_time import FakeClock

COUNT = ShardCount(shard=SHARD)
DELETE = ShardDelete(shard=SHARD, request_id=RequestId("me", 1), ids=id_array([4]))


def http_server(twin: TwinWorker, port: int, server_id: str, *, without: str = "-") -> HttpServer:
    """Return a server of the calls of a worker, except the method `without`."""
    table = call_table(call for call in WorkerServicer(twin, new_conversions()).calls() if not call.path.endswith(without))
    limits = HttpLimits(message_bytes=MESSAGE_BYTES)
    return HttpServer(host="127.0.0.1", port=port, table=table, limits=limits, role="worker", server_id=server_id)


@dataclass
class Scene:
    """A worker of incarnation "i" on two ports; the HTTP port is not served until `serve`."""

    remote: RemoteWorker
    http_port: int
    over_grpc: TwinWorker
    over_http: TwinWorker = field(default_factory=twin_worker)
    clock: FakeClock = field(default_factory=FakeClock)
    _servers: list[HttpServer] = field(default_factory=list)

    async def serve(self, server_id: str = "i", *, without: str = "-") -> HttpServer:
        server = http_server(self.over_http, self.http_port, server_id, without=without)
        await server.start()
        self._servers.append(server)
        return server

    async def count(self) -> tuple[int, int]:
        """Call once. Return how many calls each wire has carried: HTTP, gRPC."""
        await self.remote.count(COUNT, WAIT_S)
        return len(self.over_http.calls), len(self.over_grpc.calls)

    async def close(self) -> None:
        await self.remote.close()
        for each in self._servers:
            await each.stop(0)


@asynccontextmanager
async def scene(*, most: int = 8) -> AsyncIterator[Scene]:
    twin, server, http_port, clock = (
        twin_worker(),
        GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES),
        free_port(),
        FakeClock(),
    )
    server.add(call_table(WorkerServicer(twin, new_conversions()).calls()))
    lines = WorkerLines(entry(await server.start(), http_port), MESSAGE_BYTES, most=most, clock=clock)
    made = Scene(RemoteWorker(lines, new_conversions()), http_port, twin, clock=clock)
    try:
        yield made
    finally:
        await made.close()
        await server.stop(0)


def test_calls_on_points_go_over_http_and_others_over_grpc() -> None:
    async def run() -> None:
        async with scene() as it:
            await it.serve()
            assert [await it.count() for _ in range(3)] == [(1, 0), (2, 0), (3, 0)]
            await it.remote.stats(SHARD, WAIT_S)
            assert it.over_grpc.calls == [SHARD]

    asyncio.run(run())


def test_calls_over_http_ignore_proxies() -> None:
    async def run() -> None:
        async with scene() as it:
            await it.serve()
            assert await it.count() == (1, 0)

    with proxy_named_by(VARIABLES) as proxy:
        asyncio.run(run())
    assert proxy.asked == []


def test_a_port_that_cannot_be_reached_is_no_error_and_is_tried_again_after_a_pause() -> None:
    async def run() -> None:
        async with scene() as it:
            assert await it.count() == (0, 1)
            await it.serve()
            assert await it.count() == (0, 2)
            it.clock.now += FIRST_PAUSE_S
            assert await it.count() == (1, 2)
            assert await it.count() == (2, 2)

    asyncio.run(run())


@pytest.mark.parametrize("server_id", ["j", "other"])
def test_another_process_at_the_port_refuses_the_call_and_grpc_carries_it(server_id: str) -> None:
    async def run() -> None:
        async with scene() as it:
            await it.serve(server_id)
            assert await it.count() == (0, 1)
            await it.remote.write(DELETE, WAIT_S)
            assert (it.over_http.calls, len(it.over_grpc.calls)) == ([], 2)

    asyncio.run(run())


def test_a_process_that_takes_the_place_of_the_worker_gets_no_call_over_old_connections() -> None:
    async def run() -> None:
        async with scene() as it:
            first = await it.serve()
            assert await it.count() == (1, 0)
            await first.stop(0)
            await it.serve("j")
            assert await it.count() == (1, 1)

    asyncio.run(run())


def test_a_call_that_the_worker_does_not_serve_over_http_goes_over_grpc() -> None:
    async def run() -> None:
        async with scene() as it:
            await it.serve(without="/SearchShards")
            await it.remote.search_shards(SEARCH_SHARDS, WAIT_S)
            assert (it.over_http.calls, len(it.over_grpc.calls)) == ([], 1)

    asyncio.run(run())


def test_a_call_that_finds_all_connections_in_use_goes_over_grpc() -> None:
    async def run() -> None:
        async with scene(most=1) as it:
            await it.serve()
            held = asyncio.create_task(it.remote.count(COUNT, WAIT_S))
            await asyncio.sleep(0)
            await it.remote.count(COUNT, WAIT_S)
            await held
            assert (len(it.over_http.calls), len(it.over_grpc.calls)) == (1, 1)
            assert await it.count() == (2, 1)

    asyncio.run(run())


class Scripted:
    """A worker's HTTP port that answers some requests and closes the connection at others. requests: as they came."""

    def __init__(self, port: int, script: str) -> None:
        """script: one sign for each request, "a" to answer it, "c" to close its connection."""
        self._port, self._script, self.requests = port, script, list[bytes]()
        self.connections = 0

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
                self.requests.append(head)
                if self._script[len(self.requests) - 1] == "c":
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            pass
        writer.close()


def test_a_read_on_a_connection_that_ends_at_once_is_sent_again_on_a_new_one_and_a_write_is_not() -> None:
    async def run() -> None:
        async with scene() as it, Scripted(it.http_port, "acac") as worker:
            await it.remote.count(COUNT, WAIT_S)
            await it.remote.count(COUNT, WAIT_S)
            assert (len(worker.requests), worker.connections) == (3, 2)
            with pytest.raises(NotConnected, match="the connection was lost") as caught:
                await it.remote.write(DELETE, WAIT_S)
            assert leaves_open(caught.value)
            assert (len(worker.requests), it.over_grpc.calls) == (4, [])

    asyncio.run(run())


def test_a_new_connection_that_ends_is_the_end_of_a_read() -> None:
    async def run() -> None:
        async with scene() as it, Scripted(it.http_port, "c"):
            with pytest.raises(Unavailable, match=r"worker at .*: the connection was lost"):
                await it.remote.count(COUNT, WAIT_S)
            assert it.over_grpc.calls == []

    asyncio.run(run())
