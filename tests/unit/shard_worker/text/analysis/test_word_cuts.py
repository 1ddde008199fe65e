from __future__ import annotations

from itertools import product

import pytest
import Stemmer

from shoal.core.text_fields import STEM_LANGUAGES, AnalyzerOptions
from shoal.shard_worker.text.analysis import word_cuts
from shoal.shard_worker.text.analysis.analyzer import analyzer_of
from shoal.shard_worker.text.analysis.word_cuts import Cut, WordCuts
from tests.unit.shard_worker.text.analysis.texts import shown

AUTO = analyzer_of(AnalyzerOptions())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RocksDB", "rocksdb rock db"),
        ("tidb_mem_quota", "tidb_mem_quota tidb | mem | quota"),
        ("Mem_BlockCache", "mem_blockcache mem | blockcach block cach"),
        ("getHTTPResponseCode", "gethttpresponsecod get http respons code"),
        ("GPUs iPhone utf8mb4", "gpus | iphon i phone | utf8mb4"),
        ("__init__", "init"),
        ("user's O'Brien's don't", "user | o'brien o | brien | don't don | t"),
        ("v2.4.1 V3 vector", "v2.4.1 2.4.1 | v3 3 | vector"),
        ("1,024.5 3.14. 10,", "1,024.5 | 3.14 | 10"),
        ("the'\u200d a_\u200d_b", "the | a__b a | b"),
        ("in-memory a.b/c", "in | memori | a | b | c"),
    ],
)
def test_identifiers_are_found_whole_and_in_parts(text: str, words: str) -> None:
    assert shown(AUTO.tokens(text)) == words


def test_spans_of_parts() -> None:
    text = "a tidb_MemQuota"
    assert [(token.word, text[token.start : token.end]) for token in AUTO.tokens(text)[1:]] == [
        ("tidb_memquota", "tidb_MemQuota"), ("tidb", "tidb"), ("memquota", "MemQuota"), ("mem", "Mem"), ("quota", "Quota"),
    ]  # fmt: skip


def test_words_are_cut_off() -> None:
    ((word, *_),) = AUTO.tokens("x" * 1_000)
    assert word == "x" * 128
    assert len(AUTO.tokens("_".join(["ab"] * 500))) == 501


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_cuts, "_MOST_KEPT", 10)
    cuts = WordCuts(language="english", stop_words=frozenset(), own_words=frozenset())
    written = [f"word_{number}" for number in range(35)] + ["z" * 200]
    assert [cuts.listed(each) for each in written] == [(*cuts.cut(each)[:2], cuts.cut(each).advance) for each in written]
    assert 0 < len(cuts._cuts) <= 10
    assert "z" * 200 not in cuts._cuts


def test_a_word_is_cut_alike_whether_it_is_usual_or_not() -> None:
    """Usual words take a shorter way."""
    cuts = WordCuts(language="english", stop_words=frozenset(("the", "it")), own_words=frozenset(("own", "x9")))
    written = ["".join(each) for size in range(1, 6) for each in product("aBv7_s", repeat=size)]
    written += ["Searching", "the", "The", "IT", "own", "X9", "USA", "naïve", "x" * 200, "CD40", "GPUs"]
    single = cuts.single_words(written)
    assert len(single) == len(written)
    told = 0
    for each, word in zip(written, single, strict=True):
        if word is not None:
            assert cuts.cut(each)._replace(spans=()) == Cut((word,), (0,), (), (True,), 1)
            told += 1
    assert told > 500
    usual = ["Searching", "USA", "a7", "v", "x" * 200, "CD40"]
    assert cuts.single_words(usual) == [cuts.cut(each).words[0] for each in usual]
    assert cuts.single_words(["the", "IT", "own", "aB", "v7", "a_b", "naïve", ""]) == [None] * 8


@pytest.mark.parametrize(
    ("language", "text", "word"), [("german", "Häuser", "haus"), ("french", "chevaux", "cheval"), ("russian", "книги", "книг")]
)
def test_stems_of_other_languages(language: str, text: str, word: str) -> None:
    assert analyzer_of(AnalyzerOptions(stem=language)).words(text) == ([word], [0])


def test_every_language_can_be_stemmed() -> None:
    assert set(STEM_LANGUAGES) <= set(Stemmer.algorithms())
