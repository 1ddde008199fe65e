from __future__ import annotations

from typing import Any

import pytest

from shoal.core.collection import check_range
from shoal.core.errors import InvalidArgument
from shoal.core.fusion_choice import search_defaults_from_input
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.shown import SHOWN_CHARS, shown
from shoal.core.text_check import check_ask
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import TextAsk

HUGE: Any = 10**5_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (10**400, "1" + "0" * (SHOWN_CHARS - 1) + "..."),
        (HUGE, "an integer of 16,610 bits"),
        ([HUGE], "a list with a huge integer"),
        ("x" * 100, "'" + "x" * (SHOWN_CHARS - 1) + "..."),
    ],
    ids=["text", "long integer", "huge integer", "huge in a list", "long text"],
)
def test_any_value_is_shown_in_few_characters(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_range("k", HUGE, 10),
        lambda: check_ask(TextAsk(text="a", fields=(("body", HUGE),)), None, DEFAULT_LIMITS),
        lambda: check_ask(TextAsk(text="a", match=HUGE), None, DEFAULT_LIMITS),
        lambda: search_defaults_from_input({"c": HUGE}, ()),
        lambda: search_defaults_from_input({"boosts": {"a": HUGE}}, ("a",)),
        lambda: text_fields_from_input({"body": HUGE}),
        lambda: text_fields_from_input({HUGE: "auto"}),
        lambda: text_fields_from_input({"x" * 100_000: "auto"}),
    ],
)
def test_an_error_shows_any_value(check: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check()
    assert len(caught.value.message) < 400
