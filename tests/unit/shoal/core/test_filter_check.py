from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings

from shoal.core.errors import InvalidArgument
from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Prefix, Range
from shoal.core.filter_check import check_filter, constant_truth
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS, Limits
from tests.support.examples.filters import filters, payloads, point_ids

A = ("a",)
SMALL = Limits(filter_depth=3, filter_conditions=4, filter_values=5, filter_text_bytes=4, filter_path_keys=2, filter_integer_bits=8)


def depth(filter: Filter) -> int:
    inner: tuple[Filter, ...] = filter.terms if isinstance(filter, And | Or) else (filter.term,) if isinstance(filter, Not) else ()
    return 1 + max(map(depth, inner), default=0)


def conditions(filter: Filter) -> int:
    if isinstance(filter, Not):
        return conditions(filter.term)
    return sum(map(conditions, filter.terms)) if isinstance(filter, And | Or) and filter.terms else 1


def listed(filter: Filter) -> int:
    match filter:
        case Not(term):
            return listed(term)
        case And(terms) | Or(terms):
            return sum(map(listed, terms))
        case In(_, values) | HasId(values):
            return len(values)
        case _:
            return 0


@settings(deadline=None, max_examples=100)
@given(filters())
def test_size_is_bounded_as_a_recursive_count_says(filter: Filter) -> None:
    limits = Limits(filter_depth=3, filter_conditions=4, filter_values=5)
    fits = depth(filter) <= 3 and conditions(filter) <= 4 and listed(filter) <= 5
    with nullcontext() if fits else pytest.raises(InvalidArgument, match=r"levels deep|conditions|values"):
        check_filter(filter, limits)


@settings(deadline=None)
@given(filters())
def test_what_may_be_made_passes(filter: Filter) -> None:
    check_filter(filter, DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("filter", "message", "limit"),
    [
        (In(A, (1, float("nan"))), "nan is not a value", None),
        (Or((Exists(A), In(A, (float("inf"),)))), r"at \$or\[1\]: inf is not a value", None),
        (Not(Contains(A, float("-inf"))), r"at \$not: -inf is not a value", None),
        (Range(A), r"a range needs bounds, all numbers or all texts, not \[\]", None),
        (Range(A, gt=1, lt="x"), r"all numbers or all texts, not \[1, 'x'\]", None),
        (Range(A, gt=True), "not by True", None),
        (Range(A, lt=float("inf")), "inf is not a value", None),
        (In((), (1,)), "a path has 0 keys, 1-2 are allowed", "filter_path_keys"),
        (Exists(("a", "b", "c")), "a path has 3 keys", "filter_path_keys"),
        (Exists(("a", "")), "empty key", None),
        (Exists(("abcde",)), "a key has 5 bytes, at most 4", "filter_text_bytes"),
        (Prefix(A, "ééé"), "a text has 6 bytes, at most 4", "filter_text_bytes"),
        (In(A, ("\udfff",)), "not valid Unicode", None),
        (In(A, (256,)), "an integer has 9 bits, at most 8", "filter_integer_bits"),
        (HasId((1, "x" * 513)), r"ids\[1\] has 513 bytes", "id_bytes"),
        (Not(Not(Not(And(())))), r"at \$not.\$not.\$not: the filter is more than 3 levels deep", "filter_depth"),
    ],
)
def test_what_no_filter_may_hold_is_refused(filter: Any, message: str, limit: str | None) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        check_filter(filter, SMALL)
    assert (caught.value.details.field, caught.value.details.limit) == ("filter", limit)


@settings(deadline=None, max_examples=200)
@given(filters(), payloads, point_ids)
def test_what_is_settled_by_its_form_is_so_for_every_point(filter: Filter, payload: Any, point_id: Any) -> None:
    assert constant_truth(filter) in (None, matches(filter, payload, point_id))


def settled(filter: Filter) -> set[bool]:
    """Return the values that a filter can have when each condition on a point may be true or false, independently of
    the others.
    """
    match filter:
        case Not(term):
            return {not truth for truth in settled(term)}
        case And(terms) | Or(terms):
            found = {isinstance(filter, And)}
            for term in terms:
                found = {a and b if isinstance(filter, And) else a or b for a in found for b in settled(term)}
            return found
        case In(_, listed) | HasId(listed):
            return {True, False} if listed else {False}
        case _:
            return {True, False}


@settings(deadline=None, max_examples=200)
@given(filters())
def test_all_that_the_form_settles_is_found(filter: Filter) -> None:
    found = settled(filter)
    assert constant_truth(filter) == (None if len(found) == 2 else found.pop())


@pytest.mark.parametrize(
    ("filter", "truth"),
    [
        (And(()), True),
        (Or(()), False),
        (Or((And(()),)), True),
        (Or((Exists(A), And(()))), True),
        (Not(HasId(())), True),
        (Not(In(A, ())), True),
        (And((Exists(A), In(A, ()))), False),
        (And((Exists(A), And(()))), None),
        (Or((Exists(A), Not(Exists(A)))), None),
        (HasId((1,)), None),
        (Prefix(A, ""), None),
    ],
)
def test_what_the_form_of_a_filter_settles(filter: Filter, truth: bool | None) -> None:
    assert constant_truth(filter) is truth
