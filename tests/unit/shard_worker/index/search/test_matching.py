from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.filter import Filter, HasId, In, Not, Range
from shoal.core.filter_truth import matches
from shoal.core.metric import Metric
from shoal.shard_worker.index.search.ask import SearchContext, ViewOutdated
from shoal.shard_worker.index.search.matching import Sought, matching
from shoal.shard_worker.index.view import SegmentView
from tests.unit.shard_worker.index.filter_world import SEQ, Piece, World, world

ROWS = 60
LABEL_3 = In(("label",), (3,))


def _world(*, dead: tuple[int, ...] = (), every: int = 0) -> World:
    """Build one part. Rows whose position is a multiple of `every` are unsure."""
    rng = np.random.default_rng(1)
    payloads = [None if at % 7 == 0 else {"label": at % 5, "n": at} for at in range(ROWS)]
    piece = Piece(
        ids=[at if at % 2 else f"id {at}" for at in range(ROWS)],
        vectors=rng.random((ROWS, 4)),
        payloads=payloads,
        dead=dead,
        unsure=lambda at: every > 0 and at % every == 0,
    )
    return world(Metric.L2, [piece], rng.random((4, 4)))


def _positions(part: SegmentView, filter: Filter, context: SearchContext, seq: int = SEQ) -> list[int]:
    hot, _ = matching(part, Sought.of(filter), seq, context)
    return hot.among(part, seq).positions.tolist()


def _expected(part: SegmentView, filter: Filter) -> list[int]:
    payloads = part.payloads.payloads
    return [at for at in range(len(part)) if part.deaths[at] > SEQ and matches(filter, payloads[at], part.ids[at])]


@settings(max_examples=60, deadline=None)
@given(
    dead=st.sets(st.integers(0, ROWS - 1)),
    every=st.integers(0, 4),
    filter=st.sampled_from(
        [LABEL_3, Not(LABEL_3), Range(("n",), gt=10, lte=40), HasId((3, "id 4", "absent")), In(("absent",), (1,)), Not(HasId((1,)))]
    ),
)
def test_what_matches_is_what_the_definition_says_of_rows_that_live(dead: set[int], every: int, filter: Filter) -> None:
    made = _world(dead=tuple(dead), every=every)
    part, context = made.view.parts[0], made.context()
    for _ in range(2):
        assert _positions(part, filter, context) == _expected(part, filter)


def test_the_same_filter_is_evaluated_once() -> None:
    made = _world(every=3)
    part, context = made.view.parts[0], made.context()
    first, known = matching(part, Sought.of(LABEL_3), SEQ, context)
    again, known_again = matching(part, Sought.of(In(("label",), (3,))), SEQ, context)
    assert (known, known_again) == (False, True)
    assert again is first
    assert part.payloads.asked == 1


def test_filters_that_python_takes_for_equal_are_not_confused() -> None:
    made = _world()
    part, context = made.view.parts[0], made.context()
    assert _positions(part, In(("label",), (1,)), context) != []
    assert _positions(part, In(("label",), (True,)), context) == []


def test_rows_that_die_later_are_dropped_from_what_is_known() -> None:
    made = _world(every=3)
    part, context = made.view.parts[0], made.context()
    before = _positions(part, LABEL_3, context)
    gone = before[1]
    part.deaths[gone] = SEQ + 1
    later = replace(part, dead=1)
    assert _positions(later, LABEL_3, context, SEQ + 1) == [at for at in before if at != gone]
    assert _positions(part, LABEL_3, context) == before
    assert part.payloads.asked == 1


def test_a_payload_that_was_replaced_outdates_the_view() -> None:
    made = _world(every=3)
    part, context = made.view.parts[0], made.context()
    made.gone.add(int(part.rows[9]))
    with pytest.raises(ViewOutdated, match="newer view") as raised:
        matching(part, Sought.of(LABEL_3), SEQ, context)
    assert raised.value.retryable
    assert len(context.hot) == 0
    # This index is sure of every row, so no payload is read.
    assert _positions(replace(part, payloads=_world().view.parts[0].payloads), LABEL_3, context) != []


def test_rows_that_are_dead_in_the_view_are_not_read() -> None:
    made = _world(dead=(9,), every=3)
    part = made.view.parts[0]
    made.gone.add(int(part.rows[9]))
    assert _positions(part, LABEL_3, made.context()) == _expected(part, LABEL_3)


def test_an_older_view_reads_what_a_newer_one_could_not() -> None:
    made = _world(dead=(18,), every=3)
    newer, context = made.view.parts[0], made.context()
    assert newer.payloads.payloads[18] == {"label": 3, "n": 18}
    assert 18 not in _positions(newer, LABEL_3, context)
    older = replace(newer, dead=0)
    assert 18 in _positions(older, LABEL_3, context, SEQ - 2)


def test_payloads_are_read_in_bounded_chunks() -> None:
    rng = np.random.default_rng(1)
    rows = 2_500
    piece = Piece(
        ids=range(rows), vectors=rng.random((rows, 2)), payloads=[{"label": at % 5} for at in range(rows)], unsure=lambda at: at % 10 != 0
    )
    made = world(Metric.L2, [piece], rng.random((2, 2)))
    sizes: list[int] = []

    def read(rows: np.ndarray) -> list[bytes | None] | None:
        sizes.append(len(rows))
        return made.read_payloads(rows)

    part = made.view.parts[0]
    assert _positions(part, LABEL_3, replace(made.context(), read_payloads=read)) == _expected(part, LABEL_3)
    assert sum(sizes) == rows * 9 // 10
    assert sizes[0] <= 64
    assert all(later <= 4 * size for size, later in itertools.pairwise(sizes))


def test_the_estimate_is_made_before_payloads_are_read() -> None:
    made = _world(every=2)
    hot, _ = matching(made.view.parts[0], Sought.of(LABEL_3), SEQ, made.context())
    assert hot.estimate == pytest.approx((6 + 30 / 2) / ROWS)
