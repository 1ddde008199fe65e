"""Test which payloads are legal: an object given to the SDK and the text of a message get the same answer, however deep
the stack is.
"""

import datetime
import decimal
import enum
import json
import sys
import types
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.payload import check_payloads, nesting, payload_from_json, payload_to_json, stored_value, value_from_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
PAYLOADS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), JSON, max_size=4)


def refused(payload, index=3):
    with pytest.raises(InvalidArgument) as caught:
        payload_to_json(payload, index)
    assert (caught.value.details.field, caught.value.details.index) == ("payloads", index)
    return caught.value.message


def text_refused(text, limits=DEFAULT_LIMITS):
    """Return what the server says of a text that is the third one in a message."""
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(InvalidArgument) as caught:
        check_payloads([None, b"{}", data], limits)
    assert (caught.value.details.field, caught.value.details.index) == ("payloads", 2)
    return caught.value.message


def nested(levels, lists=False):
    """Return a payload with this number of levels."""
    value = 1
    for _ in range(levels - 1):
        value = [value] if lists else {"a": value}
    return {"a": value}


def nested_text(levels):
    return '{"a":' * levels + "1" + "}" * levels


def in_a_deep_stack(call):
    """Run the call with almost no room left on the stack, as if it were called deep inside a framework."""

    def descend(levels):
        return call() if levels == 0 else descend(levels - 1)

    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return descend(sys.getrecursionlimit() - depth - 60)


@given(PAYLOADS)
def test_payloads_come_back_as_given(payload):
    text = payload_to_json(payload, 0)
    assert payload_from_json(text) == payload
    check_payloads([text], DEFAULT_LIMITS)
    assert json.loads(text) == payload


@given(PAYLOADS)
def test_a_text_is_legal_with_any_white_space_and_escapes(payload):
    check_payloads([json.dumps(payload, indent=2).encode(), json.dumps(payload, separators=(" ,\t", "\r\n: ")).encode()], DEFAULT_LIMITS)


def test_no_payload_and_an_empty_one_differ():
    assert payload_to_json(None, 0) is None
    assert payload_from_json(None) is None
    assert payload_from_json(payload_to_json({}, 0)) == {}


@pytest.mark.parametrize(
    "text", [b"", b"[1]", b"nope", b"\xff", b'{"a":1} x', b"7", b"\xef\xbb\xbf{}", b'{"a":01}', b'{"a":+1}', b"{'a':1}"]
)
def test_texts_that_are_no_json_object_are_refused_by_index(text):
    assert text_refused(text).startswith("payloads[2] is not ")


@pytest.mark.parametrize("what", [[], (), "a", 1, True, np.array({"a": 1}), np.ma.masked])
def test_what_is_no_dict_is_refused(what):
    assert refused(what).startswith("payloads[3] must be a dict or None, not ")


def test_payloads_have_a_size():
    payload = {"a": "x" * 100}
    text = payload_to_json(payload, 0)
    check_payloads([text], Limits(payload_bytes=len(text)))
    small = Limits(payload_bytes=len(text) - 1)
    assert f"{len(text)} bytes, at most {len(text) - 1}" in text_refused(text, small)
    with pytest.raises(InvalidArgument, match=f"{len(text)} bytes, at most {len(text) - 1}") as caught:
        payload_to_json(payload, 0, small)
    assert caught.value.details.limit == "payload_bytes"


class Colour(str, enum.Enum):  # noqa: UP042 (its str() is "Colour.RED", unlike that of a StrEnum)
    RED = "red"


class Number(enum.IntEnum):
    TWO = 2


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(5), 5),
        (np.uint8(5), 5),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(7), 7),
        (Colour.RED, "red"),
        (Number.TWO, 2),
        ((1, np.int8(2)), [1, 2]),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 12, 30), "2024-02-29T12:30:00.000000Z"),
        (datetime.datetime(2024, 2, 29, 0, 30, 0, 7, datetime.timezone(datetime.timedelta(hours=1))), "2024-02-28T23:30:00.000007Z"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (types.MappingProxyType({"k": np.int8(2)}), {"k": 2}),
        (2**8192 - 1, 2**8192 - 1),
    ],
)
def test_scalars_of_numpy_and_members_of_enumerations_are_what_they_equal(value, plain):
    for payload, expected in (({"a": {"b": [value]}}, {"a": {"b": [plain]}}), ({"a": value}, {"a": plain})):
        found = payload_from_json(payload_to_json(payload, 0))
        assert repr(found) == repr(expected)
    assert payload_to_json({Colour.RED: 1, np.str_("k"): 2}, 0) == b'{"red":1,"k":2}'


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "is nan: numbers must be finite"),
        (float("-inf"), "is -inf"),
        (np.float32("inf"), "is inf"),
        (np.float64("nan"), "is nan"),
        (2**8192, "is an integer of 8193 bits, at most 8192"),
        pytest.param(-(10**5_000), "is an integer of 16610 bits", id="longer than Python writes"),
        ("\ud800", "is not valid Unicode"),
        (datetime.time(12, 30), "is a time, which JSON does not have: give its .isoformat()"),
        (datetime.timedelta(1), "is a timedelta,"),
        (
            datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
            "is a datetime, which JSON does not have: its year in UTC must be from 1 to 9999",
        ),
        (np.datetime64("NaT"), "is a datetime64, which JSON does not have: give None in place of NaT"),
        (np.datetime64("NaT", "ns"), "is a datetime64, which JSON does not have: give None in place of NaT"),
        (np.datetime64(20_000, "Y"), "is a datetime64, which JSON does not have: its year in UTC must be from 1 to 9999"),
        (np.datetime64(-(2**60), "us"), "is a datetime64, which JSON does not have: its year in UTC must be from 1 to 9999"),
        (np.array(["2024-01-01"], dtype="M8[D]"), "is a ndarray, which JSON does not have: give its .tolist()"),
        (np.timedelta64(5, "ns"), "is a timedelta64,"),
        (decimal.Decimal(1), "is a Decimal, which JSON does not have: give a float or a text"),
        ({1}, "is a set, which JSON does not have: give a list"),
        (b"x", "is a bytes,"),
        (1j, "is a complex,"),
        (np.ma.masked, "is a MaskedConstant,"),
        (np.ma.array(1, mask=True), "is a MaskedArray,"),
        (np.ones(2), "is a ndarray, which JSON does not have: give its .tolist()"),
        (enum.Enum("E", "A").A, "is a E, which JSON does not have: give its .value"),
        (object(), "is a object,"),
    ],
)
def test_what_json_does_not_have_is_refused_with_the_way_to_it(value, said):
    assert refused({"title": "a", "meta": {"deep": {"key": value}}}).startswith(f"payloads[3].meta.deep.key {said}")
    assert refused({"rows": [1, [{"x": 1}, {"key": value}]]}).startswith(f"payloads[3].rows[1][1].key {said}")


def test_keys_are_texts():
    assert "payloads[3].meta has the key 5: keys must be strings, not int" in refused({"meta": {5: 1}})
    assert "payloads[3] has the key None" in refused({None: 1})
    assert "payloads[3].a[0] has the key '\\ud800', which is not valid Unicode" in refused({"a": [{"\ud800": 1}]})


def test_the_way_to_a_key_is_cut_and_can_be_shown():
    assert refused({"x" * 500: {"a\n\u200b": float("nan")}}).startswith("payloads[3]." + "x" * 64 + "....a\\n\\u200b is nan")


@pytest.mark.parametrize("lists", [False, True])
def test_depth_has_one_bound_at_both_doors(lists):
    most = DEFAULT_LIMITS.payload_depth
    text = payload_to_json(nested(most, lists), 0)
    assert nesting(text) == most
    check_payloads([text], DEFAULT_LIMITS)
    step = "[0]" if lists else ".a"
    said = f"payloads[3].a{7 * step}... is deeper than the {most} levels that a payload may have"
    for levels in (most + 1, 900, 5_000, 100_000):
        assert refused(nested(levels, lists)) == said
    for levels in (most + 1, 900, 5_000, 30_000):
        sign = ("[", "]") if lists else ('{"a":', "}")
        deep = '{"a":' + sign[0] * (levels - 1) + "1" + sign[1] * (levels - 1) + "}"
        assert text_refused(deep) == said.replace("[3]", "[2]")
    assert "is deeper than the 100 levels" in text_refused('{"a":' + "[" * 300_000 + "]" * 300_000 + "}")
    text_refused('{"a":' + "[" * 300_000)


def test_an_object_within_itself_is_too_deep():
    payload = {}
    payload["a"], payload["b"] = payload, [payload, payload]
    assert "is deeper than the 100 levels" in refused(payload)
    shared = []
    for _ in range(60):
        shared = [shared, shared]
    assert "values" in refused({"a": shared})


def test_many_brackets_are_not_many_levels():
    payload = {"rows": [{"a": [1], "text": "}]{[" * 3} for _ in range(500)], "quote": '\\"[[{{'}
    text = payload_to_json(payload, 0)
    assert nesting(text) == 4
    check_payloads([text], DEFAULT_LIMITS)


@given(PAYLOADS)
def test_nesting_is_that_of_the_value(payload):
    def depth(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert nesting(json.dumps(payload).encode()) == depth(payload)


def test_nesting_takes_time_by_the_length_of_the_text():
    assert nesting(b'{"a":"' + b'\\"' * 500_000) == 1
    assert nesting(b'"' * 1_000_001 + b"[") == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a":{"b":1e400}}', ".a.b is inf: numbers must be finite"),
        ('{"a":{"b":[-1e999]}}', ".a.b[0] is -inf"),
        ('{"a":{"b":NaN}}', ".a.b is nan"),
        ('{"a":{"b":-Infinity}}', ".a.b is -inf"),
        ('{"a":{"b":' + "9" * 400 + ".5}}", ".a.b is inf"),
        ('{"a":{"b":"\\ud800"}}', ".a.b is not valid Unicode"),
        ('{"a":{"\\udfff x":1}}', ".a has the key '\\udfff x', which is not valid Unicode"),
        ('{"a":[{"b":1,"c":2,"b":1}]}', ".a[0] gives the key 'b' twice in one object"),
        ('{"a":1,"\\u0061":2}', " gives the key 'a' twice in one object"),
        ('{"a":' + str(2**8192) + "}", ".a is an integer of 8193 bits, at most 8192 are allowed"),
        ('{"a":' + "9" * 4_400 + "}", ".a is an integer of 14617 bits"),
        ('{"a":-' + "9" * 20_001 + "}", " holds a number that is not allowed: an integer has 20001 digits"),
    ],
)
def test_the_text_of_a_message_is_held_to_the_same(text, said):
    assert text_refused(text).startswith(f"payloads[2]{said}")
    padded = '{"pad":"' + "x" * 300_000 + '",' + text[1:]
    text_refused(padded)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"\\ud83d\\udc4d"}',
        '{"a":' + str(2**8192 - 1) + "}",
        '{"a":"' + "9" * 5_000 + '"}',
        '{"a":0.' + "3" * 5_000 + "}",
        '{"a":1e308,"b":1e-400,"c":-0.0}',
        '{"a":"\\\\ud800"}',
        '{"":1}',
    ],
)
def test_what_only_looks_suspicious_is_legal(text):
    check_payloads([text.encode(), ('{"pad":"' + "x" * 300_000 + '",' + text[1:]).encode()], DEFAULT_LIMITS)


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', '{"a":"\\ud800"}', '{"a":1e400}', '{"a":NaN}', '{"a":' + "8" * 4_400 + "}", nested_text(5_000)]
)
def test_what_an_older_version_stored_is_read(text):
    found = payload_from_json(text.encode())
    assert list(found) == ["a"]
    assert stored_value(text.encode()).keys() == found.keys()


@pytest.mark.parametrize("text", [b"[1]", b"nope", b'{"a":', b"\xff"])
def test_what_nobody_stored_is_data_loss(text):
    with pytest.raises(DataLoss):
        payload_from_json(text)


def test_a_text_of_a_user_keeps_every_value_or_is_refused():
    assert value_from_json('[1, {"a": 1}]') == [1, {"a": 1}]
    with pytest.raises(ValueError, match="the key 'a' is given twice"):
        value_from_json('[{"a": 1, "a": 1}]')
    assert nesting(json.dumps(value_from_json("[" * 50 + "]" * 50)).encode()) == 50
    value_from_json("[" * 5_000 + "]" * 5_000)


def test_no_door_depends_on_the_room_that_the_stack_has():
    payload, text = nested(90), nested_text(90).encode()
    expected = payload_to_json(payload, 0)
    assert in_a_deep_stack(lambda: payload_to_json(payload, 0)) == expected
    assert in_a_deep_stack(lambda: payload_from_json(text)) == payload
    assert in_a_deep_stack(lambda: check_payloads([text], DEFAULT_LIMITS)) is None
    assert in_a_deep_stack(lambda: refused(nested(101))).startswith("payloads[3].a.a")
