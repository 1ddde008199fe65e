from __future__ import annotations

import gc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoal.wire.http.answer import HEAD_BYTES, AnswerFault, AnswerReader, SeenAnswers

MOST = 1_000
PROTO = b"content-type: application/proto\r\n"
GOOD = b"HTTP/1.1 200 OK\r\n" + PROTO + b"content-length: 3\r\n\r\nabc"


def read(data: bytes, *cuts: int) -> AnswerReader:
    """Feed the bytes in pieces, as long as more are needed."""
    return read_by(AnswerReader(MOST, SeenAnswers()), data, *cuts)


def read_by(reader: AnswerReader, data: bytes, *cuts: int) -> AnswerReader:
    ends = [*sorted(min(cut, len(data)) for cut in cuts), len(data)]
    start = 0
    for end in ends:
        if end > start and reader.feed(data[start:end]):
            break
        start = max(start, end)
    return reader


def outcome(reader: AnswerReader) -> tuple[object, ...]:
    if reader.complete:
        return ("complete", reader.status, reader.content_type, reader.body)
    return ("fault", reader.fault) if reader.fault is not None else ("more",)


def test_a_whole_answer_and_its_connection_goes_on() -> None:
    reader = read(GOOD)
    assert outcome(reader) == ("complete", 200, b"application/proto", b"abc")
    assert (reader.reusable, reader.arrived, reader.size) == (True, len(GOOD), 3)


@pytest.mark.parametrize(
    ("data", "expected", "reusable"),
    [
        (GOOD.replace(b"application/proto", b"Application/PROTO; x=y"), ("complete", 200, b"application/proto", b"abc"), True),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", ("complete", 404, b"", b""), True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ("complete", 204, b"", b""), False),
        (b"HTTP/1.1 502 Bad\r\n\r\nanything", ("complete", 502, b"", b""), False),
        (GOOD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), ("complete", 200, b"application/proto", b"abc"), False),
        (GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), ("complete", 200, b"application/proto", b"abc"), False),
        (b"HTTP/1.1 100 Continue\r\ncontent-type: x\r\n\r\n" + GOOD, ("complete", 200, b"application/proto", b"abc"), True),
        (
            b"HTTP/1.1 200 OK\r\n" + PROTO + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nx: y\r\n\r\n",
            ("complete", 200, b"application/proto", b"abc"),
            True,
        ),
    ],
)
def test_answers_of_every_form(data: bytes, expected: tuple[object, ...], reusable: bool) -> None:
    reader = read(data)
    assert (outcome(reader), reader.reusable) == (expected, reusable)


@pytest.mark.parametrize("surplus", [b"x", GOOD, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-type: evil\r\n\r\nz", b"\xff" * 99])
def test_what_comes_after_an_answer_is_no_part_of_it_and_ends_the_connection(surplus: bytes) -> None:
    reader = read(GOOD + surplus)
    assert (outcome(reader), reader.reusable) == (("complete", 200, b"application/proto", b"abc"), False)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", AnswerFault.NOT_HTTP),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", AnswerFault.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", AnswerFault.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", AnswerFault.NOT_HTTP),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", AnswerFault.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\n" + PROTO + b"\r\nabc", AnswerFault.LENGTH),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc", AnswerFault.LENGTH),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", AnswerFault.ENCODED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", AnswerFault.BODY),
        (b"HTTP/1.1 500 X\r\ncontent-length: 99999999999\r\n\r\n", AnswerFault.BODY),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1_001, AnswerFault.BODY),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * HEAD_BYTES + b"\r\ncontent-length: 0\r\n\r\n", AnswerFault.HEAD),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * HEAD_BYTES, AnswerFault.HEAD),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * HEAD_BYTES, AnswerFault.HEAD),
        (b"HTTP/1.1 100 C\r\n\r\n" * HEAD_BYTES, AnswerFault.HEAD),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * HEAD_BYTES, AnswerFault.HEAD),
    ],
)
@pytest.mark.parametrize("piece", [7_777, 10**9])
def test_what_cannot_be_used_has_a_fault(data: bytes, fault: AnswerFault, piece: int) -> None:
    reader = read(data, *range(piece, len(data), piece))
    assert (outcome(reader), reader.reusable) == (("fault", fault), False)


@pytest.mark.parametrize("size", [1_000, 1_001])
def test_the_bound_of_a_body_is_exact(size: int) -> None:
    announced = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"a" * size
    in_pieces = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % size + b"a" * size + b"\r\n0\r\n\r\n"
    for data in (announced, in_pieces):
        reader = read(data)
        assert (reader.complete, reader.fault) == ((True, None) if size <= MOST else (False, AnswerFault.BODY))
        assert reader.size in (size, 0)


def test_pieces_between_which_much_stands_are_bounded() -> None:
    frame = b"1;" + b"x" * 1_000 + b"\r\na\r\n"
    reader = read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + frame * 999, *range(500, 10**6, 500))
    assert outcome(reader) == ("fault", AnswerFault.BODY)


def test_a_cut_answer_needs_more() -> None:
    assert [outcome(read(GOOD[:end])) for end in range(1, len(GOOD))] == [("more",)] * (len(GOOD) - 1)


def test_a_reader_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        assert read(GOOD).complete
        assert read(b"garbage").fault is not None
        assert gc.collect() == 0
    finally:
        gc.enable()


fragments = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 503 Busy\r\n",
        b"HTTP/1.1 100 C\r\n",
        b"content-length: 3\r\n",
        b"content-length: 2000\r\n",
        b"transfer-encoding: chunked\r\n",
        b"content-encoding: br\r\n",
        PROTO,
        b"\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"\xff\x00",
        b" ",
    ]
)
streams = st.lists(st.one_of(fragments, st.binary(max_size=6)), max_size=12).map(b"".join)


@settings(max_examples=300)
@given(streams, st.lists(st.integers(0, 400), max_size=6))
@example(GOOD, [1, 2, 3])
@example(GOOD + GOOD, [len(GOOD)])
def test_the_cuts_of_a_stream_do_not_matter_and_nothing_is_raised(data: bytes, cuts: list[int]) -> None:
    whole, cut = read(data), read(data, *cuts)
    assert outcome(whole) == outcome(cut)
    assert len(cut.body) <= MOST
    # Bytes beyond the answer may still be on their way when it is complete. Whoever reads on sees them there.
    assert not (whole.reusable and not cut.reusable)


ANSWERS = [
    GOOD,
    GOOD.replace(b"abc", b"xyz"),
    GOOD.replace(b"3\r\n\r\nabc", b"0\r\n\r\n"),
    GOOD.replace(b"3\r\n\r\nabc", b"2000\r\n\r\n" + b"x" * 2_000),
    GOOD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
    GOOD.replace(b"200 OK", b"503 Busy"),
    GOOD + b"x",
    GOOD[:-1],
    b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
    b"HTTP/1.1 200 OK\r\n" + PROTO + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
]


@settings(deadline=None)
@given(pieces=st.lists(st.tuples(st.sampled_from(ANSWERS), st.lists(st.integers(0, 120), max_size=2)), max_size=10))
@example(pieces=[(each, []) for each in (*ANSWERS, *ANSWERS)])
def test_an_answer_whose_head_was_seen_means_what_the_parser_says(pieces: list[tuple[bytes, list[int]]]) -> None:
    seen = SeenAnswers()
    for data, cuts in pieces:
        known, parsed = read_by(AnswerReader(MOST, seen), data, *cuts), read(data, *cuts)
        assert (outcome(known), known.reusable, known.arrived, known.size) == (
            outcome(parsed),
            parsed.reusable,
            parsed.arrived,
            parsed.size,
        )


def test_a_seen_answer_is_not_parsed_again() -> None:
    seen = SeenAnswers()
    read_by(AnswerReader(MOST, seen), GOOD)
    reader = AnswerReader(MOST, seen)
    assert reader.feed(GOOD.replace(b"abc", b"xyz"))
    assert reader._parser is None
    assert reader.body == b"xyz"
    too_large = AnswerReader(2, seen)
    assert too_large.feed(GOOD)
    assert too_large.fault is AnswerFault.BODY
