"""Texts that are decoded together give what each alone gives, also if they are made to fit into each other."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.joined_json import decoded_together, encoded_together, groups_of
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.payload import check_payloads, payload_to_json, payloads_to_json, stored_value, stored_values

DECODER = json.JSONDecoder()

PIECES = ["{}", "{", "}", "[", "]", ",", '"', '"a":', "1", "1000003", "1.000003e6", "1000003.0", "1000004", "true", " ", "\\", "0"]
"""Pieces of JSON, with numbers that are equal to the mark."""

HOSTILE = st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join).map(str.encode)
LEGAL = st.dictionaries(st.text(max_size=3), st.integers(0, 2_000_000) | st.text(max_size=3), max_size=3).map(
    lambda value: json.dumps(value).encode()
)


def alone(text):
    try:
        return [json.loads(text)]
    except ValueError:
        return None


@given(st.lists(HOSTILE | LEGAL, min_size=1, max_size=4))
@example([b'{},1.000003e6,{"a":[0', b"0]}"])
@example([b'{"a":1', b'"b":2}'])
@example([b'{"a":1},{"b":2', b'"c":3}'])
@example([b'{"a":"', b'"}'])
@example([b"{},1000003,[", b"]"])
@example([b"{}", b""])
def test_texts_are_decoded_together_only_as_each_alone(texts):
    together = decoded_together(texts, DECODER)
    if together is not None:
        assert [alone(text) for text in texts] == [[value] for value in together]


@given(st.lists(LEGAL, min_size=1, max_size=20))
def test_legal_texts_without_a_mark_are_decoded_together(texts):
    if b"10000" not in b" ".join(texts):
        assert decoded_together(texts, DECODER) == [json.loads(text) for text in texts]


def test_another_mark_is_taken_until_there_is_none():
    used = [b"%d" % number for number in range(1_000_003, 1_000_010)]
    assert decoded_together(used, DECODER) == list(range(1_000_003, 1_000_010))
    assert decoded_together([*used, b"1000010"], DECODER) is None


@given(st.lists(st.none() | HOSTILE | LEGAL, max_size=6))
def test_stored_texts_give_what_each_gives_alone(texts):
    assert list(stored_values(texts)) == [None if text is None else stored_value(text) for text in texts]


@given(st.lists(st.none() | HOSTILE | LEGAL, max_size=6))
def test_the_first_illegal_text_of_many_is_named_as_if_it_were_alone(texts):
    def fault(many):
        try:
            check_payloads(many, DEFAULT_LIMITS)
        except InvalidArgument as error:
            return error
        return None

    alone = [fault([None] * at + [text]) for at, text in enumerate(texts)]
    first = next((error for error in alone if error is not None), None)
    found = fault(texts)
    assert (found is None) == (first is None)
    if first is not None:
        assert (found.message, found.details) == (first.message, first.details)


@given(st.lists(st.integers(0, 30).map(bytes), max_size=12), st.integers(1, 60))
def test_groups_are_all_texts_in_order_and_not_too_large(texts, most):
    groups = list(groups_of(texts, most))
    assert [at for start, end in groups for at in range(start, end)] == list(range(len(texts)))
    assert all(end - start == 1 or sum(map(len, texts[start:end])) <= most for start, end in groups)


@pytest.mark.parametrize("texts", [[], [b""]])
def test_nothing_is_decoded_from_nothing(texts):
    assert decoded_together(texts, DECODER) is None


SCALARS = st.sampled_from([1, 1_000_003, ",1000003,", "a", None, True, 0.5])
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.sampled_from("ab"), st.lists(SCALARS, max_size=3), max_size=2)


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


@given(st.lists(VALUES, max_size=5))
def test_values_are_encoded_together_only_as_each_alone(values):
    together = encoded_together(values, encode)
    if together is not None:
        assert together == [encode(value) for value in values]
    assert together is not None or b"1000003" in encode(values)


def test_values_that_cannot_be_encoded_are_left_to_the_caller():
    assert encoded_together([1, 2], lambda gathered: None) is None


PAYLOADS = (
    st.none()
    | st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
    | st.sampled_from([{1: 2}, {"a": float("nan")}, {"a": "\ud800"}, {"a": 2**9000}, {"a": {1, 2}}, [1], "a", {"a": "x" * 200}])
)


@given(st.lists(PAYLOADS, max_size=6), st.integers(0, 300))
@example([{"a": 1_000_003}, {"b": [0, 1_000_003, 0]}], 0)
def test_payloads_of_a_call_are_encoded_or_refused_as_each_alone(payloads, before):
    limits = Limits(payload_bytes=150)
    payloads = [{"n": 1}] * before + payloads

    def told(encode):
        try:
            return encode()
        except InvalidArgument as error:
            return error.message, error.details

    alone = told(lambda: tuple(payload_to_json(payload, index, limits) for index, payload in enumerate(payloads)))
    assert told(lambda: payloads_to_json(payloads, limits)) == alone
