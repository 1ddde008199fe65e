from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import In
from shoal.core.filter_truth import matches
from shoal.core.hit_groups import group_path, group_value, groups_of
from shoal.core.limits import DEFAULT_LIMITS, Limits


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ({"a": {"b": "x"}}, '"x"'),
        ({"a": {"b": "扩容"}}, '"扩容"'),
        ({"a": {"b": "\ud800"}}, '"\\ud800"'),
        ({"a": {"b": 3}}, "3"),
        ({"a": {"b": 3.0}}, "3"),
        ({"a": {"b": 2.5}}, "2.5"),
        ({"a": {"b": True}}, "true"),
        ({"a": {"b": [None, {}, "y", "z"]}}, '"y"'),
        ({"a": [{"c": 1}, {"b": 7}, {"b": 8}]}, "7"),
        ({"a": {"b": None}}, None),
        ({"a": {"b": {"c": 1}}}, None),
        ({"a": {"b": []}}, None),
        ({"a": "b"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_value_of_a_payload(payload: Any, value: str | None) -> None:
    assert group_value(payload, ("a", "b")) == value


scalars = st.one_of(st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.integers(-3, 3).map(float), st.text(max_size=2))


@given(scalars, scalars)
def test_values_are_in_one_group_if_they_are_equal_in_filters(one: Any, other: Any) -> None:
    same = group_value({"a": one}, ("a",)) == group_value({"a": other}, ("a",))
    assert same == matches(In(("a",), (one,)), {"a": other}, 1)
    assert json.loads(group_value({"a": one}, ("a",)) or "") == one


@given(st.lists(st.none() | st.sampled_from("abc"), max_size=12), st.integers(1, 4))
def test_groups_come_in_the_order_of_their_best_hits(values: list[str | None], size: int) -> None:
    groups = groups_of(values, size)
    assert [group.value for group in groups] == list(dict.fromkeys(value for value in values if value is not None))
    for group in groups:
        assert group.places == [at for at, value in enumerate(values) if value == group.value][:size]


def test_a_path_is_that_of_a_filter() -> None:
    assert group_path(r"a.b\.c", DEFAULT_LIMITS) == ("a", "b.c")


@pytest.mark.parametrize(
    ("text", "limits"), [("", DEFAULT_LIMITS), ("a..b", DEFAULT_LIMITS), (r"a\q", DEFAULT_LIMITS), ("a.b", Limits(filter_path_keys=1))]
)
def test_another_text_is_refused(text: str, limits: Limits) -> None:
    with pytest.raises(InvalidArgument, match="group_by") as caught:
        group_path(text, limits)
    assert caught.value.details.field == "group_by"
