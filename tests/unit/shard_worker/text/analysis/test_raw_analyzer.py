from __future__ import annotations

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis.analyzer import Token, analyzer_of
from shoal.shard_worker.text.analysis.tokens import MOST_WORD_CHARS

RAW = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.RAW))


def test_a_text_is_one_word_as_it_is() -> None:
    assert RAW.tokens("Docs/ 數據_A") == [Token("Docs/ 數據_A", 0, 0, 10)]
    assert RAW.tokens("") == []


def test_what_cannot_be_a_word_is_replaced() -> None:
    assert RAW.words("a\0b\udfff") == (["a\ufffdb\ufffd"], [0])


def test_long_texts_stay_different() -> None:
    words = {RAW.words("x" * 500 + end)[0][0] for end in ("", "a", "b", "\ud800", "\ufffd")}
    assert len(words) == 5
    assert {len(word) for word in words} == {MOST_WORD_CHARS}


def test_any_beginning_is_a_prefix_up_to_the_hash_of_long_texts() -> None:
    analyzer = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.RAW))
    assert analyzer.prefix_tokens("") == []
    assert [tuple(token) for token in analyzer.prefix_tokens("docs/A b")] == [("docs/A b\0", 0, 0, 8)]
    long = "x" * 500
    (prefix,), (whole,) = analyzer.prefix_tokens(long[:200]), analyzer.tokens(long)
    assert whole.word.startswith(prefix.word.removesuffix("\0"))
