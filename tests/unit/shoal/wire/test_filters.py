from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from shoal.core.errors import InvalidArgument
from shoal.core.filter import And, Filter, In, Not, filter_key
from shoal.core.point_change import PointUpdate, SetPayload
from shoal.core.points import id_array
from shoal.v1 import filter_pb2, worker_pb2
from shoal.wire.filters import filter_from_message, filter_to_message, has_long_filters, optional_filter_to_message
from shoal.wire.records import update_body
from tests.support.examples.filters import filters


@settings(deadline=None, max_examples=100)
@given(filters())
def test_a_filter_comes_back(filter: Filter) -> None:
    message = filter_pb2.Filter.FromString(filter_to_message(filter).SerializeToString())
    assert filter_key(filter_from_message(message)) == filter_key(filter)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**1_000, -(10**1_000), 0.1, 1e308, -0.0, 3, 3.0, True, None])
def test_values_keep_their_kind_and_every_digit(value: Any) -> None:
    message = filter_pb2.Filter.FromString(filter_to_message(In(("a",), (value,))).SerializeToString())
    got = filter_from_message(message)
    assert filter_key(got) == filter_key(In(("a",), (value,)))


def test_no_filter_is_no_message_and_an_empty_message_matches_every_point() -> None:
    assert optional_filter_to_message(None) is None
    assert filter_from_message(filter_pb2.Filter()) == And(())


def test_a_field_that_shall_not_be_there_is_the_opposite_of_one_that_shall() -> None:
    got = filter_from_message(filter_pb2.Filter(field={"path": ["a"], "exists": False}))
    assert filter_key(got) == "Not(term=Exists(path=('a',)))"


def deep(levels: int) -> filter_pb2.Filter:
    """Return a message with this number of levels."""
    message = filter_pb2.Filter(field={"path": ["a"], "exists": True})
    for _ in range(levels - 1):
        above = filter_pb2.Filter()
        getattr(above, "not").CopyFrom(message)
        message = above
    return message


def test_a_message_too_deep_is_refused_before_the_stack_is() -> None:
    filter_from_message(deep(64))
    with pytest.raises(InvalidArgument, match="more than 64 levels") as caught:
        filter_from_message(deep(65))
    assert caught.value.details.limit == "filter_depth"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"field": {"exists": True}}, "filter: a field test has no path"),
        ({"all": {"filters": [{}, {"field": {"path": ["a", "b"]}}]}}, r"filter: at all\[1\].a.b: a field test needs one of in, range"),
        ({"field": {"path": ["a"], "range": {}}}, "filter: at a: a range needs one of gt, gte, lt, lte"),
        ({"field": {"path": ["a"], "range": {"gt": {}}}}, "filter: at a.gt: a value is missing"),
        ({"field": {"path": ["a"], "range": {"lte": {"boolean": True}}}}, "filter: at a.lte: a range is bounded by .* not by True"),
        ({"field": {"path": ["a"], "range": {"lt": {"null": True}}}}, "not by None"),
        ({"any": {"filters": [{"field": {"path": ["a"], "contains": {}}}]}}, r"filter: at any\[0\].a: a value is missing"),
        ({"field": {"path": ["a"], "contains": {"big_integer": "1e5"}}}, "big_integer must be 1-4000 decimal digits"),
        ({"field": {"path": ["a"], "contains": {"big_integer": ""}}}, "big_integer must be"),
        ({"field": {"path": ["a"], "contains": {"big_integer": "--1"}}}, "big_integer must be"),
        ({"field": {"path": ["a"], "contains": {"big_integer": "\u0663"}}}, "big_integer must be"),
        ({"field": {"path": ["a"], "contains": {"big_integer": "9" * 4_001}}}, "big_integer must be"),
        ({"ids": {"integers": [1], "strings": ["a"]}}, "string_positions"),
    ],
)
def test_messages_that_say_nothing_or_nonsense_are_refused(message: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        filter_from_message(filter_pb2.Filter(**message))


def test_the_place_of_what_is_below_a_not_is_named() -> None:
    message = filter_pb2.Filter()
    getattr(message, "not").CopyFrom(filter_pb2.Filter(field={"path": ["a"]}))
    with pytest.raises(InvalidArgument, match=r"filter: at not.a: a field test needs"):
        filter_from_message(message)
    assert filter_key(filter_from_message(deep(2))) == filter_key(Not(filter_from_message(deep(1))))


def test_the_filter_of_an_update_is_measured_as_others_are() -> None:
    long, short = In(("a",), tuple(range(10_000))), In(("a",), (1,))
    ids, change = id_array(range(5_000)), SetPayload(b"{}")

    def written(filter: Filter | None) -> worker_pb2.ShardWriteRequest:
        return worker_pb2.ShardWriteRequest(update=update_body(PointUpdate(ids=ids, change=change, filter=filter)))

    assert has_long_filters(written(long))
    assert not has_long_filters(written(short))
    assert not has_long_filters(written(None))
    assert not has_long_filters(worker_pb2.ShardWriteRequest(update=b"\xff" * 10_000)), "it is refused when it is read"
