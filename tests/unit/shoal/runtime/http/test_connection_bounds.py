from __future__ import annotations

import asyncio
import json

import pytest

from shoal.runtime.http.connection import HttpConnection, peer_text
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.request_reader import ReadPhase
from shoal.runtime.http.server import HttpServer
from tests.support.http_requests import echo_table, request_bytes, search_bytes
from tests.unit.shoal.runtime.http.connection_scene import LIMITS, HeardTransport, Playing, answers_of, played, turns, until


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
