"""Test the truth table case by case, and what makes a row unsure ("read the row") at each bound."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

from shoal.core.filter import Contains, Exists, Filter, In, Not, Prefix, Range, Scalar
from shoal.shard_worker.payload.growing import GrowingPayloads
from shoal.shard_worker.payload.matched import Matched, PayloadBounds
from shoal.shard_worker.payload.sealed import SealedPayloads
from shoal.shard_worker.payload.tail import MAX_DEPTH, MAX_PATH_CHARS
from tests.unit.shard_worker.payload.payloads import ROOMY, Payload, check, texts

A = ("a",)
AB = ("a", "b")


def said(filter: Filter, rows: list[Payload], bounds: PayloadBounds = ROOMY) -> Matched:
    """Return the answer of a sealed index. Check that it is true, and that a growing index gives the same."""
    growing = GrowingPayloads(bounds)
    growing.append(texts(rows), len(rows))
    grown, sealed = check(growing.part(), filter, rows), check(SealedPayloads.from_payloads(texts(rows), bounds), filter, rows)
    assert (grown.sure, grown.unsure) == (sealed.sure, sealed.unsure)
    return sealed


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (3, [{"a": 3}, {"a": 3.0}, {"a": [1, 3]}]),
        (3.0, [{"a": 3}, {"a": 3.0}]),
        (True, [{"a": True}, {"a": [False, True]}]),
        (None, [{"a": None}, {"a": [None]}]),
        ("x", [{"a": "x"}, {"a": ["y", "x"]}]),
    ],
)
def test_equal_values_match(value: Scalar, rows: list[Payload]) -> None:
    assert list(said(In(path=A, values=(value,)), rows).sure) == list(range(len(rows)))


@pytest.mark.parametrize("value", [1, True, "1", None, 1.0])
def test_a_value_of_another_type_does_not_match(value: Scalar) -> None:
    kinds: list[Scalar] = [1, True, "1", None]
    rows: list[Payload] = [{"a": kind} for kind in kinds]
    expected = [at for at, kind in enumerate(kinds) if kind == value and isinstance(kind, bool) == isinstance(value, bool)]
    assert len(expected) == 1
    assert list(said(In(path=A, values=(value,)), rows).sure) == expected


@pytest.mark.parametrize("row", [None, {}, {"b": 1}, {"a": []}, {"a": {}}, {"a": [[3]]}, {"a": [{"b": 3}]}])
def test_a_field_without_the_value_matches_only_the_opposite(row: Payload) -> None:
    assert not said(In(path=A, values=(3,)), [row]).sure
    assert list(said(Not(term=In(path=A, values=(3,))), [row]).sure) == [0]


def test_a_field_is_there_whatever_it_holds() -> None:
    rows: list[Payload] = [{"a": None}, {"a": []}, {"a": {}}, {"a": [[]]}, {"b": 1}, None, {"a": 2**70}]
    assert list(said(Exists(path=A), rows).sure) == [0, 1, 2, 3, 6]


def test_all_bounds_hold_for_one_element() -> None:
    rows: list[Payload] = [{"a": [1, 9]}, {"a": [1, 5]}, {"a": 5}]
    assert list(said(Range(path=A, gt=2, lt=8), rows).sure) == [1, 2]


def test_strings_are_ordered_by_code_point_and_apart_from_numbers() -> None:
    rows: list[Payload] = [{"a": "\uffff"}, {"a": "\U0001f41f"}, {"a": "Z"}, {"a": 5}]
    assert list(said(Range(path=A, gt="\uffff"), rows).sure) == [1]
    assert list(said(Range(path=A, lte="Z"), rows).sure) == [2]
    assert list(said(Range(path=A, gte=0), rows).sure) == [3]


def test_only_lists_contain_values_that_are_no_strings() -> None:
    rows: list[Payload] = [{"a": 3}, {"a": [3.0]}, {"a": [[3]]}, {"a": "3"}, {"a": [None, True]}]
    assert list(said(Contains(path=A, value=3), rows).sure) == [1]
    assert list(said(Contains(path=A, value=True), rows).sure) == [4]
    assert list(said(Contains(path=A, value=None), rows).sure) == [4]


def test_a_field_met_as_a_list_and_as_a_value_is_read() -> None:
    rows: list[Payload] = [{"a": [{"b": 3}, {"b": [4]}]}, {"a": [{"b": 3}, {"b": [3]}]}, {"a": {"b": [3]}}]
    matched = said(Contains(path=AB, value=3), rows)
    assert (list(matched.sure), list(matched.unsure)) == ([2], [0, 1])


def test_a_field_is_met_through_a_list_however_deep_it_lies_below() -> None:
    rows: list[Payload] = [{"a": [{"b": {"c": 3}}, {"b": {"c": [4]}}]}, {"a": {"b": {"c": [3]}}}]
    matched = said(Contains(path=("a", "b", "c"), value=3), rows)
    assert (list(matched.sure), list(matched.unsure)) == ([1], [0])


def test_strings_contain_and_begin() -> None:
    rows: list[Payload] = [{"a": "shoal"}, {"a": ["x", "goal"]}, {"a": "sho"}, {"a": 1}]
    assert list(said(Contains(path=A, value="oal"), rows).sure) == [0, 1]
    assert list(said(Prefix(path=A, text="sho"), rows).sure) == [0, 2]
    assert list(said(Prefix(path=A, text=""), rows).sure) == [0, 1, 2]


def test_a_list_in_a_list_is_not_entered() -> None:
    assert not said(Exists(path=AB), [{"a": [[{"b": 1}]]}]).sure
    assert list(said(Exists(path=AB), [{"a": [{"b": 1}]}]).sure) == [0]


def test_an_integer_beyond_64_bits_is_read() -> None:
    rows: list[Payload] = [{"a": 2**63}, {"a": 2**63 - 1}, {"a": -(2**63)}, {"a": [1, -(2**63) - 1]}]
    matched = said(Range(path=A, gt=1), rows)
    assert (list(matched.sure), list(matched.unsure)) == ([1], [0, 3])


def test_too_many_strings_are_found_by_hash_and_read() -> None:
    rows: list[Payload] = [{"a": f"word {at}"} for at in range(10)]
    bounds = PayloadBounds(distinct_values=9)
    matched = said(In(path=A, values=("word 3", "none")), rows, bounds)
    assert (list(matched.sure), list(matched.unsure)) == ([], [3])
    assert list(said(Prefix(path=A, text="word 3"), rows, bounds).unsure) == list(range(10))
    assert list(said(In(path=A, values=("word 3",)), rows, PayloadBounds(distinct_values=10)).sure) == [3]


def test_only_long_strings_are_read() -> None:
    rows: list[Payload] = [{"a": "abcd"}, {"a": "abcde"}, {"a": "abcd"}]
    matched = said(Prefix(path=A, text="ab"), rows, PayloadBounds(indexed_chars=4))
    assert (list(matched.sure), list(matched.unsure)) == ([0, 2], [1])


def test_rows_with_a_field_without_an_index_are_read_for_unknown_fields_only() -> None:
    rows: list[Payload] = [{"a": 1}, {"a": 1, "b": 2}, None, {"a": 2}]
    bounds = PayloadBounds(fields=1)
    assert list(said(In(path=("b",), values=(2,)), rows, bounds).unsure) == [1]
    assert list(said(Exists(path=("c",)), rows, bounds).unsure) == [1]
    assert not said(In(path=A, values=(1,)), rows, bounds).unsure


def test_what_lies_too_deep_or_under_too_long_a_path_is_read() -> None:
    deep: dict[str, Any] = {"k": 1}
    for _ in range(MAX_DEPTH):
        deep = {"k": deep}
    rows: list[Payload] = [deep, {"k": {"x": 1}}, {"y" * (MAX_PATH_CHARS + 1): 1}]
    assert list(said(Exists(path=("k",) * (MAX_DEPTH + 1)), rows).unsure) == [0, 2]
    assert list(said(Exists(path=("k",) * MAX_DEPTH), rows).sure) == [0]


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff"])
def test_a_payload_that_cannot_be_parsed_is_unsure_in_every_answer(text: bytes) -> None:
    sealed = SealedPayloads.from_payloads([b'{"a":1}', text], ROOMY)
    growing = GrowingPayloads(ROOMY)
    growing.append([b'{"a":1}', text], 2)
    for part in (sealed, growing.part()):
        for filter in (In(path=A, values=(1,)), Exists(path=("x",)), Not(term=In(path=A, values=(1,)))):
            assert list(part.match(filter, np.arange(2)).unsure) == [1]


def test_a_payload_deeper_than_python_likes_has_an_index_as_any_other() -> None:
    """An older version had no bound on depth and stored such payloads."""
    levels = 5 * sys.getrecursionlimit()
    deep = b'{"a":7,"b":' + b'[{"b":' * levels + b"1" + b"}]" * levels + b"}"
    growing = GrowingPayloads(ROOMY)
    growing.append([b'{"a":1}', deep], 2)
    for part in (SealedPayloads.from_payloads([b'{"a":1}', deep], ROOMY), growing.part()):
        assert list(part.match(In(path=A, values=(7,)), np.arange(2)).sure) == [1]
        assert list(part.match(Exists(path=("b", "b")), np.arange(2)).sure) == [1]
        assert list(part.match(Exists(path=("b",) * 100), np.arange(2)).unsure) == [1]


@pytest.mark.parametrize("count", [1, 63, 64, 10_000])
def test_any_number_of_values_is_looked_up(count: int) -> None:
    rows: list[Payload] = [{"a": at % 7, "w": f"w{at % 90}", "f": at / 2} for at in range(200)]
    said(In(path=A, values=tuple(range(5, 5 + count))), rows)
    said(In(path=("w",), values=tuple(f"w{at}" for at in range(30, 30 + count))), rows)
    said(In(path=("f",), values=tuple(at * 0.5 for at in range(count))), rows)


def test_answers_belong_to_the_receiver() -> None:
    sealed = SealedPayloads.from_payloads(texts([{"a": None}, {"a": True}, {"b": 2**70}]), PayloadBounds(fields=1))
    for filter in (Exists(path=A), Exists(path=("b",)), In(path=A, values=(None,)), Not(term=Exists(path=("b",)))):
        spoilt = sealed.match(filter, np.arange(3))
        before = list(spoilt.sure), list(spoilt.unsure)
        spoilt.sure.add_range(0, 100)
        spoilt.unsure.add_range(0, 100)
        after = sealed.match(filter, np.arange(3))
        assert (list(after.sure), list(after.unsure)) == before


def test_a_key_may_hold_a_dot() -> None:
    rows: list[Payload] = [json.loads('{"c.d":1}'), {"c": {"d": 1}}]
    assert list(said(In(path=("c.d",), values=(1,)), rows).sure) == [0]
    assert list(said(In(path=("c", "d"), values=(1,)), rows).sure) == [1]
