"""Spans of the words of a question: by example, and for random texts against a look at the characters."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.core.text_query import TextAsk
from shoal.shard_worker.text.analysis.analyzer import Analyzer, analyzer_of
from shoal.shard_worker.text.asking import asked_fields
from shoal.shard_worker.text.marking import JOINT, marked_words

AUTO = analyzer_of(AnalyzerOptions())
RAW = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.RAW))


def marked(ask: TextAsk, *strings: str, analyzer: Analyzer = AUTO) -> list[str]:
    fields = asked_fields(ask, {"body": analyzer})
    joined = JOINT.join(strings)
    return [joined[begin:end] for begin, end in marked_words(ask, fields)["body"].spans(strings)]


@pytest.mark.parametrize(
    ("ask", "text", "expected"),
    [
        (TextAsk(text="quantized graph"), "Quantizing a Graph, and graphs.", ["Quantizing", "Graph", "graphs"]),
        (TextAsk(text="a", must=("b c",), must_not=("d",)), "a b c d", ["a", "b", "c"]),
        (TextAsk(text="memory"), "tidb_mem_quota tidb_memory", ["memory"]),
        (TextAsk(text="rocksdb"), "RocksDB", ["RocksDB"]),
        (TextAsk(text="如何扩容"), "請問如何擴容？如何", ["如何擴容", "如何"]),
        (TextAsk(text="库"), "数据库 库存", ["库", "库存"]),
        (TextAsk(phrases=("in-memory replica",)), "in a replica: the in-memory replicas in memory", ["in-memory replicas"]),
        (TextAsk(phrases=("a",)), "b a", ["a"]),
        (TextAsk(prefix="quanti"), "quantity of quantized quants", ["quantity", "quantized"]),
        (TextAsk(text="caf\u00e9"), "a cafe\u0301!", ["cafe\u0301"]),
        (TextAsk(text="fish \U0001f41f x"), "\U0001f41f\U0001f41f fish x", ["fish", "x"]),
        (TextAsk(text="..."), "a ...", []),
    ],
)
def test_what_is_marked(ask: TextAsk, text: str, expected: list[str]) -> None:
    assert marked(ask, text) == expected


def test_strings_of_a_list_are_joined_and_no_phrase_goes_over_an_end() -> None:
    assert marked(TextAsk(text="a"), "a b", "", "b a") == ["a", "a"]
    assert marked(TextAsk(phrases=("b c",)), "a b", "c", "b c") == ["b c"]
    assert marked(TextAsk(text="a")) == []


def test_a_raw_text_is_marked_as_a_whole() -> None:
    assert marked(TextAsk(text="docs/a"), "docs/a", "docs/ab", analyzer=RAW) == ["docs/a"]
    assert marked(TextAsk(prefix="docs/a"), "docs/a", "docs/ab", "x", analyzer=RAW) == ["docs/a", "docs/ab"]


@pytest.mark.parametrize("seed", range(100))
def test_spans_of_plain_words_are_where_the_words_are(seed: int) -> None:
    random = Random(seed)
    words = ("ab", "b", "c", "de", "e")
    listed = random.choices(words, k=random.randint(0, 30))
    wanted = random.sample(words, random.randint(1, 3))
    phrase = random.choices(words, k=random.randint(1, 3))
    ask = TextAsk(text=" ".join(wanted), phrases=(" ".join(phrase),))
    starts = [sum(len(word) + 1 for word in listed[:at]) for at in range(len(listed))]
    covered = {
        at + offset
        for number, (at, word) in enumerate(zip(starts, listed, strict=True))
        for offset in range(len(word))
        if word in wanted
        or any(listed[first : first + len(phrase)] == phrase for first in range(max(0, number - len(phrase) + 1), number + 1))
    }
    text = " ".join(listed)
    spans = marked_words(ask, asked_fields(ask, {"body": AUTO}))["body"].spans([text])
    assert {at for begin, end in spans for at in range(begin, end) if text[at] != " "} == covered
    assert all(begin < end for begin, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
