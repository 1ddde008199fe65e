"""Test when a segment is measured: at first, when real queries come, when there are many more of them or they have
changed, but not all the time. Background measurements wait for a lull, but not for ever, and they pause while searches
go on.
"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.logic.tuning.plan import (
    ENOUGH_QUERIES,
    MOST_REST_S,
    PATIENCE_S,
    QUIET_S,
    REST_RATIO,
    Asked,
    Due,
    Measurable,
    Standing,
    due,
    due_later_s,
    may_begin,
    rest_s,
)

CAPACITY = 1_000


def standing(*, real: bool, held: int, taken: int, at_s: float = 0.0, took_s: float = 1.0) -> Standing:
    return Standing(real=real, held=held, taken=taken, at_s=at_s, took_s=took_s)


def is_due(last: Standing | None, *, held: int, taken: int, now_s: float = 1e6) -> bool:
    segment = Measurable(name="a", rows=1, standing=last)
    return [each.name for each in due([segment], Asked(held=held, capacity=CAPACITY, taken=taken), now_s=now_s)] == ["a"]


@pytest.mark.parametrize(
    ("last", "held", "taken", "expected"),
    [
        (None, 0, 0, True),
        (standing(real=False, held=0, taken=0), ENOUGH_QUERIES - 1, 63, False),
        (standing(real=False, held=0, taken=0), ENOUGH_QUERIES, 64, True),
        (standing(real=True, held=64, taken=64), 255, 255, False),
        (standing(real=True, held=64, taken=64), 256, 256, True),
        (standing(real=True, held=128, taken=128), 255, 255, False),
        (standing(real=True, held=128, taken=128), 256, 256, True),
        (standing(real=True, held=129, taken=129), 999, 999, False),
        (standing(real=True, held=CAPACITY, taken=1_000), CAPACITY, 1_499, False),
        (standing(real=True, held=CAPACITY, taken=1_000), CAPACITY, 1_500, True),
    ],
)
def test_due(last, held, taken, expected):
    """A measurement uses at most 256 queries: more of the same tell no more."""
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
    found = due(segments, Asked(held=64, capacity=CAPACITY, taken=64), now_s=0.0)
    assert found == tuple(Due(name=name, urgent=True) for name in ("newer", "new", "large", "small"))


def test_what_is_searched_at_length_until_it_is_measured_comes_first_and_is_urgent():
    known = standing(real=True, held=64, taken=64)
    segments = [
        Measurable(name="grown", rows=99, standing=known),
        Measurable(name="stood in", rows=5, standing=standing(real=False, held=0, taken=0)),
        Measurable(name="doubted", rows=6, standing=known, doubted=True),
        Measurable(name="known", rows=9, standing=standing(real=True, held=256, taken=256)),
    ]
    few = Asked(held=256, capacity=CAPACITY, taken=256, newest=ENOUGH_QUERIES - 1)
    assert due(segments, few, now_s=0.0) == (Due(name="stood in", urgent=True), Due(name="grown", urgent=False))
    enough = Asked(held=256, capacity=CAPACITY, taken=256, newest=ENOUGH_QUERIES)
    assert [each.name for each in due(segments, enough, now_s=0.0) if each.urgent] == ["doubted", "stood in"]


def test_without_enough_queries_a_new_segment_is_due_but_nothing_is_urgent():
    new = [Measurable(name="a", rows=1, standing=None)]
    assert due(new, Asked(held=63, capacity=CAPACITY, taken=63), now_s=0.0) == (Due(name="a", urgent=False),)


def test_a_measurement_in_haste_is_made_again_and_a_kind_that_has_grown_is_measured_again():
    brief = Standing(real=True, held=100, taken=100, at_s=0.0, took_s=1.0, brief=True)
    asked = Asked(held=100, capacity=CAPACITY, taken=100)
    assert due([Measurable(name="a", rows=1, standing=brief)], asked, now_s=0.0) == (Due(name="a", urgent=False),)
    kinds = [Standing(real=True, held=100, taken=100, at_s=0.0, took_s=1.0, kinds=known) for known in (0, 64, 128)]
    for known, grown in zip(kinds, (64, 128, 256), strict=True):
        for held, expected in ((grown - 1, ()), (grown, (Due(name="a", urgent=False),))):
            asked = Asked(held=100, capacity=CAPACITY, taken=100, newest=held, kinds=held)
            assert due([Measurable(name="a", rows=1, standing=known)], asked, now_s=0.0) == expected


def test_a_sample_that_holds_fewer_than_enough_is_enough_when_full():
    segment = [Measurable(name="a", rows=1, standing=standing(real=False, held=0, taken=0))]
    assert due(segment, Asked(held=10, capacity=10, taken=10), now_s=0.0) == (Due(name="a", urgent=True),)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=200))
def test_a_segment_is_measured_a_bounded_number_of_times_however_queries_come(arrivals):
    """Queries arrive second by second, and a measurement takes one second. A growing sample causes a few measurements.
    After that, at most one second in a hundred is spent on them.
    """
    last: Standing | None = None
    measured = taken = 0
    for now, count in enumerate(arrivals):
        taken += count
        held = min(taken, CAPACITY)
        if is_due(last, held=held, taken=taken, now_s=float(now)):
            measured += 1
            last = standing(real=held >= ENOUGH_QUERIES, held=held, taken=taken, at_s=float(now))
    assert measured <= 5 + len(arrivals) / REST_RATIO


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


def test_a_measurement_on_rows_is_made_again_on_real_queries_even_if_it_is_doubted():
    segment = [Measurable(name="a", rows=1, standing=standing(real=False, held=0, taken=0), doubted=True)]
    assert due(segment, Asked(held=63, capacity=CAPACITY, taken=63), now_s=0.0) == ()
    assert due(segment, Asked(held=64, capacity=CAPACITY, taken=64), now_s=0.0) == (Due(name="a", urgent=True),)


@given(st.integers(0, 4_000), st.floats(0, 1e3), st.just(0.0) | st.floats(1e-3, 1e3), st.booleans())
def test_what_is_due_later_is_due_then_and_not_before(taken, at_s, took_s, doubted):
    """Nothing else becomes due by time alone. No measurement takes less than a millisecond, or none is made."""
    last = standing(real=True, held=CAPACITY, taken=0, at_s=at_s, took_s=took_s)
    segments = [Measurable(name="a", rows=1, standing=last, doubted=doubted)]
    asked = Asked(held=CAPACITY, capacity=CAPACITY, taken=taken)
    later_s = due_later_s(segments, asked, now_s=at_s)
    if later_s < math.inf:
        assert not due(segments, asked, now_s=at_s + later_s * 0.99 - 1e-6)
        assert due(segments, asked, now_s=at_s + later_s * 1.01 + 1e-6)
    else:
        assert bool(due(segments, asked, now_s=at_s)) == bool(due(segments, asked, now_s=1e9))
