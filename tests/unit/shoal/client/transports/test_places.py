from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.client.transports.places import (
    FIRST_PAUSE_S,
    LAST_PAUSE_S,
    HttpPlace,
    NoHttp,
    OverHttp,
    Paused,
    Unknown,
    Way,
    Ways,
    after_failure,
    after_metadata,
    after_success,
    place_in,
    place_now,
    way_of,
)
from shoal.core.errors import PreconditionFailed
from shoal.wire.http.failure import NoAnswer, NoAnswerCause

PLACE, OTHER = HttpPlace(address="a:80", named="a:1", server="x"), HttpPlace(address="a:81", named="a:1", server="y")
SAYS = [("shoal-http", ":80"), ("shoal-server", "x")]


@pytest.mark.parametrize(
    ("metadata", "place"),
    [
        (SAYS, PLACE),
        ([("other", b"\x00"), ("shoal-http", "a:80"), ("shoal-server", "x")], PLACE),
        ([("shoal-http", "h:80")], HttpPlace(address="h:80", named="a:1")),
        ([("shoal-http", "[::1]:80")], HttpPlace(address="[::1]:80", named="a:1")),
        (None, None),
        ([], None),
        ([("shoal-server", "x")], None),
        ([("shoal-http", "80")], None),
        ([("shoal-http", "")], None),
        ([("shoal-http", ":0")], None),
        ([("shoal-http", ":99999")], None),
        ([("shoal-http", "h:x")], None),
        ([("shoal-http", "h h:80")], None),
        ([("shoal-http", "h\r\nx: y:80")], None),
        ([("shoal-http", b":80")], None),
        ([("shoal-http", ":80"), ("shoal-server", "a\r\nb")], None),
        ([("shoal-http", ":80"), ("shoal-server", "x" * 65)], None),
    ],
)
def test_what_a_router_says_is_taken_for_an_address_only_if_it_is_one(metadata: list[tuple[str, object]], place: HttpPlace | None) -> None:
    assert place_in(metadata, "a:1") == place


def test_the_host_that_was_dialled_is_used_if_the_router_knows_none() -> None:
    for address, expected in (("[::1]:7600", "[::1]:80"), ("router.example:7600", "router.example:80")):
        found = place_in(SAYS, address)
        assert found is not None
        assert (found.address, found.named) == (expected, address)


def test_an_address_of_an_http_port_is_used_at_once() -> None:
    assert way_of("http://[::1]:7680") == OverHttp(place=HttpPlace(address="[::1]:7680", named="http://[::1]:7680"))
    assert way_of("a:1") == Unknown()


events = st.lists(st.one_of(st.sampled_from(["fail", "fine", PLACE, OTHER, None]), st.floats(0.0, 400.0)), max_size=40)


@given(events)
def test_any_history_of_a_router(history: list[object]) -> None:
    way: Way = Unknown()
    now, failed_at, in_a_row, said = 0.0, None, 0, None
    for event in history:
        place = place_now(way, now)
        match event:
            case float(seconds):
                now += seconds
            case "fail" if place is not None:
                way, failed_at, in_a_row = after_failure(way, now), now, in_a_row + 1
                assert place_now(way, now) is None, "a failure is not followed by another attempt at once"
            case "fine" if place is not None:
                way, failed_at, in_a_row = after_success(way), None, 0
            case HttpPlace() if place is None:
                if event != said:
                    failed_at, in_a_row = None, 0
                way, said = after_metadata(way, event), event
            case None if place is None:
                way = after_metadata(way, None)
        expected_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** max(0, in_a_row - 1))
        if said is None:
            assert isinstance(way, Unknown | NoHttp)
        elif failed_at is None or now >= failed_at + expected_s:
            assert place_now(way, now) == said
        else:
            assert place_now(way, now) is None


def no_answer(cause: NoAnswerCause) -> NoAnswer:
    return NoAnswer(cause, PreconditionFailed("x"))


@pytest.mark.parametrize("cause", NoAnswerCause)
def test_only_what_did_nothing_goes_over_grpc_instead(cause: NoAnswerCause) -> None:
    ways = Ways(lambda: 5.0)
    ways.told("a:1", SAYS)
    harmless = cause in (NoAnswerCause.NOT_REACHED, NoAnswerCause.STRANGER)
    assert ways.failed("a:1", PLACE, no_answer(cause)) == harmless
    assert ways.place("a:1") == (None if harmless else PLACE)
    direct = ways.place("http://a:80")
    assert direct is not None
    assert not ways.failed("http://a:80", direct, no_answer(cause)), "there is no gRPC address"
    assert ways.place("http://a:80") == direct


def test_many_calls_that_fail_at_once_count_once() -> None:
    now = [0.0]
    ways = Ways(lambda: now[0])
    ways.told("a:1", SAYS)
    for _ in range(64):
        assert ways.failed("a:1", PLACE, no_answer(NoAnswerCause.NOT_REACHED))
    now[0] = FIRST_PAUSE_S
    assert ways.place("a:1") == PLACE
    ways.answered("a:1")
    assert ways._ways["a:1"] == OverHttp(place=PLACE)


def test_without_grpc_a_router_that_failed_is_asked_again_and_may_have_nothing_new_to_say() -> None:
    ways = Ways(lambda: 0.0, only_http=True)
    ways.told("a:1", None)
    with pytest.raises(PreconditionFailed, match="the router at a:1 offers no HTTP"):
        ways.asked("a:1")
    ways.told("a:1", SAYS)
    assert (ways.place("a:1"), ways.asked("a:1")) == (PLACE, PLACE)
    assert not ways.failed("a:1", PLACE, no_answer(NoAnswerCause.NOT_REACHED))
    assert ways.place("a:1") is None
    ways.told("a:1", None)
    assert (ways.asked("a:1"), ways.place("a:1")) == (PLACE, PLACE)
    assert not ways.failed("a:1", PLACE, no_answer(NoAnswerCause.STRANGER))
    ways.told("a:1", [("shoal-http", ":81"), ("shoal-server", "y")])
    assert ways.asked("a:1") == OTHER


def test_paused_ways_stay_paused_when_nothing_new_is_said() -> None:
    paused = Paused(place=PLACE, failures=3, until_s=9.0)
    assert after_metadata(paused, PLACE) is paused
    assert after_metadata(paused, None) is paused
    assert after_metadata(paused, OTHER) == OverHttp(place=OTHER)
