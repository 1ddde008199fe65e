from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.text_check import check_ask
from shoal.core.text_query import Match, TextAsk

FIELDS = ("title", "body")
SMALL = Limits(text_bytes=10, text_clauses=2)


@pytest.mark.parametrize(
    "ask",
    [
        TextAsk(text="a"),
        TextAsk(text="..."),
        TextAsk(must=("a",), must_not=("b",), match=Match.ALL),
        TextAsk(phrases=("a b",), fields=(("title", 2),)),
        TextAsk(prefix="a", fields=(("title", 0.001), ("body", 1000.0))),
    ],
)
def test_an_ask_for_something_is_allowed(ask: TextAsk) -> None:
    check_ask(ask, FIELDS, DEFAULT_LIMITS)
    check_ask(ask, None, DEFAULT_LIMITS)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "text", "a text query asks for nothing: give at least one of text, must, phrases and prefix"),
    (
        {"must_not": ("a",)},
        "text",
        "a text query asks for nothing, it has must_not only: give at least one of text, must, phrases and prefix",
    ),
    ({"text": 5}, "text", "text is 5, it must be a string"),
    ({"text": "\ud800"}, "text", "text is '\\ud800', it has a lone surrogate, which is no character"),
    ({"must": "HNSW"}, "must", "must is 'HNSW', it must be a list of strings"),
    ({"must": ("a", 1)}, "must", "must[1] is 1, it must be a string"),
    ({"text": "a", "must_not": ("",)}, "must_not", "must_not[0] is empty, it must be a text"),
    ({"phrases": ("a", "")}, "phrases", "phrases[1] is empty, it must be a text"),
    ({"prefix": None, "text": "a"}, "prefix", "prefix is None, it must be a string"),
    ({"text": "a", "match": "some"}, "match", "match is 'some', it must be one of any, all"),
    ({"text": "a", "fields": (("tag", 1.0),)}, "fields", "fields has 'tag', the text fields of the collection are body, title"),
    ({"text": "a", "fields": ((1, 1.0),)}, "fields", "fields has 1, names of fields must be strings"),
    ({"text": "a", "fields": (("\ud800", 1.0),)}, "fields", "fields has '\\ud800', it has a lone surrogate, which is no character"),
    ({"text": "a", "fields": (("body", 1.0), ("body", 2.0))}, "fields", "fields has 'body' twice, each field must be there once"),
    *(
        (
            {"text": "a", "fields": (("body", boost),)},
            "fields",
            f"the boost of field 'body' is {boost!r}, it must be a number from 0.001 to 1000",
        )
        for boost in (0, -1.0, float("nan"), float("inf"), 1e4, True, "2", None)
    ),
]


@pytest.mark.parametrize(("parts", "field", "message"), REFUSED, ids=lambda each: repr(each)[:40])
def test_what_is_not_allowed_is_named(parts: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_ask(TextAsk(**parts), FIELDS, DEFAULT_LIMITS)
    assert (raised.value.message, raised.value.details.field) == (message, field)


def test_a_collection_without_text_fields_has_none_to_search() -> None:
    with pytest.raises(InvalidArgument, match="the collection has no text field"):
        check_ask(TextAsk(text="a"), (), DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("ask", "limit"),
    [
        (TextAsk(text="a" * 11), "text_bytes"),
        (TextAsk(text="中中", must=("中",), prefix="中"), "text_bytes"),
        (TextAsk(must=("a",), must_not=("b",), phrases=("c",)), "text_clauses"),
    ],
)
def test_bounds_are_named(ask: TextAsk, limit: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        check_ask(ask, FIELDS, SMALL)
    assert raised.value.details.limit == limit
    check_ask(replace(ask, must=(), must_not=(), text="a", phrases=()), FIELDS, SMALL)
