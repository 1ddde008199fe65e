"""Which wire a call takes: what a router says, what can be reached, and what is given."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

import shoal
from shoal.client.transports import auto_async, auto_blocking
from shoal.core.errors import NotConnected
from tests.contract.transports.conftest import TwoPorts, on_a_loop
from tests.support.network.ports import free_port
from tests.twins.connect_server import ConnectServer
from tests.twins.router_answers import DictCluster, client_with
from tests.twins.router_bytes import answered_in_bytes

COUNT, LIST = "/shoal.v1.Points/Count", "/shoal.v1.Collections/List"


@pytest.fixture(autouse=True)
def filled(router: TwoPorts) -> None:
    cluster = DictCluster()
    with client_with(cluster) as client:
        client.create_collection("c", 2)
    router.answer = cluster


class Counting:
    """A client, blocking or not, that counts. after: what happens before each of the next counts."""

    def __init__(self, router: TwoPorts, *, awaits: bool) -> None:
        self._router, self._awaits = router, awaits

    def each(self, wire: str, *before: Any, **options: Any) -> list[tuple[int, int] | Exception]:
        """Count once before all and once after each of `before`. Return for each the calls over HTTP and gRPC."""
        steps = [lambda: None, *before]
        return on_a_loop(self._awaited(wire, steps, options)) if self._awaits else self._blocking(wire, steps, options)

    def _blocking(self, wire: str, steps: list[Any], options: dict[str, Any]) -> list[Any]:
        told: list[Any] = []
        with self._router.connect(wire, **options) as client:
            for step in steps:
                step()
                seen = self._router.calls(COUNT)
                try:
                    assert client.count("c") == 0
                except shoal.ShoalError as error:
                    told.append(error)
                else:
                    told.append(self._more(seen))
        return told

    async def _awaited(self, wire: str, steps: list[Any], options: dict[str, Any]) -> list[Any]:
        told: list[Any] = []
        async with self._router.connect_async(wire, **options) as client:
            for step in steps:
                await asyncio.to_thread(step)
                seen = self._router.calls(COUNT)
                try:
                    assert await client.count("c") == 0
                except shoal.ShoalError as error:
                    told.append(error)
                else:
                    told.append(self._more(seen))
        return told

    def _more(self, before: tuple[int, int]) -> tuple[int, int]:
        http, grpc = self._router.calls(COUNT)
        return http - before[0], grpc - before[1]


@pytest.fixture(params=[False, True], ids=["blocking", "asyncio"])
def counting(request: pytest.FixtureRequest, router: TwoPorts) -> Counting:
    return Counting(router, awaits=request.param)


OVER_HTTP, OVER_GRPC = (1, 0), (0, 1)


def nothing() -> None:
    """Change nothing."""


def test_the_first_call_goes_over_grpc_and_the_others_over_http(counting: Counting) -> None:
    assert counting.each("auto", nothing, nothing) == [OVER_GRPC, OVER_HTTP, OVER_HTTP]
    assert counting.each("grpc", nothing) == [OVER_GRPC, OVER_GRPC]
    assert counting.each("http", nothing) == [OVER_HTTP, OVER_HTTP]
    assert counting.each("http address", nothing) == [OVER_HTTP, OVER_HTTP]


def test_a_router_may_say_it_with_an_error_and_only_once(router: TwoPorts, counting: Counting) -> None:
    says, behind = router.over_grpc.says, router.answer

    def refuse(address: str, request: Any, timeout_s: float) -> Any:
        raise shoal.NotFound("no")

    def answer_and_say_no_more() -> None:
        router.answer, router.over_grpc.says = behind, ()

    router.answer = refuse
    told = counting.each("auto", answer_and_say_no_more, nothing)
    assert (type(told[0]), told[1:]) == (shoal.NotFound, [OVER_HTTP, OVER_HTTP])
    router.over_grpc.says = says


def test_a_router_without_http_is_used_over_grpc(router: TwoPorts, counting: Counting) -> None:
    router.over_grpc.says = ()
    assert counting.each("auto", nothing) == [OVER_GRPC, OVER_GRPC]
    (error,) = counting.each("http")
    assert isinstance(error, shoal.PreconditionFailed)
    assert error.details.field == "transport"
    assert f"the router at {router.over_grpc.address} offers no HTTP" in str(error)


def test_http_that_cannot_be_reached_costs_no_call_and_is_tried_again_later(
    router: TwoPorts, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    for module in (auto_blocking, auto_async):
        monkeypatch.setattr(module, "Ways", lambda clock, only_http, made=module.Ways: made(lambda: now[0], only_http=only_http))
    refused: list[int] = []

    def later() -> None:
        now[0] += 1_000.0

    def back() -> None:
        router.over_http.start()

    told = counting.each("auto", nothing, router.over_http.stop, nothing, later, back, later, nothing)
    assert told == [OVER_GRPC, OVER_HTTP, OVER_GRPC, OVER_GRPC, OVER_GRPC, OVER_GRPC, OVER_HTTP, OVER_HTTP]
    assert refused == []


def test_a_write_that_did_not_reach_http_is_sent_over_grpc_once(router: TwoPorts) -> None:
    with router.connect("auto") as client:
        client.count("c")
        router.over_http.stop()
        assert client.upsert("c", [1], [[0, 1]]) == 1
    assert router.calls("/shoal.v1.Points/Upsert") == (0, 1)


@contextmanager
def full_port() -> Iterator[int]:
    """A port that takes no connection and refuses none, as behind a firewall that drops packets."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


def test_http_behind_a_firewall_leaves_time_for_grpc(router: TwoPorts, counting: Counting) -> None:
    with full_port() as port:
        router.over_grpc.says = (("shoal-http", f":{port}"),)
        assert counting.each("auto", nothing, nothing, timeout=4.0) == [OVER_GRPC, OVER_GRPC, OVER_GRPC]


def test_another_router_at_the_announced_port_is_not_written_to(router: TwoPorts, counting: Counting) -> None:
    """The port is another cluster's: it was forwarded from elsewhere, or taken since."""
    stranger = DictCluster()

    def in_bytes(path: str, data: bytes, timeout_s: float) -> bytes:
        return answered_in_bytes(stranger, "other", path, data, timeout_s)

    with ConnectServer(in_bytes, server_id="another-router") as other:
        router.over_grpc.says = (("shoal-http", f":{other.port}"), ("shoal-server", "the-router"))
        assert counting.each("auto", nothing, nothing) == [OVER_GRPC, OVER_GRPC, OVER_GRPC]
        with router.connect("auto") as client:
            client.create_collection("d", 2)
            assert client.upsert("d", [1], [[0, 1]]) == 1
    assert stranger.specs == {}
    assert {request.path for request in other.requests} >= {COUNT}


@pytest.mark.parametrize("wire", ["auto", "http"])
def test_a_router_that_comes_back_elsewhere_is_found(router: TwoPorts, counting: Counting, wire: str) -> None:
    def move() -> None:
        router.stop()
        router.over_http.port = free_port()
        router.over_http.server_id = "started-again"
        router.over_grpc.says = (("shoal-http", f":{router.over_http.port}"), ("shoal-server", "started-again"))
        router.start()

    first, then, after, last = counting.each(wire, nothing, move, nothing)
    assert (then, last) == (OVER_HTTP, OVER_HTTP)
    assert (first, after) == ((OVER_GRPC, OVER_GRPC) if wire == "auto" else (OVER_HTTP, OVER_HTTP))


def test_without_grpc_a_router_whose_http_port_is_closed_is_not_connected(router: TwoPorts, counting: Counting) -> None:
    told = counting.each("http", router.over_http.stop, router.over_http.start, timeout=1.0)
    assert told[0] == OVER_HTTP
    assert isinstance(told[1], NotConnected)
    assert told[2] == OVER_HTTP
    assert router.calls(COUNT)[1] == 0


class SaidOnce:
    """What a router says: with the first answer only."""

    def __init__(self, says: tuple[tuple[str, str], ...]) -> None:
        self._left = [says]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._left.pop() if self._left else ())


def test_first_calls_at_once_ask_only_once_where_http_is(router: TwoPorts) -> None:
    """A router says it with the first answer on a connection, and answers come in any order."""
    router.over_grpc.says = SaidOnce(router.over_grpc.says)  # type: ignore[assignment]
    with router.connect("http") as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(client.count, ["c"] * 8)) == [0] * 8
    assert router.calls(LIST) == (0, 1)


def test_first_calls_at_once_of_tasks_ask_only_once_where_http_is(router: TwoPorts) -> None:
    router.over_grpc.says = SaidOnce(router.over_grpc.says)  # type: ignore[assignment]

    async def at_once() -> None:
        async with router.connect_async("http") as client:
            assert await asyncio.gather(*(client.count("c") for _ in range(8))) == [0] * 8

    on_a_loop(at_once())
    assert router.calls(LIST) == (0, 1)


@pytest.mark.parametrize("awaits", [False, True], ids=["blocking", "asyncio"])
def test_who_waits_for_another_calls_question_waits_only_as_long_as_its_own_timeout(router: TwoPorts, awaits: bool) -> None:
    asked, go = threading.Event(), threading.Event()
    cluster = router.answer

    def answer(*call: Any) -> Any:
        asked.set()
        assert go.wait(60)
        return cluster(*call)

    router.answer = answer

    async def tasks() -> None:
        async with router.connect_async("http", timeout=60.0) as client:
            first = asyncio.create_task(client.count("c"))
            await asyncio.to_thread(asked.wait, 60)
            with pytest.raises(shoal.DeadlineExceeded):
                await client.count("c", timeout=0.1)
            go.set()
            assert await first == 0

    if awaits:
        on_a_loop(tasks())
        return
    with router.connect("http", timeout=60.0) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.count, "c")
        assert asked.wait(60)
        with pytest.raises(shoal.DeadlineExceeded):
            client.count("c", timeout=0.1)
        go.set()
        assert first.result(60) == 0
