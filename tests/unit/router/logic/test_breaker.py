from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import BY_STATUS, DataLoss, DeadlineExceeded, ErrorDetails, Internal, ShoalError, Unavailable
from shoal.router.logic.breaker import (
    CLOSED,
    FAILURES,
    FIRST_OPEN_S,
    LONGEST_OPEN_S,
    PROBE_S,
    Blame,
    Breaker,
    Gate,
    after_failure,
    blamed,
    gate,
    with_probe,
)


def failed(breaker: Breaker, times: int, now: float = 0.0) -> Breaker:
    for _ in range(times):
        breaker = after_failure(breaker, now)
    return breaker


def test_it_opens_after_failures_in_a_row_and_then_lets_one_probe_through() -> None:
    assert gate(failed(CLOSED, FAILURES - 1), 0.0) is Gate.PASSES
    opened = failed(CLOSED, FAILURES)
    assert gate(opened, 0.0) is Gate.SHUT
    assert gate(opened, FIRST_OPEN_S) is Gate.PROBES
    assert gate(with_probe(opened, FIRST_OPEN_S), FIRST_OPEN_S) is Gate.SHUT


def test_a_probe_that_is_never_heard_of_does_not_shut_it_for_ever() -> None:
    probing = with_probe(failed(CLOSED, FAILURES), 5.0)
    assert gate(probing, 5.0 + PROBE_S) is Gate.PROBES


def test_every_failed_probe_doubles_the_time_up_to_a_bound() -> None:
    breaker, times, now = failed(CLOSED, FAILURES), [], 0.0
    for _ in range(8):
        times.append(breaker.shut_until - now)
        now = breaker.shut_until
        breaker = after_failure(with_probe(breaker, now), now)
    assert times == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_calls_that_were_under_way_when_it_opened_do_not_prolong_it() -> None:
    opened = failed(CLOSED, FAILURES)
    assert failed(opened, 100, now=0.1) == opened


steps = st.lists(st.tuples(st.sampled_from(["fail", "answer", "probe"]), st.floats(0, 3)), max_size=60)


@given(steps)
def test_whatever_happens_it_lets_somebody_through_before_long(history: list[tuple[str, float]]) -> None:
    breaker, now, in_a_row = CLOSED, 0.0, 0
    for what, passed in history:
        now += passed
        if what == "fail":
            breaker, in_a_row = after_failure(breaker, now), in_a_row + 1
        elif what == "answer":
            breaker, in_a_row = CLOSED, 0
        elif gate(breaker, now) is Gate.PROBES:
            breaker = with_probe(breaker, now)
        assert gate(breaker, now + LONGEST_OPEN_S) is not Gate.SHUT
        assert (gate(breaker, now) is Gate.PASSES) == (in_a_row < FAILURES)


@pytest.mark.parametrize(
    ("error", "whom"),
    [
        (Unavailable("connection refused"), Blame.WORKER),
        (Unavailable("not ready", ErrorDetails(shard="c/1")), Blame.REPLICA),
        (DeadlineExceeded("too late"), Blame.UNKNOWN),
        (DeadlineExceeded("has applied 3 in time", ErrorDetails(shard="c/1")), Blame.REPLICA),
        (DataLoss("crc"), Blame.REPLICA),
        (Internal("broke"), Blame.REPLICA),
    ],
)
def test_who_is_to_blame(error: ShoalError, whom: Blame) -> None:
    assert blamed(error) is whom


@pytest.mark.parametrize("kind", [kind for kind in BY_STATUS.values() if kind not in (Unavailable, DeadlineExceeded, DataLoss, Internal)])
def test_a_refused_request_speaks_against_nobody(kind: type[ShoalError]) -> None:
    assert blamed(kind("x", ErrorDetails(shard="c/1"))) is Blame.NOBODY
