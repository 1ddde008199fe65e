from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Path, Prefix, Range
from shoal.core.filter_truth import matches
from shoal.core.points import PointId
from tests.support.examples.filters import BIG, filters, payloads, point_ids

A = ("a",)


def occurrences_of_all(value: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield each path of a payload with its value. It walks down the payload; the definition of truth looks up one
    path.
    """
    for key, inner in value.items():
        yield (*above, key), inner
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                yield from occurrences_of_all(each, (*above, key))


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def same(one: Any, other: Any) -> bool:
    return kind(one) == kind(other) and kind(one) not in ("list", "dict") and one == other


def twin(filter: Filter, payload: dict[str, Any] | None, point_id: PointId) -> bool:
    """Compute the same truth by listing all that the payload holds."""
    if isinstance(filter, And | Or):
        held = [twin(term, payload, point_id) for term in filter.terms]
        return (False not in held) if isinstance(filter, And) else True in held
    if isinstance(filter, Not):
        return twin(filter.term, payload, point_id) is False
    if isinstance(filter, HasId):
        return any(type(each) is type(point_id) and each == point_id for each in filter.ids)
    found = [value for path, value in occurrences_of_all(payload or {}) if path == filter.path]
    singles = [each for value in found for each in (value if isinstance(value, list) else [value])]
    texts = [each for each in singles if isinstance(each, str)]
    if isinstance(filter, Exists):
        return len(found) > 0
    if isinstance(filter, In):
        return any(same(each, wanted) for each in singles for wanted in filter.values)
    if isinstance(filter, Prefix):
        return any(text[: len(filter.text)] == filter.text for text in texts)
    if isinstance(filter, Contains):
        if isinstance(filter.value, str):
            return any(text.find(filter.value) >= 0 for text in texts)
        return any(same(each, filter.value) for value in found if isinstance(value, list) for each in value)
    return any(in_range(each, filter) for each in singles)


def in_range(value: Any, bounds: Range) -> bool:
    given = [bound for bound in (bounds.gt, bounds.gte, bounds.lt, bounds.lte) if bound is not None]
    if kind(value) not in ("number", "str") or any(kind(bound) != kind(value) for bound in given):
        return False
    above = (bounds.gt is None or not value <= bounds.gt) and (bounds.gte is None or not value < bounds.gte)
    return above and (bounds.lt is None or not value >= bounds.lt) and (bounds.lte is None or not value > bounds.lte)


@settings(deadline=None, max_examples=200)
@given(filters(), payloads, point_ids)
def test_truth_agrees_with_listing_the_whole_payload(filter: Filter, payload: dict[str, Any] | None, point_id: PointId) -> None:
    assert matches(filter, payload, point_id) is twin(filter, payload, point_id)


@pytest.mark.parametrize(
    ("filter", "payload", "expected"),
    [
        (In(A, (3,)), {"a": 3.0}, True),
        (In(A, (1,)), {"a": True}, False),
        (In(A, (True,)), {"a": 1}, False),
        (In(A, (None,)), {"a": None}, True),
        (In(A, (None,)), {}, False),
        (In(A, (None,)), {"a": []}, False),
        (In(A, (None,)), {"a": {}}, False),
        (In(A, (0, False)), {"a": None}, False),
        (In(A, ("3",)), {"a": 3}, False),
        (In(A, (2,)), {"a": [1, 2]}, True),
        (In(A, (2,)), {"a": [1, [2]]}, False),
        (In(A, ()), {"a": 1}, False),
        (In(A, (BIG + 1,)), {"a": float(BIG)}, False),
        (In(A, (BIG,)), {"a": float(BIG)}, True),
        (In(A, (10**30 + 1,)), {"a": 10**30 + 1}, True),
        (In(A, (10**30 + 1,)), {"a": 1e30}, False),
        (Not(In(A, (2,))), {"a": [1, 2]}, False),
        (Not(In(A, (2,))), {}, True),
        (Not(In(A, (2,))), None, True),
        (Not(In(A, (2,))), {"a": "x"}, True),
        (Range(A, gt=1), {"a": True}, False),
        (Range(A, gte=0), {"a": None}, False),
        (Range(A, gte=0), {"a": "1"}, False),
        (Range(A, gt="Z"), {"a": "a"}, True),
        (Range(A, lt="\U00010000"), {"a": "\uffff"}, True),
        (Range(A, gt=float(BIG)), {"a": BIG + 1}, True),
        (Range(A, gt=1, lt=3), {"a": [0, 4]}, False),
        (And((Range(A, gt=1), Range(A, lt=3))), {"a": [0, 4]}, True),
        (Range(A, gte=2, lte=2), {"a": [0, 2.0]}, True),
        (Range(A, lt=10**400), {"a": 1e308}, True),
        (Exists(A), {"a": None}, True),
        (Exists(A), {"a": []}, True),
        (Exists(A), {"b": 1}, False),
        (Exists(A), None, False),
        (Exists(("a", "b")), {"a": [{"c": 1}, {"b": {}}]}, True),
        (Exists(("a", "b")), {"a": [[{"b": 1}]]}, False),
        (Exists(("a", "b")), {"a.b": 1}, False),
        (Exists(("a.b",)), {"a.b": 1}, True),
        (Exists(("a", "0")), {"a": [1]}, False),
        (Contains(A, "b"), {"a": "abc"}, True),
        (Contains(A, "b"), {"a": ["x", "abc"]}, True),
        (Contains(A, ""), {"a": 3}, False),
        (Contains(A, 3), {"a": 3}, False),
        (Contains(A, 3), {"a": [3.0]}, True),
        (Contains(A, None), {"a": [None]}, True),
        (Contains(A, None), {"a": None}, False),
        (Contains(("a", "b"), 3), {"a": [{"b": 3}, {"b": [3]}]}, True),
        (Prefix(A, "ab"), {"a": "abc"}, True),
        (Prefix(A, "ab"), {"a": ["x", "ab"]}, True),
        (Prefix(A, ""), {"a": 1}, False),
        (HasId((1,)), {}, True),
        (HasId(("1",)), {}, False),
        (And(()), None, True),
        (Or(()), {"a": 1}, False),
    ],
)
def test_the_truth_table(filter: Filter, payload: dict[str, Any] | None, expected: bool) -> None:
    assert matches(filter, payload, 1) is expected
