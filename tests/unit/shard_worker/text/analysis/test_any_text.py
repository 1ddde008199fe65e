"""What holds for every text."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rjieba
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis import lexicon
from shoal.shard_worker.text.analysis.analyzer import Analyzer, Token, analyzer_of
from shoal.shard_worker.text.analysis.script_analyzer import ScriptAnalyzer
from shoal.shard_worker.text.analysis.tokens import MOST_WORD_CHARS, prefix_of
from shoal.shard_worker.text.indexing import IndexedText, table_of
from tests.support.scope import LONG
from tests.unit.shard_worker.text.analysis.texts import HAN, analyzers, any_texts, plain_texts
from tests.unit.shard_worker.text.letters import content

MODERATE = settings(max_examples=1_500 if LONG else 100, deadline=None)
AUTO = analyzer_of(AnalyzerOptions())


@MODERATE
@given(analyzer=analyzers, text=any_texts)
def test_tokens_lie_in_their_text(analyzer: Analyzer, text: str) -> None:
    for tokens in (analyzer.tokens(text), analyzer.query_tokens(text), analyzer.phrase_tokens(text)):
        positions = [token.position for token in tokens]
        assert positions == sorted(positions)
        for token in tokens:
            assert 0 <= token.start < token.end <= len(text)
            assert 0 <= token.position < max(len(text), 1)
            word = token.word if (prefix := prefix_of(token.word)) is None else prefix
            assert word
            assert "\0" not in word
            assert word.encode()
            assert len(word) <= MOST_WORD_CHARS


@MODERATE
@given(analyzer=analyzers, texts=st.lists(any_texts, max_size=4))
def test_numbers_of_a_batch_are_its_tokens(analyzer: Analyzer, texts: list[str]) -> None:
    each = [analyzer.tokens(text) for text in texts]
    expected = [([token.word for token in tokens], [token.position for token in tokens]) for tokens in each]
    assert [analyzer.words(text) for text in texts] == expected
    assert content(table_of(analyzer.coded(texts))) == content(table_of([IndexedText(*words) for words in expected]))


def test_a_large_batch_is_cut_in_pieces() -> None:
    texts = ["如何扩容TiDB" * 300, "plain words", "数据库" * 2_000, "", "向量", "words, 1.5 " * 3_000, "café " * 9_000] * 3
    rests = 0

    def rest() -> None:
        nonlocal rests
        rests += 1

    table = table_of(AUTO.coded(texts, rest))
    assert rests > 15
    assert content(table) == content(table_of([IndexedText(*AUTO.words(text)) for text in texts]))


def test_more_words_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "MOST_WRITTEN", 10)
    analyzer = ScriptAnalyzer(AnalyzerOptions(stem="german"))
    for first in range(0, 40, 4):
        texts = [f"word_{number} {'x' * 200} 数据{number}" for number in range(first, first + 4)]
        assert content(table_of(analyzer.coded(texts))) == content(table_of([IndexedText(*analyzer.words(text)) for text in texts]))
        assert len(analyzer._lexicon) <= 10 + 3 * len(texts)


def test_threads_share_what_is_remembered() -> None:
    analyzer = ScriptAnalyzer(AnalyzerOptions(stem="french"))
    batches = [[f"word{number} of_{number % 7} 数据{number}" for number in range(first, first + 300)] for first in range(0, 900, 100)]
    with ThreadPoolExecutor(4) as pool:
        tables = [content(table_of(coded)) for coded in pool.map(analyzer.coded, batches)]
    assert tables == [content(table_of([IndexedText(*analyzer.words(text)) for text in texts])) for texts in batches]


@MODERATE
@given(
    text=st.lists(st.one_of(st.text(st.sampled_from(HAN), min_size=1), st.sampled_from(["ab", "x", " ", "。"])), max_size=10).map(" ".join)
)
def test_auto_equals_its_twin(text: str) -> None:
    plain = analyzer_of(AnalyzerOptions(stem="none", fold=False))
    assert Counter(plain.tokens(text)) == Counter(twin(text))


def twin(text: str) -> list[Token]:
    """Return the tokens of words in lower case and runs of Han characters between spaces."""
    tokens: list[Token] = []
    position = start = 0
    for run in text.split(" "):
        if run and run[0] in HAN:
            tokens += [Token(run[at : at + 2], position + at, start + at, min(start + at + 2, start + len(run))) for at in range(len(run))]
            for word, first, last in rjieba.tokenize(run, "search"):
                if last - first > 2 or (last - first == 1 and last < len(run)):
                    tokens.append(Token(word, position + first, start + first, start + last))
            position += len(run)
        elif run and run != "。":
            tokens.append(Token(run, position, start, start + len(run)))
            position += 1
        start += len(run) + 1
    return tokens


@MODERATE
@given(text=plain_texts, kind=st.sampled_from([AnalyzerKind.AUTO, AnalyzerKind.CJK]))
def test_every_character_without_spaces_begins_a_word(text: str, kind: AnalyzerKind) -> None:
    begins = {token.start for token in analyzer_of(AnalyzerOptions(kind=kind)).tokens(text)}
    assert {at for at, character in enumerate(text) if character in HAN} <= begins


@MODERATE
@given(
    phrase=plain_texts,
    before=st.sampled_from(["", " ", "用 ", "的", "tidb 在", "1. ", "x_y -"]),
    after=st.sampled_from(["", " ", " a", "的", "库 tidb"]),
    kind=st.sampled_from([AnalyzerKind.AUTO, AnalyzerKind.CJK]),
)
def test_a_text_holds_the_phrases_in_it(phrase: str, before: str, after: str, kind: AnalyzerKind) -> None:
    analyzer = analyzer_of(AnalyzerOptions(kind=kind))
    asked = analyzer.phrase_tokens(phrase)
    there = [token for token in analyzer.tokens(before + phrase + after) if len(before) <= token.start < len(before) + len(phrase)]
    assert bool(asked) == bool(analyzer.tokens(phrase))
    if asked:
        shift = min(token.position for token in there) - min(token.position for token in analyzer.tokens(phrase))
        held = {(token.word, token.position) for token in there}
        for token in asked:
            begin = prefix_of(token.word)
            if begin is None:
                assert (token.word, token.position + shift) in held
            else:
                assert any(word.startswith(begin) and position == token.position + shift for word, position in held)


@MODERATE
@given(text=plain_texts)
def test_a_question_finds_its_text(text: str) -> None:
    """Each word of a question that is a text is a word of the text, or the begin of one."""
    words = AUTO.words(text)[0]
    for token in AUTO.query_tokens(text):
        begin = prefix_of(token.word)
        assert token.word in words if begin is None else any(word.startswith(begin) for word in words)


def test_a_long_text_of_one_word_stays_cheap_and_bounded() -> None:
    for text in ("a" * 100_000, "aB" * 50_000, "数" * 20_000, "e" + "\u0301" * 10_000, "1,2" * 10_000):
        words, positions = AUTO.words(text)
        assert max(map(len, words)) <= MOST_WORD_CHARS
        assert np.all(np.diff(positions) >= 0)
