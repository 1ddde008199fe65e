"""Calls that come to several connections in one turn of the event loop are answered together, each as if alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import pytest

from shoal.core.errors import NotFound
from shoal.runtime.calls import CallContext, Later, calls_of
from shoal.runtime.http.connection import HttpConnection
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import call_table
from shoal.runtime.metrics import REQUESTS, Measure, MetricSpec, Sample
from shoal.v1 import search_pb2
from shoal.wire.services import SEARCH
from tests.support.http_requests import request_bytes, search_bytes
from tests.unit.shoal.runtime.http.connection_scene import CLOSE, LIMITS, GatedSearch, HeardTransport, answers_of, turns


class GatheredSearch(GatedSearch):
    """Answers collections named "now..." together, but for "now alone..."; those named "now not..." do not exist."""

    def __init__(self) -> None:
        super().__init__()
        self.together_with: list[list[str]] = []
        self.is_broken = False

    def at_once(self, request: bytes, context: CallContext) -> bytes | Later | None:
        name = search_pb2.SearchRequest.FromString(request).collection
        if name.startswith("now not"):
            raise NotFound(name)
        return super().at_once(request, context)

    def together(self, asked: Sequence[tuple[bytes, CallContext]]) -> Sequence[bytes | None]:
        names = [search_pb2.SearchRequest.FromString(request).collection for request, _ in asked]
        self.together_with.append(names)
        if self.is_broken:
            raise RuntimeError("a defect")
        return [_answer(name) if name.startswith("now") and name[4:].split(" ")[0] not in ("alone", "not") else None for name in names]


def _answer(name: str) -> bytes:
    return search_pb2.SearchResponse(missing_shards=[name]).SerializeToString()


class CodeCounts:
    """Counts the calls by their codes."""

    def __init__(self) -> None:
        self.calls: dict[str, float] = {}

    def measure(self, metric: MetricSpec, *labels: str) -> Measure:
        def add(value: float) -> None:
            if metric is REQUESTS:
                self.calls[labels[-1]] = self.calls.get(labels[-1], 0.0) + value

        return add

    def gather(self, metrics: tuple[MetricSpec, ...], read: Callable[[], Iterable[Sample]]) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Peers:
    """Connections of one server that does not listen."""

    def __init__(self) -> None:
        self.service, self.metrics = GatheredSearch(), CodeCounts()
        calls = calls_of(SEARCH, self.service, {"Search": self.service.at_once}, {"Search": self.service.together})
        table = call_table(calls, metrics=self.metrics)
        self.server = HttpServer(host="127.0.0.1", port=0, table=table, limits=LIMITS, role="test")
        self.peers: list[tuple[HttpConnection, HeardTransport]] = []

    def connect(self, count: int) -> None:
        for _ in range(count):
            connection, transport = HttpConnection(self.server), HeardTransport()
            connection.connection_made(transport)
            self.peers.append((connection, transport))

    def receive(self, peer: int, *names: str, headers: Any = ()) -> None:
        self.peers[peer][0].data_received(b"".join(request_bytes(body=search_bytes(name), headers=headers) for name in names))

    def answers(self, peer: int) -> list[str]:
        return [told for _, told in answers_of(self.peers[peer][1].written)]


def _played(count: int, script: Callable[[Peers], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        peers = Peers()
        peers.connect(count)
        await script(peers)
        for connection, _ in peers.peers:
            connection.connection_lost(None)
        for call in list(peers.server.running):
            await asyncio.wait({call.task})
        await turns()
        assert (peers.server.held.now, peers.server.running) == (0, set())
        await peers.server.stop(0)

    asyncio.run(run())


def test_calls_of_one_turn_are_answered_together_and_counted_one_by_one() -> None:
    async def script(it: Peers) -> None:
        for peer in range(3):
            it.receive(peer, f"now{peer}")
            assert it.answers(peer) == []
            assert not it.peers[peer][0].is_free
        await turns(1)
        assert it.service.together_with == [["now0", "now1", "now2"]]
        assert [it.answers(peer) for peer in range(3)] == [["now0"], ["now1"], ["now2"]]
        assert all(connection.is_free for connection, _ in it.peers)
        assert it.metrics.calls == {"OK": 3}

    _played(3, script)


def test_a_call_without_others_goes_its_usual_way_in_the_next_turn() -> None:
    async def script(it: Peers) -> None:
        it.receive(0, "now")
        await turns(1)
        assert (it.answers(0), it.service.began, it.service.together_with) == (["now"], ["now"], [])

    _played(1, script)


def test_each_that_is_not_answered_together_goes_its_own_way() -> None:
    async def script(it: Peers) -> None:
        names = ["now0", "now alone", "now not", "no", "later", "now5"]
        for peer, name in enumerate(names):
            it.receive(peer, name)
        await turns()
        assert it.service.together_with == [names]
        assert [it.answers(peer) for peer in range(6)] == [["now0"], ["now alone"], ["404"], [], [], ["now5"]]
        assert it.service.began == ["now alone", "no", "later"]
        for name in ("no", "later"):
            it.service.gate(name).set()
        await turns()
        assert [it.answers(peer) for peer in (3, 4)] == [["404"], ["later"]]
        assert it.metrics.calls == {"OK": 4, "NOT_FOUND": 2}

    _played(6, script)


def test_if_the_common_way_breaks_each_is_answered_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def script(it: Peers) -> None:
        it.service.is_broken = True
        for peer in range(2):
            it.receive(peer, f"now{peer}")
        await turns()
        assert [it.answers(peer) for peer in range(2)] == [["now0"], ["now1"]]
        assert it.service.began == ["now0", "now1"]

    _played(2, script)
    assert "handler_failed" in caplog.text


def test_requests_sent_ahead_keep_their_order_and_take_turns_with_other_connections() -> None:
    async def script(it: Peers) -> None:
        it.receive(0, "now0", "now alone", "now1", headers=[])
        it.receive(1, "now2", "now3")
        await turns()
        assert it.service.together_with[0] == ["now0", "now2"]
        assert it.answers(0) == ["now0", "now alone", "now1"]
        assert it.answers(1) == ["now2", "now3"]

    _played(2, script)


def test_a_peer_that_goes_is_left_out_and_others_are_answered() -> None:
    for leave in (HttpConnection.eof_received, lambda connection: connection.connection_lost(None)):

        async def script(it: Peers, leave: Callable[[HttpConnection], object] = leave) -> None:
            for peer in range(3):
                it.receive(peer, f"now{peer}")
            leave(it.peers[1][0])
            await turns()
            assert it.service.together_with == [["now0", "now2"]]
            assert [it.answers(peer) for peer in range(3)] == [["now0"], [], ["now2"]]
            it.receive(0, "now3")
            leave(it.peers[0][0])
            await turns()
            assert it.answers(0) == ["now0"]
            assert "now3" not in it.service.began

        _played(3, script)


def test_the_last_request_closes_its_connection_and_a_server_that_ends_answers_what_waits() -> None:
    async def script(it: Peers) -> None:
        it.receive(0, "now0", headers=CLOSE)
        it.receive(1, "now1")
        it.receive(2, "now2")
        it.peers[1][0].end()
        it.peers[2][0].cut()
        await turns()
        assert [it.answers(peer) for peer in range(3)] == [["now0"], ["now1"], ["now2"]]
        assert [transport.ended for _, transport in it.peers] == [True, True, False]

    _played(3, script)


def test_an_error_of_one_connection_does_not_keep_the_answers_of_others_back() -> None:
    async def script(it: Peers) -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))
        for peer in range(3):
            it.receive(peer, f"now{peer}")
        it.peers[0][1].closed = True  # A write to it fails now.
        await turns()
        assert [it.answers(peer) for peer in range(3)] == [[], ["now1"], ["now2"]]
        assert [type(error) for error in failed] == [AssertionError]
        it.peers[0][1].closed = False

    _played(3, script)
