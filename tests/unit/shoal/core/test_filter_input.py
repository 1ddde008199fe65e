from __future__ import annotations

import datetime
import enum
import itertools
import uuid
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Prefix, Range, filter_key
from shoal.core.filter_check import check_filter
from shoal.core.filter_input import filter_from_input, filter_to_input
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.points import PointId
from tests.support.examples.filters import filters, payloads, point_ids

A, B = ("a",), ("b",)


words = st.sampled_from(
    ["a", "a.b", "$and", "$or", "$not", "$id", "$eq", "$gt", "$lt", "$in", "$nin", "$exists", "$prefix", "$contains", "$x", "\\"]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.none().map(lambda _: 10**5_000),
    st.floats(),
    st.text(max_size=2),
    st.binary(max_size=1),
    words,
)
junk = st.recursive(
    leaves | st.sets(leaves, max_size=3) | st.just(np.arange(2)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    TWO = 2


def read(value: Any, limits: Limits = DEFAULT_LIMITS) -> Filter:
    return filter_from_input(value, limits)


@settings(deadline=None)
@given(filters(most_bounds=1, least_or=1))
def test_what_is_shown_reads_back_as_the_same_filter(filter: Filter) -> None:
    assert filter_key(read(filter_to_input(filter))) == filter_key(filter)


@settings(deadline=None)
@given(filters(most_bounds=1), payloads, point_ids)
def test_what_is_shown_means_the_same(filter: Filter, payload: dict[str, Any] | None, point_id: PointId) -> None:
    assert matches(read(filter_to_input(filter)), payload, point_id) is matches(filter, payload, point_id)


def test_a_range_of_several_bounds_is_shown_with_them() -> None:
    assert filter_to_input(Range(A, gte=1, lt=3)) == {"a": {"$gte": 1, "$lt": 3}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, And(())),
        ({"a": 3}, In(A, (3,))),
        ({"a": None}, In(A, (None,))),
        ({"a": {"$eq": "x"}}, In(A, ("x",))),
        ({"a": {"$ne": 3}}, Not(In(A, (3,)))),
        ({"a": {"$gte": 1, "$lt": 5}}, And((Range(A, gte=1), Range(A, lt=5)))),
        ({"a": {"$gt": "x"}}, Range(A, gt="x")),
        ({"a": {"$lte": 2.5}}, Range(A, lte=2.5)),
        ({"a": {"$in": (1, "x", None)}}, In(A, (1, "x", None))),
        ({"a": {"$in": []}}, In(A, ())),
        ({"a": {"$nin": [1]}}, Not(In(A, (1,)))),
        ({"a": {"$exists": True}}, Exists(A)),
        ({"a": {"$exists": False}}, Not(Exists(A))),
        ({"a": {"$contains": 3}}, Contains(A, 3)),
        ({"a": {"$prefix": "x"}}, Prefix(A, "x")),
        ({"a": {"$not": {"$gt": 3}}}, Not(Range(A, gt=3))),
        ({"a": {"$not": {"$gt": 3, "$lt": 5}}}, Not(And((Range(A, gt=3), Range(A, lt=5))))),
        ({"a": 1, "b": 2}, And((In(A, (1,)), In(B, (2,))))),
        ({"$and": [{"a": 1}]}, And((In(A, (1,)),))),
        ({"$or": ({"a": 1}, {})}, Or((In(A, (1,)), And(())))),
        ({"$not": {"a": 1}}, Not(In(A, (1,)))),
        ({"$or": [{"a": 1}], "b": 2}, And((Or((In(A, (1,)),)), In(B, (2,))))),
        ({"a.b": 1}, In(("a", "b"), (1,))),
        ({r"a\.b.c": 1}, In(("a.b", "c"), (1,))),
        ({r"\$a.$b": 1}, In(("$a", "$b"), (1,))),
        ({"a\\\\.b": 1}, In(("a\\", "b"), (1,))),
        ({"$id": 5}, HasId((5,))),
        ({"$id": [1, "1"]}, HasId((1, "1"))),
        ({"$id": {"$in": np.array([1, 2])}}, HasId((1, 2))),
        ({"$id": {"$nin": ["x"], "$ne": 3}}, And((Not(HasId(("x",))), Not(HasId((3,)))))),
    ],
)
def test_what_people_write(value: Any, expected: Filter) -> None:
    assert filter_key(read(value)) == filter_key(expected)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(3), 3),
        (Colour.RED, "red"),
        (Number.TWO, 2),
    ],
)
def test_values_of_numpy_and_enumerations_count_as_their_python_values(given: Any, plain: Any) -> None:
    assert filter_key(read({"a": given})) == filter_key(In(A, (plain,)))
    assert filter_key(read({"a": {"$in": [given]}})) == filter_key(In(A, (plain,)))


UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("value", [np.timedelta64(5), np.timedelta64("NaT"), np.datetime64("NaT")])
def test_durations_of_numpy_and_what_is_no_time_are_refused_in_every_unit_and_place(value: Any, unit: str) -> None:
    """For some units, `item()` returns a value of Python, for others an int. An int would silently match nothing or the
    wrong points.
    """
    value = value.astype(f"{value.dtype.char}8[{unit}]")
    listed = np.array([value])
    places: list[dict[str, Any]] = [
        {"a": value},
        {"a": {"$ne": value}},
        {"a": {"$gte": value}},
        {"a": {"$lt": 3, "$gt": value}},
        {"a": {"$contains": value}},
    ]
    places += [{"a": {"$in": [1, value]}}, {"a": {"$in": listed}}, {"a": {"$nin": listed}}, {"a": np.array(value)}]
    places += [{"$id": value}, {"$id": [1, value]}, {"$id": listed}, {"$id": {"$in": listed}}, {"$not": {"$or": [{"a": value}]}}]
    for each in places:
        with pytest.raises(InvalidArgument, match=r"(datetime|timedelta)64") as caught:
            read(each)
        assert caught.value.details.field == "filter"


def test_what_to_give_instead_of_a_date_is_said() -> None:
    for value in (np.timedelta64(5, "ns"), datetime.time(12), datetime.timedelta(1), np.datetime64(2**40, "D")):
        with pytest.raises(InvalidArgument, match="give it as it is stored, as a text or a number"):
            read({"a": value})


@pytest.mark.parametrize("unit", UNITS)
def test_dates_of_numpy_count_as_the_texts_that_are_stored_of_them(unit: str) -> None:
    value = np.datetime64(0, unit)
    text = "1970-01-01" if unit in "YMWD" else "1970-01-01T00:00:00.000000Z"
    assert read({"a": {"$gte": value, "$lt": "x"}}) == And((Range(A, gte=text), Range(A, lt="x")))
    listed = np.array([value, value])
    for each in ([value], listed[:1], iter(listed[:1]), {value}):
        assert read({"a": {"$in": each}}) == In(A, (text,))
    assert read({"a": np.array(value)}) == In(A, (text,))
    with pytest.raises(InvalidArgument, match="not datetime64"):
        read({"$id": value})


def test_dates_and_uuids_count_as_the_texts_that_are_stored_of_them() -> None:
    moment, day, one = datetime.datetime(2024, 2, 29, 12, 30), datetime.date(2024, 3, 1), uuid.UUID(int=1)
    at, on = "2024-02-29T12:30:00.000000Z", "2024-03-01"
    assert read({"a": {"$gt": moment, "$lt": day}}) == And((Range(A, gt=at), Range(A, lt=on)))
    assert read({"a": {"$in": [moment, day, one]}}) == In(A, (at, on, str(one)))
    assert read({"a": {"$ne": one}}) == Not(In(A, (str(one),)))
    assert read({"$id": one}) == HasId((str(one),))
    assert read({"$id": {"$in": iter([one, 3])}}) == HasId((str(one), 3))
    with pytest.raises(InvalidArgument, match="not datetime"):
        read({"$id": moment})
    with pytest.raises(InvalidArgument, match="bounded by numbers or by texts, not by both"):
        read({"a": {"$gt": moment, "$lt": 3}})


@pytest.mark.parametrize("given", [range(1, 4), iter([1, 2, 3]), (n for n in (1, 2, 3)), {1: 0, 2: 0, 3: 0}.keys(), deque([1, 2, 3])])
def test_in_takes_any_iterable(given: Any) -> None:
    assert read({"a": {"$in": given}}) == In(A, (1, 2, 3))


def test_in_reads_no_more_of_an_endless_iterable_than_it_may_list() -> None:
    for key in ("a", "$id"):
        with pytest.raises(InvalidArgument, match="lists more than"):
            read({key: {"$in": itertools.count()}})
    for bad in ({1: 2}, b"ab", np.array(3), np.ones((2, 2))):
        with pytest.raises(InvalidArgument, match=r"list|one value"):
            read({"a": {"$in": bad}})


def test_masked_values_are_refused() -> None:
    masked = np.ma.array([1, 2], mask=[0, 1])
    for each in ({"a": {"$in": masked}}, {"a": masked[1]}, {"a": {"$gt": masked[1]}}, {"$id": masked}):
        with pytest.raises(InvalidArgument, match=r"[Mm]asked"):
            read(each)
    assert read({"a": {"$in": np.ma.array([1, 2])}}) == In(A, (1, 2))


def test_a_set_has_one_order() -> None:
    names = [f"name-{number}" for number in range(50)]
    assert read({"a": {"$in": set(names)}}) == read({"a": {"$in": frozenset(reversed(names))}}) == In(A, tuple(sorted(names)))


@settings(deadline=None, max_examples=150)
@given(junk)
def test_whatever_is_given_is_read_or_refused(value: Any) -> None:
    try:
        found = read(value)
    except InvalidArgument as error:
        assert error.message.startswith("filter: ")  # noqa: PT017
    else:
        check_filter(found, DEFAULT_LIMITS)
        assert filter_key(read(filter_to_input(found))) == filter_key(found)


def nested(levels: int) -> dict[str, Any]:
    """Return a filter with this number of levels."""
    value: dict[str, Any] = {"a": 1}
    for _ in range(levels - 1):
        value = {"$not": value}
    return value


def test_depth_is_refused_without_recursion() -> None:
    within_itself: dict[str, Any] = {}
    within_itself["$or"] = [within_itself]
    for value in (nested(17), nested(100_000), within_itself, {"a": {"$not": {"$not": nested(100_000)}}}):
        with pytest.raises(InvalidArgument, match=r"filter: at .*(16 levels deep|unknown operator|is no operator)") as caught:
            read(value)
        assert caught.value.details.field == "filter"
    assert read(nested(16))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "filter: a filter is a dict such as {'label': 3}, not int"),
        (None, "not NoneType"),
        ({"$or": [{"label": {"$foo": 1}}]}, r"at \$or\[0\].label.\$foo: unknown operator '\$foo', allowed are \$eq, "),
        ({"$gt": 3}, r"at \$gt: unknown operator '\$gt', allowed here are \$and, \$or, \$not, \$id; a key is written '\\\$gt'"),
        ({"$and": []}, r"at \$and: \$and takes at least one filter"),
        ({"$or": []}, r"at \$or: \$or takes at least one filter"),
        ({"$and": {"a": 1}}, r"at \$and: \$and takes a list of filters, not dict"),
        ({"$and": [{"a": 1}, 3]}, r"at \$and\[1\]: a filter is a dict"),
        ({"$not": [{"a": 1}]}, r"at \$not: a filter is a dict"),
        ({"a": [1, 2]}, r"at a: one value is needed, not a list; use \$in"),
        ({"a": np.arange(2)}, r"use \$in"),
        ({"a": {"$in": [[1]]}}, r"at a.\$in: one value is needed"),
        ({"a": {"$in": 3}}, r"at a.\$in: a list of values is needed, not int"),
        ({"a": {"$nin": "abc"}}, r"at a.\$nin: a list of values is needed, not str"),
        ({"a": float("nan")}, "at a: nan is not a value"),
        ({"a": {"$lt": np.float32("inf")}}, r"at a.\$lt: inf is not a value"),
        ({"a": {"$in": [1.0, float("-inf")]}}, r"at a.\$in: -inf is not a value"),
        ({"a": {"$gt": True}}, r"at a.\$gt: a range is bounded by a number or a text, not by True"),
        ({"a": {"$gt": None}}, "not by None"),
        ({"a": {"$gt": [1]}}, "a range is bounded"),
        ({"a": {"$gt": 1, "$lt": "x"}}, "at a: a range is bounded by numbers or by texts, not by both"),
        ({"a": {"$exists": 1}}, r"at a.\$exists: \$exists takes true or false, not int"),
        ({"a": {"$prefix": 1}}, r"at a.\$prefix: \$prefix takes a text"),
        ({"a": {"$not": 3}}, r"at a.\$not: \$not takes operators"),
        ({"a": {}}, "at a: no operator is given"),
        ({"a": {"b": 1}}, "at a: 'b' is no operator; a field inside an object is written 'a.b'"),
        ({"a": {"$eq": {"b": 1}}}, r"at a.\$eq: a value is a string, number, bool or null, not dict"),
        ({"a": b"x"}, "not bytes"),
        ({1: 2}, "a key must be a text"),
        ({"a": {1: 2}}, "unknown operator '1'"),
        ({"": 1}, "empty key"),
        ({"a..b": 1}, r"at a..b: a path must not have an empty key; a dot inside a key is written \\\."),
        ({"a.": 1}, "empty key"),
        ({r"a\b": 1}, r"'\\b' is no escape"),
        ({"a\\": 1}, r"'\\' is no escape"),
        ({"a": "\ud800"}, "at a: a text is not valid Unicode"),
        ({"\ud800": 1}, "a key is not valid Unicode"),
        ({"$id": 1.5}, r"at \$id: ids\[0\] must be an int or a string, not float"),
        ({"$id": [1, True]}, r"at \$id: ids\[1\] must be"),
        ({"$id": {"$in": 3}}, r"at \$id.\$in: \$in takes a list of ids, not int"),
        ({"$id": {"$gt": 3}}, r"at \$id.\$gt: unknown operator '\$gt', allowed are \$eq, \$ne, \$in, \$nin"),
        ({"$id": {}}, "no operator is given"),
        ([10**5_000], "not list"),
        ({"$and": 10**5_000}, "not int"),
        ({"a": {"$gt": {10**5_000}}}, "not by a set with a huge integer"),
        ({"a": {"$gt": [10**5_000]}}, "not by a list with a huge integer"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        read(value)
    assert caught.value.message.startswith("filter: ")
    assert caught.value.details.field == "filter"


@pytest.mark.parametrize(
    ("within", "beyond", "limit"),
    [
        (nested(16), nested(17), "filter_depth"),
        (nested(16), nested(100_000), "filter_depth"),
        ({"$and": [{"a": 1}] * 1_024}, {"$and": [{"a": 1}] * 1_025}, "filter_conditions"),
        ({"$and": [{}] * 1_024}, {"$and": [{}] * 1_025}, "filter_conditions"),
        ({"a": {"$in": list(range(65_536))}}, {"a": {"$in": list(range(65_537))}}, "filter_values"),
        ({"$id": list(range(65_536))}, {"$id": list(range(65_536)), "a": 1}, "filter_values"),
        ({"a": "é" * 32_768}, {"a": "é" * 32_768 + "x"}, "filter_text_bytes"),
        ({"k" * 65_536: 1}, {"k" * 65_537: 1}, "filter_text_bytes"),
        ({".".join("a" * 128): 1}, {".".join("a" * 129): 1}, "filter_path_keys"),
        ({"a": 2**8_192 - 1}, {"a": 2**8_192}, "filter_integer_bits"),
        ({"$id": "x" * 512}, {"$id": "x" * 513}, "id_bytes"),
    ],
)
def test_bounds(within: Any, beyond: Any, limit: str) -> None:
    read(within)
    with pytest.raises(InvalidArgument, match=r"^filter: ") as caught:
        read(beyond)
    assert caught.value.details.limit == limit


def test_a_condition_that_needs_a_list_counts_the_level_of_its_and() -> None:
    one = {"a": 1, "b": 2}
    for _ in range(14):
        one = {"$not": one}
    read(one)
    with pytest.raises(InvalidArgument, match="more than 16 levels"):
        read({"$not": one})


def test_a_long_key_does_not_hide_the_message() -> None:
    with pytest.raises(InvalidArgument) as caught:
        read({"k" * 10_000: float("nan")})
    assert len(caught.value.message) < 200
