from __future__ import annotations

import pytest

from shoal.core.deadline import Deadline
from shoal.core.errors import DeadlineExceeded


class Hand:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_time_that_is_left_falls_to_zero_and_no_further() -> None:
    clock = Hand()
    deadline = Deadline.after(2.0, clock)
    assert (deadline.left_s, deadline.passed, deadline.left_or_raise("late")) == (2.0, False, 2.0)
    clock.now = 12.0
    assert (deadline.left_s, deadline.passed) == (0.0, True)
    clock.now = 15.0
    assert deadline.left_s == 0.0
    with pytest.raises(DeadlineExceeded, match=r"^late$"):
        deadline.left_or_raise("late")


def test_a_share_is_a_part_of_what_is_left() -> None:
    clock = Hand()
    deadline = Deadline.after(6.0, clock)
    assert deadline.share(3).ends_at == 12.0
    clock.now = 20.0
    assert deadline.share(2).passed


@pytest.mark.parametrize(("timeout_s", "ends_at"), [(1.0, 11.0), (5.0, 12.0), (2.0, 12.0)])
def test_the_sooner_of_two_deadlines(timeout_s: float, ends_at: float) -> None:
    assert Deadline(Hand(), 12.0).sooner(timeout_s).ends_at == ends_at
