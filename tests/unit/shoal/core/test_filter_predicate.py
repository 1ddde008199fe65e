from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from shoal.core.filter import Filter, In
from shoal.core.filter_predicate import predicate_of
from shoal.core.filter_truth import matches
from shoal.core.points import PointId
from tests.support.examples.filters import BIG, filters, payloads, point_ids


@settings(deadline=None, max_examples=100)
@given(filters(), payloads, point_ids)
def test_a_predicate_agrees_with_the_truth(filter: Filter, payload: dict[str, Any] | None, point_id: PointId) -> None:
    assert predicate_of(filter)(payload, point_id) is matches(filter, payload, point_id)


def test_equal_numbers_are_found_whatever_their_type_and_others_are_not() -> None:
    holds = predicate_of(In(("a",), (3, float(BIG), 10**30, -0.0)))
    assert all(holds({"a": value}, 1) for value in (3.0, BIG, [10**30], 0))
    assert not any(holds({"a": value}, 1) for value in (True, False, None, "3", BIG + 1, 1e30, float("inf"), [], {}, [[3]]))
