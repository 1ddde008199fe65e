"""Neighbouring words of a question that may be written as one."""

from __future__ import annotations

import pytest

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.core.text_query import Match, QueryWord, TextAsk
from shoal.shard_worker.text.analysis.analyzer import Analyzer, analyzer_of
from shoal.shard_worker.text.asking import asked_fields, query_of
from shoal.shard_worker.text.joined_words import MOST_JOINED, joined_tokens
from shoal.shard_worker.text.marking import marked_words
from shoal.shard_worker.text.query import MOST_WORDS

AUTO = analyzer_of(AnalyzerOptions())


def joined(text: str, analyzer: Analyzer = AUTO) -> list[str]:
    return [token.word for token in joined_tokens(text, analyzer.query_tokens(text), analyzer)]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("mem quota", ["mem_quota", "memquota"]),
        ("Rocks DB  status", ["rocks_db", "rocksdb", "db_status", "dbstatus"]),
        ("sha 256", ["sha_256", "sha256"]),
        ("256 sha", []),
        ("a graph", []),
        ("mem, quota", []),
        ("mem-quota", []),
        ("tidb_mem_quota query", ["quota_query", "quotaqueri"]),
        ("v2 4.1", []),
        ("quota", []),
        ("", []),
        ("\u6269\u5bb9 tikv node", ["tikv_node", "tikvnod"]),
        ("caf\u00e9 table", []),
        ("don't panic", []),
    ],
)
def test_words_with_only_white_space_between_are_joined(question: str, expected: list[str]) -> None:
    assert joined(question) == expected


def test_each_kind_of_analyzer_joins_as_it_writes_words() -> None:
    assert joined("node labels", analyzer_of(AnalyzerOptions(kind=AnalyzerKind.WORDS))) == ["node_labels", "nodelabels"]
    assert joined("node labels", analyzer_of(AnalyzerOptions(stem="none"))) == ["node_labels", "nodelabels"]
    assert joined("node labels", analyzer_of(AnalyzerOptions(kind=AnalyzerKind.RAW))) == []
    stops = analyzer_of(AnalyzerOptions(stop_words=("of",)))
    assert joined("node of labels", stops) == []


@pytest.mark.parametrize("options", [AnalyzerOptions(), AnalyzerOptions(kind=AnalyzerKind.WORDS), AnalyzerOptions(own_words=("db_stat",))])
def test_a_whole_word_is_what_a_question_with_it_alone_searches_for(options: AnalyzerOptions) -> None:
    analyzer = analyzer_of(options)
    for written in ("mem_quota", "memquota", "rocksdb", "databases", "sha_256", "db_stat", "v2_4", "aa_" * 60 + "b", "b" * 200):
        whole = [token.word for token in analyzer.query_tokens(written) if (token.start, token.end) == (0, len(written))]
        assert whole
        assert analyzer.whole_words(written) == whole


def test_long_questions_are_prose() -> None:
    words = [f"ab{at}" for at in range(MOST_JOINED + 1)]
    assert len(joined(" ".join(words[:-1]))) == 2 * (MOST_JOINED - 1)
    assert joined(" ".join(words)) == []


def test_a_text_that_has_the_identifier_comes_before_those_that_have_its_parts() -> None:
    query = query_of(TextAsk(text="mem quota"), asked_fields(TextAsk(text="mem quota"), {"body": AUTO}))
    whole = set(AUTO.words("set tidb: mem_quota = 1")[0])
    parts = set(AUTO.words("the quota of mem")[0])
    words = {word.text for word in query.boosts}
    assert words & whole > words & parts


def test_they_are_never_required_and_one_of_them_is_enough_beside_must() -> None:
    ask = TextAsk(text="data base", must=("scale",))
    query = query_of(ask, asked_fields(ask, {"body": AUTO}))
    scale, either = query.required
    assert scale.any_of == (QueryWord("body", "scale"),)
    assert {word.text for word in either.any_of if isinstance(word, QueryWord)} == {"data", "base", "data_base", "databas"}
    every = TextAsk(text="data base", match=Match.ALL)
    assert [clause.any_of for clause in query_of(every, asked_fields(every, {"body": AUTO})).required] == [
        (QueryWord("body", "data"),),
        (QueryWord("body", "base"),),
    ]


def test_they_are_left_out_before_a_query_has_too_many_words() -> None:
    fields = {f"f{at:03}": AUTO for at in range(MOST_WORDS // 12)}
    ask = TextAsk(text=" ".join(f"ab{at}" for at in range(12)))
    assert len(query_of(ask, asked_fields(ask, fields)).boosts) == 12 * len(fields)


def test_the_identifier_is_marked_as_a_whole() -> None:
    ask = TextAsk(text="mem quota")
    text = "SET mem_quota and MemQuota, memquota"
    spans = marked_words(ask, asked_fields(ask, {"body": AUTO}))["body"].spans([text])
    assert [text[begin:end] for begin, end in spans] == ["mem_quota", "MemQuota", "memquota"]
