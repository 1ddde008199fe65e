from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.access import ALL_SCOPES
from shoal.core.api_keys import ApiKey
from shoal.router.logic.key_limits import MOST_FAILURES, FailedCaller, FailedCallers, KeyUse, SomeOf, TokenBucket, host_of

PAUSES = st.lists(st.sampled_from([0.0, 0.125, 0.25, 1.0, 8.0]), min_size=1, max_size=60)
"""Seconds between calls: sums of them are exact."""


def key(**limits: float) -> ApiKey:
    return ApiKey(id="0a" * 6, name="app", digest="", scopes=ALL_SCOPES, created_ms=0, **limits)  # type: ignore[arg-type]


@given(PAUSES, st.sampled_from([0.5, 1.0, 4.0]), st.integers(1, 5))
def test_no_window_has_more_calls_than_its_rate_and_a_burst(pauses: list[float], rate: float, burst: int) -> None:
    times = list(itertools.accumulate(pauses))
    bucket = TokenBucket(rate, burst, 0.0)
    granted = [now for now in times if not bucket.take(now)]
    for first, start in enumerate(granted):
        for last, end in enumerate(granted[first:], first):
            assert last - first + 1 <= burst + rate * (end - start)


@given(PAUSES, st.sampled_from([0.5, 1.0, 4.0]), st.integers(1, 5))
def test_a_call_that_waits_as_long_as_it_is_told_is_granted(pauses: list[float], rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    for now in itertools.accumulate(pauses):
        wait_s = bucket.take(now)
        if wait_s:
            assert bucket.wait_s(now) == wait_s
            assert not bucket.take(now + wait_s)
            return


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = TokenBucket(10.0, 2, 5.0)
    assert [bucket.take(5.0) for _ in range(3)] == [0.0, 0.0, 0.1]


def test_a_key_without_limits_has_none() -> None:
    use = KeyUse(key(), 0.0)
    assert not any(use.call(0.0) for _ in range(1_000))
    assert all(use.begin() for _ in range(1_000))


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4))
def test_never_more_calls_run_than_a_key_may_make(begins: list[bool], most: int) -> None:
    use, running = KeyUse(key(concurrency=most), 0.0), 0
    for begin in begins:
        if begin:
            assert use.begin() == (running < most)
            running = min(most, running + 1)
        elif running:
            use.end()
            running -= 1
        assert use.running == running <= most


def test_a_host_that_fails_often_is_refused_for_a_while_and_only_with_that_key() -> None:
    failed, here = FailedCallers(), FailedCaller("ipv4:10.0.0.1", "")
    for _ in range(MOST_FAILURES):
        assert not failed.wait_s(here, 0.0)
        failed.failed(here, 0.0)
    assert failed.wait_s(here, 0.0) == 1.0
    assert not failed.wait_s(FailedCaller("ipv4:10.0.0.1", "0a" * 6), 0.0)
    assert not failed.wait_s(FailedCaller("ipv4:10.0.0.2", ""), 0.0)
    assert not failed.wait_s(here, 1.0)
    failed.failed(here, 1.0)
    assert failed.wait_s(here, 1.0) == 1.0


def test_those_that_failed_the_longest_ago_are_forgotten() -> None:
    failed = FailedCallers(most=3)
    for number in (0, 1, 2, 0, 3):
        failed.failed(FailedCaller(f"ipv4:10.0.0.{number}", ""), 0.0)
        assert len(failed) <= 3
    for _ in range(MOST_FAILURES - 2):
        failed.failed(FailedCaller("ipv4:10.0.0.0", ""), 0.0)
    assert failed.wait_s(FailedCaller("ipv4:10.0.0.0", ""), 0.0)


def test_what_is_left_out_is_counted() -> None:
    some = SomeOf(2, 0.0)
    assert [some.through(now) for now in (0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)] == [0, 0, None, None, 2, 0, None]


@pytest.mark.parametrize(
    ("peer", "host"), [("ipv4:127.0.0.1:5000", "ipv4:127.0.0.1"), ("ipv6:%5B::1%5D:5000", "ipv6:%5B::1%5D"), ("gone", "gone"), ("", "")]
)
def test_a_host_is_a_peer_without_its_port(peer: str, host: str) -> None:
    assert host_of(peer) == host
