from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.deploy.logic.supervision import (
    HOMELESS_PAUSE_S,
    LONGEST_PAUSE_S,
    STEADY_S,
    Create,
    Kill,
    Leave,
    MemberState,
    Resting,
    Running,
    StartPatience,
    after_answer,
    after_creation,
    after_detachment,
    after_end,
    next_step,
    pause_s,
    while_homeless,
)

PATIENCE = StartPatience(start_s=100.0, silence_s=10.0)


@pytest.mark.parametrize(
    ("state", "now_s", "step"),
    [
        (Resting(due_s=5.0), 4.9, Leave()),
        (Resting(due_s=5.0), 5.0, Create()),
        (Running(created_s=0.0), 100.0, Leave()),
        (Running(created_s=0.0), 101.0, Kill("no sign of life for 101 s")),
        (Running(created_s=0.0, answered_s=50.0), 60.0, Leave()),
        (Running(created_s=0.0, answered_s=50.0), 61.0, Kill("no sign of life for 11 s")),
    ],
)
def test_what_is_due(state: MemberState, now_s: float, step: object) -> None:
    assert next_step(state, now_s, PATIENCE) == step


def test_the_first_end_is_answered_at_once_and_later_ones_after_growing_pauses() -> None:
    state: MemberState = Running(created_s=0.0)
    pauses = []
    for _ in range(8):
        ended = after_end(state, 1.0)
        pauses.append(ended.due_s - 1.0)
        state = after_creation(ended, 1.0)
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_long_run_makes_up_for_earlier_ends() -> None:
    state = Running(created_s=0.0, failures=7)
    assert after_end(state, STEADY_S - 1).failures == 8
    assert after_end(state, STEADY_S) == Resting(due_s=STEADY_S, failures=1)


def test_news_of_a_process_that_has_ended_already_changes_nothing() -> None:
    resting = Resting(due_s=3.0, failures=2)
    assert after_answer(resting, 1.0) == resting
    assert after_end(resting, 1.0) == resting


def test_what_we_lost_touch_with_is_due_at_once_and_keeps_its_failures() -> None:
    assert after_detachment(Running(created_s=0.0, answered_s=3.0, failures=2), 5.0) == Resting(due_s=5.0, failures=2)
    assert after_detachment(Resting(due_s=9.0, failures=2), 5.0) == Resting(due_s=9.0, failures=2)


@pytest.mark.parametrize("state", [Running(created_s=0.0, failures=2), Resting(due_s=9.0, failures=2)])
def test_to_have_no_node_is_no_failure(state: MemberState) -> None:
    assert while_homeless(state, 5.0) == Resting(due_s=5.0 + HOMELESS_PAUSE_S, failures=2)


@given(st.integers(min_value=0, max_value=10**9))
def test_pauses_are_bounded(failures: int) -> None:
    assert 0.0 <= pause_s(failures) <= pause_s(failures + 1) <= LONGEST_PAUSE_S


@given(st.lists(st.sampled_from(["wait", "answer", "end"]), max_size=40), st.floats(min_value=0.1, max_value=50.0))
def test_a_process_is_created_only_where_none_is_and_never_left_away_for_long(events: list[str], pace_s: float) -> None:
    state: MemberState = Resting(due_s=0.0)
    now_s, running = 0.0, False
    for event in events:
        match next_step(state, now_s, PATIENCE):
            case Create():
                assert not running
                state, running = after_creation(state, now_s), True
            case Kill():
                state, running = after_end(state, now_s), False
            case Leave():
                pass
        if event == "end":
            state, running = after_end(state, now_s), False
        elif event == "answer" and running:
            state = after_answer(state, now_s)
        now_s += pace_s
        if isinstance(state, Resting):
            assert state.due_s - now_s <= LONGEST_PAUSE_S
