from __future__ import annotations

from typing import Any

import pytest

from shoal.core.errors import InvalidArgument
from shoal.core.text_fields import (
    MOST_LISTED_CHARS,
    MOST_LISTED_WORDS,
    MOST_TEXT_FIELDS,
    AnalyzerKind,
    AnalyzerOptions,
    TextField,
    analyzer_from_input,
    options_to_input,
    text_fields_from_input,
    text_path,
)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("auto", AnalyzerOptions()),
        ("raw", AnalyzerOptions(kind=AnalyzerKind.RAW)),
        ({}, AnalyzerOptions()),
        ({"kind": "cjk", "fold": False}, AnalyzerOptions(kind=AnalyzerKind.CJK, fold=False)),
        ({"stem": "german", "stop_words": ["der", "die"]}, AnalyzerOptions(stem="german", stop_words=("der", "die"))),
        ({"own_words": ("node.js",)}, AnalyzerOptions(own_words=("node.js",))),
        ({"kind": "raw", "stem": "none"}, AnalyzerOptions(kind=AnalyzerKind.RAW, stem="none")),
        (AnalyzerOptions(stem="none"), AnalyzerOptions(stem="none")),
    ],
)
def test_what_is_understood(given: object, options: AnalyzerOptions) -> None:
    assert analyzer_from_input(given) == options


@pytest.mark.parametrize(
    ("kind", "stem", "language"),
    [
        ("auto", "", "english"),
        ("cjk", "", "english"),
        ("words", "", None),
        ("raw", "", None),
        ("auto", "none", None),
        ("cjk", "dutch", "dutch"),
    ],
)
def test_the_language_of_stems(kind: str, stem: str, language: str | None) -> None:
    assert AnalyzerOptions(kind=AnalyzerKind(kind), stem=stem).stem_language == language


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ("english", "kind", "'english', it must be one of auto, cjk, words, raw"),
        (7, "kind", "7, it must be one of auto, cjk, words, raw"),
        ({"kind": ["auto"]}, "kind", "['auto'], it must be one of auto"),
        ({"stems": "english"}, "stems", "'stems', allowed are kind, stem, stop_words, own_words, fold"),
        ({"stem": "klingon"}, "stem", "'klingon', it must be none or one of arabic, "),
        ({"stem": None}, "stem", "None, it must be none or one of"),
        ({"fold": 1}, "fold", "1, it must be true or false"),
        ({"stop_words": "the"}, "stop_words", "'the', it must be a list of strings"),
        ({"stop_words": [5]}, "stop_words", "5, each must be a string of 1 to 64"),
        ({"own_words": [""]}, "own_words", "'', each must be a string of 1 to 64"),
        ({"own_words": ["x" * (MOST_LISTED_CHARS + 1)]}, "own_words", "each must be a string of 1 to 64"),
        ({"own_words": ["w"] * (MOST_LISTED_WORDS + 1)}, "own_words", "1,001 words, at most 1,000"),
        ({"own_words": [" \t"]}, "own_words", "which is empty or has control characters"),
        ({"own_words": ["a\ud800"]}, "own_words", "lone surrogates"),
        ({"own_words": ["a\0"]}, "own_words", "control characters"),
        ({"kind": "words", "stem": "english"}, "stem", "the analyzer words does not stem: allowed is none"),
        ({"kind": "raw", "stop_words": ["a"]}, "stop_words", "raw takes the whole text as one word, without stop_words"),
        ({"kind": "raw", "stem": "english"}, "stem", "without stem"),
    ],
)
def test_what_is_refused(given: Any, field: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        analyzer_from_input(given)
    assert said in refused.value.message
    assert refused.value.details.field == field


def test_options_are_checked_however_they_are_made() -> None:
    with pytest.raises(InvalidArgument, match="stem is 'klingon'"):
        AnalyzerOptions(stem="klingon")


def test_text_fields_come_in_the_order_of_their_names() -> None:
    fields = text_fields_from_input({"title": "auto", "a.b": {"kind": "cjk"}, r"c\.d": AnalyzerOptions(fold=False)})
    assert fields == (
        TextField(name="a.b", analyzer=AnalyzerOptions(kind=AnalyzerKind.CJK)),
        TextField(name=r"c\.d", analyzer=AnalyzerOptions(fold=False)),
        TextField(name="title"),
    )
    assert text_fields_from_input(fields) == text_fields_from_input(list(reversed(fields))) == fields
    assert [text_path(each.name) for each in fields] == [("a", "b"), ("c.d",), ("title",)]
    assert text_fields_from_input({each.name: options_to_input(each.analyzer) for each in fields}) == fields
    assert text_fields_from_input({}) == ()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("title", "'title'"),
        (None, "None"),
        ({"": "auto"}, "''"),
        ({3: "auto"}, "field 3"),
        ({"a..b": "auto"}, "empty key"),
        ({"$a": "auto"}, r"must be written '\\\\\$a'"),
        ({"x" * 1_025: "auto"}, "1,024"),
        ({"body": "magic"}, "'body'.*'magic'"),
        ({"body": {"stem": "klingon"}}, "'body'.*'klingon'"),
        ({f"f{number}": "auto" for number in range(MOST_TEXT_FIELDS + 1)}, "17 fields, at most 16"),
        ((TextField(name="a"), TextField(name="a")), "twice"),
    ],
)
def test_text_fields_that_cannot_be_are_refused_by_name(given: Any, named: str) -> None:
    with pytest.raises(InvalidArgument, match=named) as caught:
        text_fields_from_input(given)
    assert caught.value.details.field == "text"
