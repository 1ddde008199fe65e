"""Background measurements wait for a lull, not for ever, and rest while there is none."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.tuning.tuning_lull import MOST_REST_S, PATIENCE_S, QUIET_S, may_begin, rest_s

TIMES = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("searched_s", "due_s", "expected"),
    [
        (-math.inf, 100.0, True),
        (100.0 - QUIET_S, 100.0, True),
        (99.9, 100.0, False),
        (100.0, 100.0, False),
        (100.0, 100.0 - PATIENCE_S, True),
    ],
)
def test_it_begins_in_a_lull_or_when_it_has_waited_long_enough(searched_s, due_s, expected):
    assert may_begin(now_s=100.0, searched_s=searched_s, due_s=due_s) == expected


@given(TIMES, TIMES)
def test_whatever_the_searches_do_it_begins_in_the_end(searched_s, due_s):
    assert may_begin(now_s=due_s + PATIENCE_S * 1.001, searched_s=searched_s, due_s=due_s)


@given(TIMES, TIMES, st.floats(0, 10))
def test_it_rests_beside_searches_only_and_never_longer_than_it_worked(now_s, searched_s, slice_s):
    rest = rest_s(now_s=now_s, searched_s=searched_s, slice_s=slice_s)
    assert 0 <= rest <= min(slice_s, MOST_REST_S)
    assert (rest > 0) == (now_s - searched_s < QUIET_S and slice_s > 0)
