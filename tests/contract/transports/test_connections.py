"""Connections over HTTP: how many there are, who shares them, and what restarts, forks and cancelled calls do."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import uvloop

import shoal
from shoal.client.transports.auto_async import AsyncAutoTransport
from shoal.client.transports.grpc_async import AsyncGrpcTransport
from shoal.core.requests import Count, OptimizeCollection, Upsert
from shoal.wire.http.pool import MOST
from tests.contract.transports.conftest import Asking, TwoPorts, on_a_loop
from tests.support.cluster.role_cluster import wait_until
from tests.support.network.proxy import VARIABLES, proxy_named_by
from tests.twins.connect_server import hanging_up, saying, silent, written
from tests.twins.router_answers import DictCluster, client_with

COUNT, UPSERT = "/shoal.v1.Points/Count", "/shoal.v1.Points/Upsert"


@pytest.fixture
def filled(router: TwoPorts) -> TwoPorts:
    """A router with the collection "c" of dimension 2, with one point."""
    cluster = DictCluster()
    with client_with(cluster) as client:
        client.create_collection("c", 2)
        client.upsert("c", [1], [[0, 1]])
    router.answer = cluster
    return router


class Gate:
    """An answer function that holds back calls of one kind until `open` is set. waiting, most: number of them."""

    def __init__(self, behind: Callable[..., Any], kind: type) -> None:
        self.behind, self.kind, self.open = behind, kind, threading.Event()
        self.waiting = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, address: str, request: Any, timeout_s: float) -> Any:
        if isinstance(request, self.kind):
            with self._lock:
                self.waiting += 1
                self.most = max(self.most, self.waiting)
            self.open.wait(60.0)
            with self._lock:
                self.waiting -= 1
        return self.behind(address, request, timeout_s)


def test_one_caller_has_one_connection(filled: TwoPorts) -> None:
    with filled.connect("http address") as client:
        for _ in range(20):
            assert client.count("c") == 1
        assert filled.over_http.accepted == 1
    wait_until(lambda: filled.over_http.connections == 0, "the connections of a closed client are closed")


def test_64_threads_of_one_client_are_all_served(filled: TwoPorts) -> None:
    gate = filled.answer = Gate(filled.answer, Count)
    with filled.connect("http address", timeout=60.0) as client, ThreadPoolExecutor(64) as pool:
        tasks = [pool.submit(client.count, "c") for _ in range(64)]
        wait_until(lambda: gate.waiting == 64, "all threads wait for an answer at the same time")
        gate.open.set()
        assert [task.result() for task in tasks] == [1] * 64
        assert sum(pool.map(lambda _: client.count("c"), range(640))) == 640
        assert filled.over_http.accepted == 64


def test_more_threads_than_connections_wait_for_each_other(filled: TwoPorts) -> None:
    gate = filled.answer = Gate(filled.answer, Count)
    with filled.connect("http address", timeout=60.0) as client, ThreadPoolExecutor(100) as pool:
        tasks = [pool.submit(client.count, "c") for _ in range(100)]
        wait_until(lambda: gate.waiting == MOST, "as many calls as there may be connections")
        gate.open.set()
        assert [task.result() for task in tasks] == [1] * 100
        assert (gate.most, filled.over_http.accepted) == (MOST, MOST)


def test_1000_tasks_of_one_client_are_all_served(filled: TwoPorts) -> None:
    gate = filled.answer = Gate(filled.answer, Count)

    async def story() -> None:
        async with filled.connect_async("http address", timeout=60.0) as client:
            tasks = [asyncio.create_task(client.count("c")) for _ in range(1_000)]
            await asyncio.to_thread(wait_until, lambda: gate.waiting == MOST, "as many calls as there may be connections")
            gate.open.set()
            assert await asyncio.gather(*tasks) == [1] * 1_000
        assert (gate.most, filled.over_http.accepted) == (MOST, MOST)

    on_a_loop(story())


@pytest.mark.parametrize("awaits", [False, True])
def test_a_call_that_gets_no_connection_ends_at_its_deadline_and_the_others_go_on(filled: TwoPorts, awaits: bool) -> None:
    gate = filled.answer = Gate(filled.answer, Count)

    async def story() -> None:
        async with filled.connect_async("http address", timeout=60.0) as client:
            tasks = [asyncio.create_task(client.count("c")) for _ in range(MOST)]
            await asyncio.to_thread(wait_until, lambda: gate.waiting == MOST, "all connections are used")
            with pytest.raises(shoal.DeadlineExceeded, match="no answer came in time"):
                await client.list_collections(timeout=0.2)
            left = asyncio.create_task(client.list_collections())
            await asyncio.sleep(0)
            left.cancel()
            gate.open.set()
            assert await asyncio.gather(*tasks) == [1] * MOST
            assert len(await client.list_collections()) == 1

    if awaits:
        on_a_loop(story())
        return
    with filled.connect("http address", timeout=60.0) as client, ThreadPoolExecutor(MOST) as pool:
        tasks = [pool.submit(client.count, "c") for _ in range(MOST)]
        wait_until(lambda: gate.waiting == MOST, "all connections are used")
        with pytest.raises(shoal.DeadlineExceeded, match="no answer came in time"):
            client.list_collections(timeout=0.2)
        gate.open.set()
        assert [task.result() for task in tasks] == [1] * MOST
        assert len(client.list_collections()) == 1


def test_calls_that_take_minutes_hold_up_no_other_call(filled: TwoPorts) -> None:
    gate = filled.answer = Gate(filled.answer, OptimizeCollection)
    with filled.connect("http address", timeout=60.0) as client, ThreadPoolExecutor(MOST + 10) as pool:
        tasks = [pool.submit(client.optimize, "c") for _ in range(MOST + 10)]
        wait_until(lambda: gate.waiting == MOST + 10, "all long calls run")
        assert client.count("c") == 1
        gate.open.set()
        assert [task.result() for task in tasks] == [None] * (MOST + 10)


def test_a_router_that_was_started_again_is_asked_without_an_error(filled: TwoPorts, asking: Asking) -> None:
    """Reads and writes, though the connections of before are dead."""

    async def story() -> None:
        async with filled.connect_async(asking.wire) as client:
            for points in (1, 2, 3):
                assert await client.count("c") == points
                await asyncio.to_thread(again, filled)
                assert await client.upsert("c", [points + 1], [[1, 1]]) == 1
                await asyncio.to_thread(again, filled)

    if asking.awaits:
        on_a_loop(story())
        return
    with filled.connect(asking.wire) as client:
        for points in (1, 2, 3):
            assert client.count("c") == points
            again(filled)
            assert client.upsert("c", [points + 1], [[1, 1]]) == 1
            again(filled)


def again(router: TwoPorts) -> None:
    router.stop()
    router.start()


@pytest.mark.parametrize("awaits", [False, True])
def test_a_connection_that_ends_just_when_it_is_used_is_replaced_once(filled: TwoPorts, awaits: bool) -> None:
    """The read is sent once more at once. The write is sent again by the flow, with the same request id."""
    ids = []
    behind = filled.answer

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        if isinstance(request, Upsert):
            ids.append(request.request_id)
        return behind(address, request, timeout_s)

    filled.answer = answer
    if awaits:

        async def story() -> None:
            async with filled.connect_async("http address") as client:
                await client.list_collections()
                filled.over_http.next = [hanging_up]
                assert await client.count("c") == 1
                filled.over_http.next = [hanging_up]
                assert await client.upsert("c", [1], [[0, 1]]) == 1

        on_a_loop(story())
    else:
        with filled.connect("http address") as client:
            client.list_collections()
            filled.over_http.next = [hanging_up]
            assert client.count("c") == 1
            filled.over_http.next = [hanging_up]
            assert client.upsert("c", [1], [[0, 1]]) == 1
    assert (filled.calls(COUNT)[0], filled.calls(UPSERT)[0], len(set(ids))) == (2, 2, 1)


@pytest.mark.parametrize("awaits", [False, True])
def test_a_write_whose_connection_ended_may_have_been_applied_and_the_error_says_so(filled: TwoPorts, awaits: bool) -> None:
    behind = filled.answer

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        if isinstance(request, Upsert):
            raise shoal.Unavailable("not ready", shoal.ErrorDetails(applied={"c/0": "no"}))
        return behind(address, request, timeout_s)

    filled.answer = answer
    if awaits:

        async def story() -> None:
            async with filled.connect_async("http address", timeout=0.7) as client:
                await client.count("c")
                filled.over_http.next = [hanging_up]
                with pytest.raises(shoal.Unavailable) as caught:
                    await client.upsert("c", [1], [[0, 1]])
                assert caught.value.details.applied == {"c/0": "maybe"}

        on_a_loop(story())
        return
    with filled.connect("http address", timeout=0.7) as client:
        client.count("c")
        filled.over_http.next = [hanging_up]
        with pytest.raises(shoal.Unavailable) as caught:
            client.upsert("c", [1], [[0, 1]])
    assert caught.value.details.applied == {"c/0": "maybe"}


def test_bytes_that_nobody_asked_for_are_no_answer_to_the_next_call(filled: TwoPorts) -> None:
    server = filled.over_http
    with filled.connect("http address") as client:
        client.list_collections()
        evil = b"HTTP/1.1 200 OK\r\ncontent-type: application/proto\r\ncontent-length: 2\r\n\r\n\x08\x63"
        server.next = [lambda peer, request: (peer.sendall(server.answer_to(request) + evil), True)[1]]
        assert client.count("c") == 1
        assert client.count("c") == 1
        assert server.accepted == 2


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_a_cancelled_call_closes_its_connection_and_no_other(filled: TwoPorts, loop: str) -> None:
    async def story() -> None:
        async with filled.connect_async("http address") as client:
            gate = filled.answer = Gate(filled.answer, Count)
            kept = asyncio.create_task(client.count("c"))
            await asyncio.to_thread(wait_until, lambda: gate.waiting == 1, "a call runs")
            filled.over_http.next = [silent(60.0)]
            left = asyncio.create_task(client.list_collections())
            await asyncio.to_thread(wait_until, lambda: not filled.over_http.next, "another call runs")
            assert filled.over_http.connections == 2
            left.cancel()
            with pytest.raises(asyncio.CancelledError):
                await left
            await asyncio.to_thread(wait_until, lambda: filled.over_http.connections == 1, "its connection is closed")
            gate.open.set()
            assert await kept == 1
            assert len(await client.list_collections()) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(story())


def test_closing_a_client_ends_its_calls(filled: TwoPorts, wire: str) -> None:
    gate = Gate(filled.answer, Count)
    with ThreadPoolExecutor(4) as pool:
        client = filled.connect(wire, timeout=60.0)
        client.list_collections()
        filled.answer = gate
        tasks = [pool.submit(client.count, "c") for _ in range(4)]
        wait_until(lambda: gate.waiting == 4, "calls run")
        client.close()
        for task in tasks:
            with pytest.raises(shoal.PreconditionFailed, match="this client is closed"):
                task.result()
        gate.open.set()
    with pytest.raises(shoal.PreconditionFailed, match="closed"):
        client.count("c")


def test_closing_an_asyncio_client_ends_its_calls(filled: TwoPorts, wire: str) -> None:
    gate = Gate(filled.answer, Count)

    async def story() -> None:
        client = filled.connect_async(wire, timeout=60.0)
        await client.list_collections()
        filled.answer = gate
        tasks = [asyncio.create_task(client.count("c")) for _ in range(4)]
        await asyncio.to_thread(wait_until, lambda: gate.waiting == 4, "calls run")
        await client.close()
        for task in tasks:
            with pytest.raises(shoal.PreconditionFailed, match="closed"):
                await task
        with pytest.raises(shoal.PreconditionFailed, match="closed"):
            await client.count("c")
        gate.open.set()

    on_a_loop(story())


def test_a_client_of_asyncio_serves_every_loop_and_a_transport_one(filled: TwoPorts, wire: str) -> None:
    client = filled.connect_async(wire)

    async def ask(asked: shoal.AsyncClient) -> int:
        return await asked.count("c")

    with asyncio.Runner() as runner:
        assert runner.run(ask(client)) == 1
        assert runner.run(ask(client)) == 1
        assert asyncio.run(ask(client)) == 1
        assert asyncio.run(ask(client)) == 1
        runner.run(client.close())
        with pytest.raises(shoal.PreconditionFailed, match="closed"):
            asyncio.run(ask(client))

    own = shoal.AsyncClient(filled.address(wire), transport=AsyncGrpcTransport() if wire == "grpc" else AsyncAutoTransport())
    with asyncio.Runner() as runner:
        assert [runner.run(ask(own)) for _ in range(2)] == [1, 1], "over gRPC, then over HTTP"
        with pytest.raises(shoal.PreconditionFailed, match="another event loop"):
            asyncio.run(ask(own))
        runner.run(own.close())


def _in_child(client: shoal.Client, results: Any) -> None:
    try:
        results.put([client.count("c") for _ in range(50)])
    except BaseException as error:
        results.put(repr(error))


def test_a_forked_process_has_connections_of_its_own(filled: TwoPorts) -> None:
    """The child asks while the parent does, after a fork during calls of other threads."""
    context = multiprocessing.get_context("fork")
    client = filled.connect("http address", timeout=30.0)
    stop, results = threading.Event(), context.SimpleQueue()
    wrong: list[int] = []

    def keep_asking() -> None:
        while not stop.is_set():
            wrong.extend(found for found in [client.count("c")] if found != 1)

    asking_threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for each in asking_threads:
        each.start()
    wait_until(lambda: filled.over_http.connections == 4, "all threads have a connection")
    children = [context.Process(target=_in_child, args=(client, results)) for _ in range(3)]
    for child in children:
        child.start()
    assert [results.get() for _ in children] == [[1] * 50] * 3
    for child in children:
        child.join(30)
    stop.set()
    for each in asking_threads:
        each.join()
    assert (wrong, client.count("c")) == ([], 1)
    names = {request.headers["shoal-client"] for request in filled.over_http.requests}
    assert len(names) == 4, "parent and children take their turns apart"
    client.close()


REFUSED = b'{"code":"resource_exhausted","message":"no"}'


@contextlib.contextmanager
def refusing_server() -> Iterator[str]:
    """A server that refuses each request by its head: it answers before it has read the body, and reads no more."""
    listener, held = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                held.append(peer)
                peer.recv(1_000)
                peer.sendall(written(429, REFUSED, "application/json"))

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for peer in held:
        peer.close()


@pytest.mark.parametrize("awaits", [False, True])
def test_an_early_answer_ends_the_sending_of_a_large_request(awaits: bool) -> None:
    vectors = np.full((1_000, 1_000), 0.5)

    async def story(address: str) -> None:
        async with shoal.connect_async(address, timeout=50.0) as client:
            await client.upsert("c", range(1_000), vectors)

    def blocking(address: str) -> None:
        with shoal.connect(address, timeout=50.0) as client:
            client.upsert("c", range(1_000), vectors)

    with refusing_server() as address, pytest.raises(shoal.ResourceExhausted):
        on_a_loop(story(address)) if awaits else blocking(address)


def test_a_retired_place_lets_its_calls_end(filled: TwoPorts) -> None:
    """The router says on a new connection that its HTTP port is elsewhere: running calls end where they began."""
    gate = Gate(filled.answer, Count)
    with filled.connect("auto", timeout=60.0) as client, ThreadPoolExecutor(1) as pool:
        client.list_collections()
        filled.answer = gate
        running = pool.submit(client.count, "c")
        wait_until(lambda: gate.waiting == 1, "a call runs over HTTP")
        filled.over_http.next = [saying(b"HTTP/1.1 421 Misdirected\r\ncontent-length: 0\r\n\r\n")]
        filled.over_grpc.says = (("shoal-http", f":{filled.over_http.port}"), ("shoal-server", ""))
        filled.over_http.server_id = ""
        assert len(client.list_collections()) == 1
        gate.open.set()
        assert running.result() == 1


@pytest.mark.parametrize("awaits", [False, True])
def test_variables_that_name_a_proxy_do_not_matter(filled: TwoPorts, awaits: bool) -> None:
    async def story() -> int:
        async with filled.connect_async("http address") as client:
            return await client.count("c")

    def blocking() -> int:
        with filled.connect("http address") as client:
            return client.count("c")

    with proxy_named_by(VARIABLES) as proxy:
        assert (on_a_loop(story()) if awaits else blocking()) == 1
    assert proxy.asked == []
