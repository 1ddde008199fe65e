import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.cli.filter_text import filter_of
from shoal.core.errors import InvalidArgument
from shoal.core.filter_input import filter_from_input
from shoal.core.limits import DEFAULT_LIMITS

FIELDS = st.from_regex(r"[a-z][a-z_.]{0,4}[a-z]", fullmatch=True).filter(lambda text: ".." not in text)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())


@pytest.mark.parametrize(
    ("texts", "filter"),
    [
        (None, None),
        ([], None),
        (["label=3"], {"label": 3}),
        (["label = 3"], {"label": 3}),
        (["label!=3"], {"label": {"$ne": 3}}),
        (["name=Ann Lee"], {"name": "Ann Lee"}),
        (['name="3"'], {"name": "3"}),
        (["a.b=true"], {"a.b": True}),
        (["a=null"], {"a": None}),
        (["a="], {"a": ""}),
        (["a=1=2"], {"a": "1=2"}),
        (["a=x!=y"], {"a": "x!=y"}),
        (['a="=3"'], {"a": "=3"}),
        (["a=x<3"], {"a": "x<3"}),
        (["a=[1, 2]"], {"a": "[1, 2]"}),
        (["a={}"], {"a": "{}"}),
        (["a=NaN"], {"a": "NaN"}),
        (["a=007"], {"a": "007"}),
        (["a= -Infinity"], {"a": " -Infinity"}),
        (["\ufeffa=1"], {"a": 1}),
        (['\ufeff{"a": 1}'], {"a": 1}),
        (["a=" + "[" * 100_000], {"a": "[" * 100_000}),
        (["$id=7"], {"$id": 7}),
        ([' {"n": {"$gt": 3}}'], {"n": {"$gt": 3}}),
        (["a=1", '{"b": 2}', "a!=3"], {"$and": [{"a": 1}, {"b": 2}, {"a": {"$ne": 3}}]}),
    ],
)
def test_what_is_typed(texts, filter):
    assert filter_of(texts) == filter


def test_a_key_that_is_typed_twice_would_lose_a_condition():
    with pytest.raises(InvalidArgument, match=r"would lose a condition .the key 'a' is given twice in one object") as caught:
        filter_of(['{"b": [{"a": {"$gt": 1}, "a": {"$lt": 5}}]}'])
    assert caught.value.details.field == "filter"


@pytest.mark.parametrize("levels", [17, 900, 20_000])
@pytest.mark.parametrize(("opening", "closing"), [('{"$not":', "}"), ('{"$and":[', "]}")])
def test_a_filter_that_is_too_deep_is_refused_as_such(levels, opening, closing):
    with pytest.raises(InvalidArgument, match=r"filter: at .*: the filter is more than 16 levels deep") as caught:
        filter_from_input(filter_of([opening * levels + '{"a":1}' + closing * levels]), DEFAULT_LIMITS)
    assert caught.value.details.field == "filter"


def test_an_integer_longer_than_python_reads_is_one_all_the_same():
    with pytest.raises(InvalidArgument, match="an integer has 16610 bits, at most 8192"):
        filter_from_input(filter_of(["a=" + "9" * 5_000]), DEFAULT_LIMITS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "label",
        "=3",
        "!=3",
        " =3",
        "n>=3",
        "n<=3",
        "n>3",
        "n~=3",
        "label==3",
        "label= =3",
        "price=<3",
        "price=>3",
        "a!==3",
        "{",
        "{]",
        "{" * 5,
        "[1]",
    ],
)
def test_what_says_nothing_is_refused_with_examples(text):
    with pytest.raises(InvalidArgument, match="field=value") as raised:
        filter_of(["a=1", text])
    assert repr(text) in raised.value.message
    assert raised.value.details.field == "filter"


@pytest.mark.parametrize("text", ["label==3", "price=<3"])
def test_half_a_comparison_is_refused_with_the_advice_to_write_json(text):
    with pytest.raises(InvalidArgument, match=r"has a value that begins with [=<]; .* JSON"):
        filter_of([text])


def test_an_object_in_an_object_is_left_to_the_client_to_judge():
    with pytest.raises(InvalidArgument, match="near"):
        filter_from_input(filter_of(['{"a": {"$near": 1}}']), DEFAULT_LIMITS)


@settings(max_examples=100)
@given(FIELDS, SCALARS, st.booleans())
def test_every_scalar_can_be_typed_as_json(field, value, equal):
    typed = filter_of([f"{field}{'=' if equal else '!='}{json.dumps(value)}"])
    assert typed == ({field: value} if equal else {field: {"$ne": value}})
    assert type(typed[field] if equal else typed[field]["$ne"]) is type(value)


@settings(max_examples=100)
@given(FIELDS, st.text().filter(lambda text: not text.lstrip().startswith(("=", "<", ">"))))
def test_what_is_no_json_is_itself(field, text):
    try:
        json.loads(text)
    except ValueError:
        assert filter_of([f"{field}={text}"]) == {field: text}
