from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from shoal.core.errors import NotFound
from shoal.runtime.calls import CallTable, calls_of
from shoal.runtime.http.connection import HttpConnection, peer_text
from shoal.runtime.http.limits import READ_BYTES, HttpLimits
from shoal.runtime.http.request_reader import ReadPhase
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import call_table
from shoal.v1 import search_pb2
from shoal.wire.services import SEARCH
from tests.support.http_requests import echo_table, request_bytes, search_bytes

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
    """Answers each search when its gate opens. Collections named "now..." are answered at once; others wait."""

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

    def at_once(self, request: Any, context: Any) -> Any:
        if not request.collection.startswith("now"):
            return None
        self.began.append(request.collection)
        return search_pb2.SearchResponse(missing_shards=[request.collection])

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


def test_a_call_that_can_be_answered_at_once_is_answered_where_it_arrives() -> None:
    async def script(it: Playing) -> None:
        it.receive("now")
        assert it.answers() == ["now"]
        assert it.connection.is_free

    played(script)


def test_a_call_in_a_task_is_answered_when_it_ends() -> None:
    async def script(it: Playing) -> None:
        it.receive("a")
        await turns()
        assert (it.answers(), it.service.began, it.connection.is_free) == ([], ["a"], False)
        it.service.gate("a").set()
        await turns()
        assert (it.answers(), it.connection.is_free) == (["a"], True)

    played(script)


def test_answers_keep_the_order_of_the_requests() -> None:
    async def script(it: Playing) -> None:
        it.receive("a", "now1", "no", "now2")
        await turns()
        assert (it.answers(), it.service.began) == ([], ["a"])
        it.service.gate("a").set()
        await turns()
        assert (it.answers(), it.service.began) == (["a", "now1"], ["a", "now1", "no"])
        it.service.gate("no").set()
        await turns()
        assert it.answers() == ["a", "now1", "404", "now2"]

    played(script)


def test_between_two_requests_of_a_connection_others_have_their_turn() -> None:
    async def script(it: Playing) -> None:
        it.receive("now1", "now2", "now3")
        assert it.answers() == ["now1"]
        other, transport = HttpConnection(it.server), HeardTransport()
        other.connection_made(transport)
        other.data_received(request_bytes(body=search_bytes("now4")))
        assert answers_of(transport.written) == [(200, "now4")]
        await turns()
        assert it.answers() == ["now1", "now2", "now3"]
        other.connection_lost(None)

    played(script)


def test_a_peer_that_sends_ahead_is_not_read_until_there_is_room() -> None:
    async def script(it: Playing) -> None:
        it.receive("a", "b", "c", "d")
        assert not it.transport.reads
        for name in "abcd":
            it.service.gate(name).set()
        await turns()
        assert it.transport.reads
        assert it.answers() == ["a", "b", "c", "d"]

    played(script)


def test_a_flood_of_requests_is_parsed_piece_by_piece() -> None:
    async def script(it: Playing) -> None:
        count = 3 * READ_BYTES // len(request_bytes(body=search_bytes("x")))
        it.receive(*["x"] * count)
        assert len(it.connection._reader.ready) < count / 2
        assert not it.transport.reads
        it.service.gate("x").set()
        await turns(20 * count)
        assert it.answers() == ["x"] * count
        assert it.transport.reads

    played(script)


def test_a_peer_that_goes_takes_back_its_calls() -> None:
    for leave in (HttpConnection.eof_received, lambda connection: connection.connection_lost(None)):

        async def script(it: Playing, leave: Callable[[HttpConnection], object] = leave) -> None:
            it.receive("a", "b")
            await turns()
            assert not leave(it.connection)
            await turns()
            assert (it.service.began, it.service.cancelled, it.answers()) == (["a"], ["a"], [])

        played(script)


def test_the_last_request_ends_the_connection_and_what_follows_is_ignored() -> None:
    async def script(it: Playing) -> None:
        it.receive("now1", headers=CLOSE)
        assert it.transport.ended
        assert b"connection: close" in it.transport.written
        it.receive("now2")
        await turns()
        assert it.answers() == ["now1"]
        it.connection.look(asyncio.get_running_loop().time() + 10)
        assert it.transport.aborted

    played(script)


def test_a_refusal_waits_for_its_turn_and_ends_the_connection() -> None:
    async def script(it: Playing) -> None:
        it.receive("a")
        it.connection.data_received(b"nonsense\r\n\r\n")
        await turns()
        assert it.answers() == []
        it.service.gate("a").set()
        await turns()
        assert it.answers() == ["a", "400"]
        assert it.transport.ended

    played(script)


def test_a_deadline_cancels_the_call_and_counts_from_its_arrival() -> None:
    async def script(it: Playing) -> None:
        it.receive("a", headers=[(b"connect-timeout-ms", b"30")])
        await asyncio.wait_for(until(lambda: it.service.cancelled == ["a"]), 10)
        await turns()
        assert it.answers() == ["504"]
        assert it.service.remaining_s[0] is not None
        assert 0 < it.service.remaining_s[0] <= 0.03
        it.receive("b")
        await turns()
        assert it.service.remaining_s[1] is None

    played(script)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_a_peer_is_told_from_others_by_the_name_it_gives_itself() -> None:
    async def script(it: Playing) -> None:
        it.service.gate("a").set()
        it.receive("a")
        await turns()
        it.receive("a", headers=[(b"shoal-client", b"me")])
        await turns()
        assert it.service.peers == ["ipv4:127.0.0.1:5000", "ipv4:127.0.0.1/me"]

    played(script)


def test_more_calls_than_may_run_are_refused() -> None:
    async def script(it: Playing) -> None:
        others = []
        for name in "ab":
            other, transport = HttpConnection(it.server), HeardTransport()
            other.connection_made(transport)
            other.data_received(request_bytes(body=search_bytes(name)))
            others.append((other, transport))
        assert answers_of(others[1][1].written) == [(503, "503")]
        it.receive("now")
        assert it.answers() == ["now"]
        for other, _ in others:
            other.connection_lost(None)

    played(script, HttpLimits(message_bytes=1_000, calls=1))


def test_a_peer_that_waits_to_go_on_is_let_go_on_when_its_turn_comes() -> None:
    async def script(it: Playing) -> None:
        it.receive("a")
        body = search_bytes("now")
        head = request_bytes(headers=[(b"expect", b"100-continue"), (b"content-length", b"%d" % len(body))], body=None)
        it.connection.data_received(head)
        await turns()
        assert it.answers() == []
        it.service.gate("a").set()
        await turns()
        assert it.answers() == ["a", "100"]
        it.connection.data_received(body)
        assert it.answers() == ["a", "100", "now"]

    played(script)


def test_a_peer_that_does_not_take_its_answers_gets_no_more_of_them() -> None:
    async def script(it: Playing) -> None:
        now_s = asyncio.get_running_loop().time
        it.transport.held = 100_000
        it.connection.pause_writing()
        it.receive("now1", "now2", "now3", "now4")
        await turns()
        assert (it.answers(), it.transport.reads) == ([], False)
        it.connection.look(now_s() + 1)
        it.transport.held = 90_000
        it.connection.look(now_s() + LIMITS.stalled_s - 1)
        it.connection.look(now_s() + LIMITS.stalled_s + 1)
        assert not it.transport.aborted, "it took something"
        it.transport.held = 0
        it.connection.resume_writing()
        await turns()
        assert (it.answers(), it.transport.reads) == (["now1", "now2", "now3", "now4"], True)
        it.transport.held = 100_000
        it.connection.pause_writing()
        it.connection.look(now_s() + LIMITS.stalled_s + 1)
        assert it.transport.aborted

    played(script)


@pytest.mark.parametrize(
    ("sent", "after_s", "told"),
    [
        (b"POST /sho", LIMITS.head_s, "the head of the request did not arrive within 10 s"),
        (request_bytes(body=b"x" * 50)[:-20], LIMITS.silent_s, "no byte of the request arrived for 20 s"),
    ],
)
def test_a_slow_peer_is_told_so_and_left(sent: bytes, after_s: float, told: str) -> None:
    async def script(it: Playing) -> None:
        now_s = asyncio.get_running_loop().time()
        it.connection.data_received(sent)
        it.connection.look(now_s + after_s - 1)
        assert it.transport.written == b""
        it.connection.look(now_s + after_s + 1)
        assert it.answers() == ["408"]
        assert json.loads(it.transport.written.split(b"\r\n\r\n")[1])["message"] == told
        assert it.transport.ended

    played(script)


def test_a_body_that_drips_is_left_in_the_end() -> None:
    async def script(it: Playing) -> None:
        now_s = asyncio.get_running_loop().time()
        it.connection.data_received(request_bytes(body=b"x" * 50)[:-20])
        it.connection._heard_s = now_s + LIMITS.body_s
        it.connection.look(now_s + LIMITS.body_s + 1)
        assert it.answers() == ["408"]

    played(script)


def test_a_connection_without_requests_is_closed_after_a_while() -> None:
    async def script(it: Playing) -> None:
        now_s = asyncio.get_running_loop().time()
        it.receive("now")
        it.connection.look(now_s + LIMITS.idle_s - 1)
        assert not it.transport.ended
        it.connection.look(now_s + LIMITS.idle_s + 1)
        assert it.transport.ended

    played(script)


def test_a_call_that_runs_long_is_no_idle_connection() -> None:
    async def script(it: Playing) -> None:
        it.receive("a")
        await turns()
        it.connection.look(asyncio.get_running_loop().time() + 10 * LIMITS.idle_s)
        assert not it.transport.ended
        it.service.gate("a").set()
        await turns()
        assert it.answers() == ["a"]

    played(script)


def test_the_end_of_the_server_lets_the_running_call_end() -> None:
    async def script(it: Playing) -> None:
        it.receive("a", "b")
        await turns()
        ending = asyncio.create_task(it.server.stop(30))
        await turns()
        it.service.gate("a").set()
        await turns()
        assert it.answers() == ["a"]
        assert b"connection: close" in it.transport.written
        assert it.transport.ended
        it.connection.connection_lost(None)
        await ending

    played(script)


def test_the_end_of_the_server_cuts_what_takes_too_long() -> None:
    async def script(it: Playing) -> None:
        it.receive("a")
        await turns()
        ending = asyncio.create_task(it.server.stop(0.01))
        await asyncio.wait_for(until(lambda: it.answers() == ["503"]), 10)
        assert (it.service.cancelled, it.transport.ended) == (["a"], True)
        it.connection.connection_lost(None)
        await ending

    played(script)


def test_a_server_that_ends_takes_no_connection_and_no_request() -> None:
    async def script(it: Playing) -> None:
        ending = asyncio.create_task(it.server.stop(0))
        await turns()
        assert it.transport.ended
        it.receive("now")
        other, transport = HttpConnection(it.server), HeardTransport()
        other.connection_made(transport)
        assert (it.answers(), transport.ended) == ([], True)
        other.connection_lost(None)
        it.connection.connection_lost(None)
        await ending

    played(script)


def test_a_new_connection_takes_the_place_of_the_one_that_is_free_the_longest() -> None:
    async def script(it: Playing) -> None:
        it.receive("a")
        free = []
        for _ in range(2):
            other, transport = HttpConnection(it.server), HeardTransport()
            other.connection_made(transport)
            other.data_received(request_bytes(body=search_bytes("now")))
            await asyncio.sleep(0.002)
            free.append((other, transport))
        assert (it.transport.closed, free[0][1].closed, free[1][1].closed) == (False, True, False)
        other, transport = HttpConnection(it.server), HeardTransport()
        free[1][0].data_received(request_bytes(body=search_bytes("b")))
        other.connection_made(transport)
        assert (answers_of(transport.written), transport.closed) == ([(503, "503")], True)
        for each in (*(connection for connection, _ in free), other):
            each.connection_lost(None)

    played(script, HttpLimits(message_bytes=1_000, connections=2))


def test_health() -> None:
    async def script(it: Playing) -> None:
        for serving in (False, True):
            it.server.set_serving(serving)
            it.connection.data_received(request_bytes(method=b"GET", target=b"/health", body=None))
        assert [told for _, told in answers_of(it.transport.written)] == ["503", "200"]
        assert it.transport.written.endswith(b'{"status":"SERVING"}')
        it.connection.data_received(request_bytes(method=b"HEAD", target=b"/health", body=None))
        assert it.transport.written.endswith(b"allow: GET\r\n\r\n")

    played(script)


def test_a_large_answer_and_large_json() -> None:
    name = "n" * 200_000

    async def run() -> None:
        server = HttpServer(host="127.0.0.1", port=0, table=echo_table(), limits=LIMITS, role="test")
        connection, transport = HttpConnection(server), HeardTransport()
        connection.connection_made(transport)
        connection.data_received(request_bytes(body=search_bytes(name)))
        assert answers_of(transport.written) == [(200, name)]
        transport.written = b""
        connection.data_received(request_bytes(kind=b"application/json", body=json.dumps({"collection": name}).encode()))
        await asyncio.wait_for(until(lambda: transport.written != b""), 10)
        assert json.loads(transport.written.split(b"\r\n\r\n", 1)[1]) == {"missingShards": [name]}
        transport.written = b""
        connection.data_received(request_bytes(kind=b"application/json", body=b'{"collection": 5}'))
        await asyncio.wait_for(until(lambda: transport.written != b""), 10)
        assert json.loads(transport.written.split(b"\r\n\r\n", 1)[1])["code"] == "invalid_argument"
        connection.connection_lost(None)
        await server.stop(0)
        assert (server.held.now, connection._reader.phase) == (0, ReadPhase.ENDED)

    asyncio.run(run())


def test_peers_are_written_as_over_grpc() -> None:
    assert peer_text(("127.0.0.1", 5)) == "ipv4:127.0.0.1:5"
    assert peer_text(("::1", 5, 0, 0)) == "ipv6:%5B::1%5D:5"
    assert peer_text(None) == "gone"
