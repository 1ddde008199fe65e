from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.router.logic.worker_lane import (
    FIRST_PAUSE_S,
    LAST_PAUSE_S,
    OPEN,
    TRIAL_S,
    Lane,
    LaneOnTrial,
    PausedLane,
    after_failure,
    next_call,
)


def test_after_a_failure_one_call_tries_again_and_the_pause_doubles() -> None:
    assert next_call(OPEN, 5.0) == (True, OPEN)
    paused = after_failure(OPEN, 5.0)
    assert paused == PausedLane(failures=1, until_s=5.0 + FIRST_PAUSE_S)
    assert next_call(paused, 5.9) == (False, paused)
    trial = LaneOnTrial(failures=1, until_s=6.0 + TRIAL_S)
    assert next_call(paused, 6.0) == (True, trial)
    assert next_call(trial, 7.9) == (False, trial)
    assert next_call(trial, 8.0) == (True, LaneOnTrial(failures=1, until_s=8.0 + TRIAL_S))
    assert after_failure(trial, 7.0) == PausedLane(failures=2, until_s=7.0 + 2 * FIRST_PAUSE_S)


def test_of_calls_that_fail_together_only_the_first_one_counts() -> None:
    paused = after_failure(OPEN, 5.0)
    assert after_failure(paused, 5.5) is paused


@given(st.lists(st.tuples(st.sampled_from(["call", "failure", "success"]), st.floats(0.0, 100.0)), max_size=60))
def test_whatever_happens_http_is_tried_again_within_the_longest_pause_and_once_at_a_time(events: list[tuple[str, float]]) -> None:
    lane: Lane = OPEN
    now = 0.0
    for what, passed in events:
        now += passed
        if what == "call":
            before = lane
            over_http, lane = next_call(lane, now)
            assert over_http or before == lane
            assert not over_http or lane == OPEN or next_call(lane, now)[0] is False
        else:
            lane = after_failure(lane, now) if what == "failure" else OPEN
        assert next_call(lane, now + LAST_PAUSE_S)[0]
