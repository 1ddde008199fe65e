import json
import math
import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.deep_json import DuplicateKey, read_json, write_json

PLAIN = partial(json.dumps, ensure_ascii=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.booleans(), st.sampled_from([None, 1, "\t\r\n"]))
def test_it_reads_and_writes_as_json_does(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert repr(read_json(text)) == repr(json.loads(text))
    assert write_json(value, PLAIN) == PLAIN(value)
    assert write_json(value, PLAIN, comma=",", colon=":") == PLAIN(value, separators=(",", ":"))


@given(JSON, st.integers(0, 80), st.integers(0, 3), st.text('{}[]",:0e+-. tfn\\', max_size=3))
def test_it_refuses_what_json_refuses_in_the_same_words(value, at, cut, put):
    whole = json.dumps(value)
    text = whole[:at] + put + whole[at + cut :]
    try:
        expected = repr(json.loads(text))
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(ValueError, match=r"."):
            read_json(text)
    else:
        assert repr(read_json(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "[1,]", '{"a"}', '{"a":1,}', "01", "[1 2]", "tru", '"abc', "[1]x", "-", "1.", "{1:2}", '"\t"', '{"a":1 "b":2}']
)
def test_words_of_an_error_are_those_of_json_or_name_the_same_kind(text):
    with pytest.raises(json.JSONDecodeError) as ours:
        read_json(text)
    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(text)
    assert abs(ours.value.pos - theirs.value.pos) <= 1


def test_depth_is_no_matter():
    levels = 10 * sys.getrecursionlimit()
    text = '[{"a":' * levels + "1" + "}]" * levels
    value = read_json(text)
    assert write_json(value, json.dumps, comma=",", colon=":") == text
    with pytest.raises(json.JSONDecodeError):
        read_json(text[:-1])


def test_a_key_that_comes_twice_is_named_with_the_way_to_it():
    text = '{"a": [1, {"b": 1, "c": {}, "b": 2}], "a": 3}'
    assert read_json(text) == json.loads(text) == {"a": 3}
    with pytest.raises(DuplicateKey, match="'b' is given twice") as caught:
        read_json(text, unique_keys=True)
    assert caught.value.path == ("a", 1, "b")


def test_integers_of_any_length_are_read_within_a_bound():
    assert read_json("-" + "9" * 20_000) == 1 - 10**20_000
    assert math.isinf(read_json("1e400"))
    with pytest.raises(ValueError, match="20001 digits"):
        read_json("9" * 20_001)
