from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.runtime.calls import CallTable, UnaryCall
from shoal.runtime.http.answers import FailedAnswer, refusal
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.request_head import CallHead, served_calls
from shoal.runtime.http.request_reader import (
    CallRequest,
    HealthRequest,
    HeldBytes,
    ReadPhase,
    RefusedRequest,
    Request,
    RequestReader,
    SeenHeads,
)
from tests.support.http_requests import SEARCH_PATH, chunked, echo_table, request_bytes, search_bytes
from tests.support.scope import LONG

CALLS = served_calls(echo_table())
LIMITS = HttpLimits(message_bytes=100_000, head_bytes=2_000, headers=20)
CHUNKS = [(b"transfer-encoding", b"chunked")]


class Reading:
    """A reader, and what it holds. seen: heads that other connections have sent, None for none."""

    def __init__(self, limits: HttpLimits = LIMITS, seen: SeenHeads | None = None) -> None:
        self.held = HeldBytes(limits.held_bytes)
        self.reader = RequestReader(CALLS, limits, self.held, lambda: 5.0, seen=seen)

    def fed(self, *pieces: bytes) -> list[Request]:
        for piece in pieces:
            self.reader.feed(piece)
        return list(self.reader.ready)


def statuses(requests: list[Request]) -> list[int]:
    """200 for a request that is served."""
    return [each.failure.http_status if isinstance(each, RefusedRequest) else 200 for each in requests]


def told(request: Request) -> str:
    assert isinstance(request, RefusedRequest)
    return str(json.loads(request.failure.body)["message"])


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("cut", [bytewise, lambda data: [data]])
def test_a_request_comes_whole_or_byte_by_byte(cut: object) -> None:
    body = search_bytes("things")
    reading = Reading()
    (request,) = reading.fed(*cut(request_bytes(body=body)))  # type: ignore[operator]
    assert isinstance(request, CallRequest)
    assert (request.body, request.last, request.arrived_s, request.head.served.call.path) == (body, False, 5.0, SEARCH_PATH.decode())
    assert (reading.reader.phase, reading.held.now) == (ReadPhase.BETWEEN, len(body))
    reading.reader.give_back(request)
    assert reading.held.now == 0


def test_requests_one_behind_the_other_keep_their_order() -> None:
    bodies = [search_bytes(name) for name in "abc"]
    requests = Reading().fed(b"".join(request_bytes(body=body) for body in bodies))
    assert [each.body for each in requests if isinstance(each, CallRequest)] == bodies


def test_a_body_in_chunks_is_one_body() -> None:
    body = search_bytes("things")
    data = request_bytes(headers=CHUNKS, body=None) + chunked(body[:2], body[2:], trailers=b"digest: x\r\n")
    for pieces in ([data], bytewise(data)):
        (request,) = Reading().fed(*pieces)
        assert isinstance(request, CallRequest)
        assert request.body == body
        assert all(name != b"digest" for name, _ in request.head.fields)


def test_health_and_targets_of_other_forms() -> None:
    for target in (b"/health", b"/health?now", b"http://h/health", b"https://h:1/health?x"):
        assert Reading().fed(request_bytes(method=b"GET", target=target, body=None)) == [HealthRequest(last=False)]
    assert statuses(Reading().fed(request_bytes(target=b"http://h", body=None))) == [404]


@pytest.mark.parametrize(
    ("headers", "version", "last"),
    [
        ([], b"1.1", False),
        ([(b"connection", b"keep-alive")], b"1.1", False),
        ([(b"Connection", b"Close")], b"1.1", True),
        ([], b"1.0", True),
        ([(b"connection", b"keep-alive")], b"1.0", True),
    ],
)
def test_which_request_is_the_last_of_its_connection(headers: list[tuple[bytes, bytes]], version: bytes, last: bool) -> None:
    reading = Reading()
    data = request_bytes(headers=headers, version=version)
    requests = reading.fed(data + data)
    assert [each.last for each in requests] == ([True] if last else [False, False])
    assert (reading.reader.phase is ReadPhase.ENDED) == last


SMUGGLED = {
    "two lengths": b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "the same length twice": b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "a list of lengths": b"content-length: 3, 3\r\n\r\nabc",
    "a signed length": b"content-length: +3\r\n\r\nabc",
    "a negative length": b"content-length: -3\r\n\r\nabc",
    "a length in hex": b"content-length: 0x3\r\n\r\nabc",
    "an empty length": b"content-length: \r\n\r\nabc",
    "a length of many digits": b"content-length: 99999999999999999999999999\r\n\r\nabc",
    "length and chunks": b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    "chunks twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks, then identity": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity, then chunks": b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip in chunks": b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding nobody knows": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding with a tab": b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a line that begins with a space": b" content-length: 3\r\n\r\nabc",
    "a bare line feed": b"x: y\ncontent-length: 3\r\n\r\nabc",
    "a bare carriage return": b"x: y\rcontent-length: 3\r\n\r\nabc",
    "a zero byte": b"x: \x00\r\n\r\n",
    "a name that is no token": b"x(y): z\r\n\r\n",
    "no name": b": z\r\n\r\n",
    "two hosts": b"host: b\r\n\r\n",
    "a chunk size that is no number": b"transfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "a signed chunk size": b"transfer-encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n",
    "a chunk size of many digits": b"transfer-encoding: chunked\r\n\r\nfffffffffffffffffffff\r\nab\r\n0\r\n\r\n",
    "a chunk that is longer than it says": b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    "a line feed alone behind a chunk": b"transfer-encoding: chunked\r\n\r\n2\nab\n0\r\n\r\n",
    "a negative chunk": b"transfer-encoding: chunked\r\n\r\n-1\r\nab\r\n0\r\n\r\n",
}
"""What follows the request line and the first two headers. Two readers may see different ends of each of these."""


@pytest.mark.parametrize("name", SMUGGLED)
@pytest.mark.parametrize("whole", [True, False])
def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_behind_it_is_read(name: str, whole: bool) -> None:
    data = b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-type: application/proto\r\n%b" % (SEARCH_PATH, SMUGGLED[name])
    hidden = request_bytes(target=b"/hidden")
    reading = Reading()
    requests = reading.fed(data + hidden) if whole else reading.fed(*bytewise(data + hidden))
    (refused,) = requests
    assert isinstance(refused, RefusedRequest)
    assert refused.failure.http_status in (400, 413, 501)
    assert refused.last
    assert reading.reader.phase is ReadPhase.ENDED
    assert reading.held.now == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET /health HTTP/2.0\r\nhost: h\r\n\r\n", 505),
        (b"GET /health HTTP/0.9\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n", 501),
        (request_bytes(headers=[(b"connection", b"upgrade"), (b"upgrade", b"h2c")], body=b"abc"), 501),
        (request_bytes(version=b"1.0", headers=CHUNKS, body=None) + chunked(b"a"), 400),
        (request_bytes(body=None, headers=[(b"content-length", b"200000")]), 413),
        (request_bytes(body=None, headers=CHUNKS) + chunked(*[b"x" * 50_000] * 4), 413),
        (request_bytes(headers=[(b"x", b"y" * 3_000)]), 431),
        (request_bytes(headers=[(b"x", b"y")] * 21), 431),
        (request_bytes(target=b"/" + b"y" * 3_000), 431),
        (b"GET /" + b"y" * 3_000, 431),
        (request_bytes(headers=[(b"x", b"y" * 3_000)])[:2_500], 431),
        (b"\r\n" * 1_500, 431),
        (request_bytes(body=None, headers=CHUNKS) + b"0\r\n" + b"a: b\r\n" * 22, 431),
    ],
)
def test_what_is_too_much_or_another_protocol_is_refused_with_a_status(data: bytes, status: int) -> None:
    for pieces in ([data], [data[at : at + 100] for at in range(0, len(data), 100)]):
        reading = Reading()
        requests = reading.fed(*pieces)
        assert statuses(requests) == [status]
        assert requests[0].last
        assert reading.held.now == 0


@pytest.mark.parametrize("behind", [b"1;" + b"e" * 3_000, b"0\r\na: " + b"b" * 3_000, b"0\r\n" + b"a" * 3_000])
def test_what_only_frames_a_body_is_bounded_too(behind: bytes) -> None:
    data = request_bytes(body=None, headers=CHUNKS) + behind
    assert statuses(Reading().fed(*(data[at : at + 100] for at in range(0, len(data), 100)))) == [431]


def test_a_refused_request_is_read_to_its_end_and_the_next_one_is_served() -> None:
    data = request_bytes(target=b"/nothing", body=b"x" * 500) + request_bytes(body=search_bytes())
    for pieces in ([data], bytewise(data)):
        requests = Reading().fed(*pieces)
        assert statuses(requests) == [404, 200]
        assert [each.last for each in requests] == [False, False]


def test_the_answer_to_head_has_no_body() -> None:
    (refused,) = Reading().fed(request_bytes(method=b"HEAD", target=b"/health", body=None))
    assert isinstance(refused, RefusedRequest)
    assert (refused.failure.http_status, refused.bodiless) == (405, True)


def test_a_peer_that_waits_before_it_sends_its_body_is_let_go_on_or_refused_at_once() -> None:
    expects = [(b"expect", b"100-continue")]
    reading = Reading()
    assert reading.fed(request_bytes(headers=[*expects, (b"content-length", b"3")], body=None)) == []
    assert reading.reader.waits_to_go_on
    assert statuses(reading.fed(b"abc")) == [200]
    assert not reading.reader.waits_to_go_on
    reading = Reading()
    (refused,) = reading.fed(request_bytes(target=b"/nothing", headers=[*expects, (b"content-length", b"3")], body=None))
    assert (statuses([refused]), refused.last) == ([404], True)
    reading = Reading()
    reading.fed(request_bytes(version=b"1.0", headers=[*expects, (b"content-length", b"3")], body=None))
    assert not reading.reader.waits_to_go_on


def test_bodies_of_all_connections_together_are_bounded() -> None:
    reading = Reading(HttpLimits(message_bytes=1_000, held_bytes=100))
    first, second = reading.fed(request_bytes(body=b"x" * 90) + request_bytes(body=b"x" * 20))
    assert isinstance(first, CallRequest)
    assert (statuses([second]), second.last) == ([503], True)
    assert reading.held.now == 90


def test_a_reader_that_is_told_to_refuse_or_close_gives_back_what_it_holds() -> None:
    half = request_bytes(body=b"x" * 90)[:-10]
    late: FailedAnswer = refusal(408, "DEADLINE_EXCEEDED", "too late")
    for end in (lambda reader: reader.refuse(late), lambda reader: reader.close()):
        reading = Reading()
        assert reading.fed(half) == []
        assert (reading.reader.phase, reading.held.now) == (ReadPhase.BODY, 80)
        end(reading.reader)
        assert (reading.reader.phase, reading.held.now) == (ReadPhase.ENDED, 0)
        reading.fed(b"x" * 10)
        assert statuses(list(reading.reader.ready)) in ([408], [])


PIECES = st.sampled_from(
    [
        *(b"x: " + SMUGGLED[name] for name in SMUGGLED),
        request_bytes(body=search_bytes()),
        request_bytes(body=None, headers=CHUNKS) + chunked(b"ab", b"c"),
        request_bytes(target=b"/nothing", body=b"xyz"),
        request_bytes(method=b"GET", target=b"/health", body=None),
        request_bytes(headers=[(b"connection", b"close")]),
        request_bytes(headers=[(b"expect", b"100-continue")], body=b"abc"),
        request_bytes(headers=[(b"x", b"y")] * 30),
        b"\r\n",
        b"POST ",
        b"content-length: 99999\r\n",
        b"transfer-encoding: chunked\r\n",
        b"0\r\n\r\n",
    ]
)
STREAMS = st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=6).map(b"".join)


@st.composite
def changed_streams(draw: st.DrawFn) -> bytes:
    """Good requests with some bytes changed, left out or doubled."""
    data = bytearray(draw(STREAMS))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            match draw(st.sampled_from(["change", "remove", "double"])):
                case "change":
                    data[at] = draw(st.integers(0, 255))
                case "remove":
                    del data[at]
                case _:
                    data[at:at] = data[at : at + 8]
    return bytes(data)


@settings(deadline=None, max_examples=5_000 if LONG else 200)
@given(data=changed_streams(), cuts=st.lists(st.integers(0, 3_000), max_size=8))
def test_any_bytes_cut_anywhere_give_the_same_requests(data: bytes, cuts: list[int]) -> None:
    whole, pieces = Reading(), Reading()
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    from_whole = whole.fed(data)
    from_pieces = pieces.fed(*(data[start:end] for start, end in zip([0, *ends], ends, strict=False)))
    assert statuses(from_whole) == statuses(from_pieces)
    assert [each.body for each in from_whole if isinstance(each, CallRequest)] == [
        each.body for each in from_pieces if isinstance(each, CallRequest)
    ]
    assert [each.last for each in from_whole] == [each.last for each in from_pieces]
    for reading in (whole, pieces):
        assert all(not each.last for each in list(reading.reader.ready)[:-1]), "nothing is read behind the last request"
        for each in reading.reader.ready:
            if isinstance(each, CallRequest):
                reading.reader.give_back(each)
        reading.reader.close()
        assert reading.held.now == 0


def shown(request: Request) -> object:
    """What a request says, in a form that can be compared."""
    if not isinstance(request, CallRequest):
        return request
    head = request.head
    return request.body, request.last, head.served, head.json, head.timeout_s, head.client, head.goes_on, head.fields


WHOLE = [
    request_bytes(body=search_bytes()),
    request_bytes(body=search_bytes("other")),
    request_bytes(body=b""),
    request_bytes(headers=[(b"shoal-client", b"me")], body=search_bytes("a")),
    request_bytes(headers=[(b"connect-timeout-ms", b"700")], body=search_bytes("a")),
    request_bytes(body=None, headers=CHUNKS) + chunked(b"ab"),
    request_bytes(target=b"/nothing", body=b"xyz"),
    request_bytes(method=b"GET", target=b"/health", body=None),
    request_bytes(headers=[(b"connection", b"close")]),
    request_bytes(headers=[(b"expect", b"100-continue")], body=b"abc"),
]
"""Requests that each come in one piece."""


class Forgetful(SeenHeads):
    """Keeps nothing, so that everything is parsed."""

    def add(self, data: bytes | memoryview, head: CallHead, body: int) -> None:
        """Do nothing."""


@settings(deadline=None, max_examples=3_000 if LONG else 150)
@given(pieces=st.lists(st.one_of(st.sampled_from(WHOLE), st.sampled_from([b"\r", b"\r\n", b"\n", b"P"]), changed_streams()), max_size=12))
def test_a_head_that_was_seen_before_means_what_the_parser_says(pieces: list[bytes]) -> None:
    seen = SeenHeads(most=6)
    learnt = Reading(seen=seen)
    for piece in WHOLE:
        learnt.fed(piece)
        if learnt.reader.phase is not ReadPhase.BETWEEN:
            learnt = Reading(seen=seen)
    quick, parsing = Reading(seen=seen), Reading(seen=Forgetful())
    for piece in pieces:
        from_seen, parsed = quick.fed(piece), parsing.fed(piece)
        assert [shown(each) for each in from_seen] == [shown(each) for each in parsed]
        assert (quick.reader.phase, quick.reader.begun, quick.held.now) == (parsing.reader.phase, parsing.reader.begun, parsing.held.now)


def test_a_seen_head_is_not_parsed_again_and_bodies_stay_bounded() -> None:
    limits = HttpLimits(message_bytes=100_000, head_bytes=2_000, headers=20, held_bytes=300)
    seen = SeenHeads()
    reading, data = Reading(limits, seen), request_bytes(body=b"x" * 100)
    reading.fed(data)
    assert seen.body_of(data) is not None
    assert seen.body_of(data[:-1]) is None
    assert seen.body_of(data + b"x") is None
    parser, reading.reader._parser = reading.reader._parser, "is not asked"  # type: ignore[assignment]
    assert statuses(reading.fed(data, data)) == [200] * 3
    reading.reader._parser = parser
    assert statuses(reading.fed(data)) == [200, 200, 200, 503]
    assert reading.reader.phase is ReadPhase.ENDED


def test_a_request_is_admitted_once_also_if_its_body_finds_no_room() -> None:
    asked: list[str] = []

    def admitting(call: UnaryCall) -> UnaryCall:
        def admit(authorization: str, peer: str) -> UnaryCall:
            asked.append(authorization)
            return call

        return replace(call, admit=admit)

    calls = served_calls(CallTable(admitting(each) for each in echo_table().values()))
    limits = HttpLimits(message_bytes=100_000, head_bytes=2_000, headers=20, held_bytes=150)
    reading = Reading(limits)
    reading.reader = RequestReader(calls, limits, reading.held, lambda: 5.0, seen=SeenHeads())
    data = request_bytes(body=b"x" * 100, headers=[(b"authorization", b"Bearer k")])
    assert statuses(reading.fed(data)) == [200]
    assert statuses(reading.fed(data)) == [200, 503]
    assert asked == ["Bearer k"] * 2
