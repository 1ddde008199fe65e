from __future__ import annotations

import asyncio
from collections.abc import Callable

from shoal.runtime.http.connection import HttpConnection
from shoal.runtime.http.limits import READ_BYTES, HttpLimits
from tests.support.http_requests import request_bytes, search_bytes
from tests.unit.shoal.runtime.http.connection_scene import CLOSE, HeardTransport, Playing, answers_of, played, turns, until


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


def test_the_work_of_the_synchronous_door_runs_in_a_task_which_ends_with_its_peer() -> None:
    async def script(it: Playing) -> None:
        it.receive("later1", "now")
        await turns()
        assert (it.answers(), it.service.began, it.connection.is_free) == ([], ["later1"], False)
        it.service.gate("later1").set()
        await turns()
        assert it.answers() == ["later1", "now"]
        it.receive("later2")
        await turns()
        it.connection.connection_lost(None)
        await turns()
        assert it.service.cancelled == ["later2"]

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
        for name in ("a", "b", "later"):
            other, transport = HttpConnection(it.server), HeardTransport()
            other.connection_made(transport)
            other.data_received(request_bytes(body=search_bytes(name)))
            others.append((other, transport))
        assert [answers_of(transport.written) for _, transport in others] == [[], [(503, "503")], [(503, "503")]]
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
