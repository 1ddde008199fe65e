"""When a segment is measured: at first, when real queries come, when they have grown or changed; and not all the time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shard_worker.logic.tuning_plan import ENOUGH_QUERIES, REST_RATIO, Measurable, Standing, due

CAPACITY = 1_000


def standing(*, real: bool, held: int, taken: int, at_s: float = 0.0, took_s: float = 1.0) -> Standing:
    return Standing(real=real, held=held, taken=taken, at_s=at_s, took_s=took_s)


def is_due(last: Standing | None, *, held: int, taken: int, now_s: float = 1e6) -> bool:
    return due([Measurable(name="a", rows=1, standing=last)], held=held, capacity=CAPACITY, taken=taken, now_s=now_s) == ("a",)


@pytest.mark.parametrize(
    ("last", "held", "taken", "expected"),
    [
        (None, 0, 0, True),
        (standing(real=False, held=0, taken=0), ENOUGH_QUERIES - 1, 63, False),
        (standing(real=False, held=0, taken=0), ENOUGH_QUERIES, 64, True),
        (standing(real=True, held=64, taken=64), 255, 255, False),
        (standing(real=True, held=64, taken=64), 256, 256, True),
        (standing(real=True, held=CAPACITY, taken=1_000), CAPACITY, 1_499, False),
        (standing(real=True, held=CAPACITY, taken=1_000), CAPACITY, 1_500, True),
    ],
)
def test_due(last, held, taken, expected):
    assert is_due(last, held=held, taken=taken) is expected


def test_changed_queries_wait_until_the_segment_has_rested():
    last = standing(real=True, held=CAPACITY, taken=0, at_s=100.0, took_s=3.0)
    assert not is_due(last, held=CAPACITY, taken=10_000, now_s=100.0 + 3.0 * REST_RATIO - 1)
    assert is_due(last, held=CAPACITY, taken=10_000, now_s=100.0 + 3.0 * REST_RATIO)


def test_never_measured_ones_first_then_the_largest():
    old = standing(real=False, held=0, taken=0)
    segments = [
        Measurable(name="small", rows=10, standing=old),
        Measurable(name="large", rows=99, standing=old),
        Measurable(name="new", rows=1, standing=None),
        Measurable(name="newer", rows=2, standing=None),
    ]
    assert due(segments, held=64, capacity=CAPACITY, taken=64, now_s=0.0) == ("newer", "new", "large", "small")


def test_a_sample_that_holds_fewer_than_enough_is_enough_when_full():
    segment = [Measurable(name="a", rows=1, standing=standing(real=False, held=0, taken=0))]
    assert due(segment, held=10, capacity=10, taken=10, now_s=0.0) == ("a",)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=200))
def test_a_segment_is_measured_a_bounded_number_of_times_however_queries_come(arrivals):
    """Queries arrive in steps of one second, a measurement takes a second: at most a few for growth, then one in a hundred seconds."""
    last: Standing | None = None
    measured = taken = 0
    for now, count in enumerate(arrivals):
        taken += count
        held = min(taken, CAPACITY)
        if due([Measurable(name="a", rows=1, standing=last)], held=held, capacity=CAPACITY, taken=taken, now_s=float(now)):
            measured += 1
            last = standing(real=held >= ENOUGH_QUERIES, held=held, taken=taken, at_s=float(now))
    assert measured <= 5 + len(arrivals) / REST_RATIO
