from __future__ import annotations

import pytest

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis.analyzer import Token, analyzer_of
from shoal.shard_worker.text.analysis.tokens import prefix_of
from tests.unit.shard_worker.text.analysis.texts import shown

AUTO = analyzer_of(AnalyzerOptions())
CJK = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.CJK))
WORDS = analyzer_of(AnalyzerOptions(kind=AnalyzerKind.WORDS))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Searching the indexes", "search | the | index"),
        ("我在用TiDB 7.5", "我在 我 | 在用 在 | 用 | tidb ti db | 7.5"),
        ("數據庫", "数据 数据库 | 据库 | 库"),
        ("食べ物", "食べ 食 | べ物 | 物"),
        ("ｶﾞｷﾞ", "ガギ | ギ"),
        ("한국어", "한국 | 국어 | 어"),
        ("\u1112\u1161\u11ab", "한"),
        ("ไทย", "ไท | ทย | ย"),
        ("cafe\u0301 caf\u00e9", "café | café"),
        ("हिन्दी", "हिन्दी"),
        ("שָׁלוֹם عربية", "שָׁלוֹם | عربية"),
        ("ＴｉＤＢ ７．５", "tidb ti db | 7 | 5"),
        ("ﬁne x\u00adray ½", "fine | xray | 1⁄2"),
        ("user’s", "user"),
        ("1999，2000", "1999 | 2000"),
        ("😀 \0\ud800 -- ' _", ""),
        ("a\ud800b\0c", "a | b | c"),
        ("", ""),
    ],
)
def test_words_of_auto(text: str, words: str) -> None:
    assert shown(AUTO.tokens(text)) == words


@pytest.mark.parametrize(
    ("text", "cjk", "words"),
    [
        ("向量数据库", "向量 | 量数 | 数据 | 据库 | 库", "向量 | - | 数据 数据库 | 据库"),
        ("Searching 中", "search | 中", "searching | 中"),
        ("かな", "かな | な", "かな"),
    ],
)
def test_words_of_other_kinds(text: str, cjk: str, words: str) -> None:
    assert shown(CJK.tokens(text)) == cjk
    assert shown(WORDS.tokens(text)) == words


def test_spans_are_those_of_the_given_text() -> None:
    text = "cafe\u0301 的ＴｉＤＢ，user’s ﬁle"
    spans = [(token.word, text[token.start : token.end]) for token in AUTO.tokens(text)]
    assert spans == [
        ("café", "cafe\u0301"), ("的", "的"), ("tidb", "ＴｉＤＢ"), ("ti", "Ｔｉ"), ("db", "ＤＢ"), ("user", "user’s"), ("file", "ﬁle"),
    ]  # fmt: skip


def test_words_of_two_characters_count_twice_in_a_question() -> None:
    assert shown(AUTO.query_tokens("向量库")) == "向量 向量 | 量库 | 库"
    assert shown(CJK.query_tokens("向量库")) == "向量 | 量库"


def test_a_lone_han_character_is_a_prefix_in_a_question() -> None:
    (token,) = AUTO.query_tokens("扩 ")
    assert (prefix_of(token.word), token.position, token.start, token.end) == ("扩", 0, 0, 1)
    assert [prefix_of(token.word) for token in AUTO.query_tokens("a 扩 容器")] == [None, "扩", None, None]
    assert prefix_of("扩") is None


def test_a_phrase_depends_on_neither_case_nor_underscores() -> None:
    assert shown(AUTO.phrase_tokens("TiDB mem_quota")) == "tidb | mem | quota"
    assert shown(AUTO.phrase_tokens("tidb mem quota")) == "tidb | mem | quota"


def test_a_character_that_may_be_part_of_a_longer_run_is_not_in_a_phrase() -> None:
    assert shown(AUTO.phrase_tokens("TiDB 库")) == "tidb"
    assert shown(AUTO.phrase_tokens("库 TiDB")) == "库 | tidb"
    assert [prefix_of(token.word) for token in AUTO.phrase_tokens("库")] == ["库"]


def test_traditional_characters_are_folded_or_not() -> None:
    plain = analyzer_of(AnalyzerOptions(fold=False))
    assert AUTO.words("數據庫與圖書館")[0] == AUTO.words("数据库与图书馆")[0]
    assert plain.words("數據")[0] == ["數據", "據"]


def test_stop_words_leave_their_positions() -> None:
    analyzer = analyzer_of(AnalyzerOptions(stop_words=("The", "的", "數據")))
    assert shown(analyzer.tokens("the end of THE index")) == "- | end | of | - | index"
    assert shown(analyzer.tokens("的。数据 a")) == "- | - | 据 | a"
    assert analyzer.query_tokens("the 的") == []
    assert shown(analyzer.tokens("the_end")) == "the_end | end"


def test_own_words_are_neither_cut_nor_stemmed() -> None:
    analyzer = analyzer_of(AnalyzerOptions(own_words=("C++", "RocksDB", "Vector Stores", "向量数据", "T恤")))
    assert (
        shown(analyzer.tokens("c++ rocksdb RocksDB  vector\nstores RocksDBs"))
        == "c++ | rocksdb | rocksdb | vector stores | rocksdb rock dbs"
    )
    assert shown(AUTO.tokens("C++")) == "c"
    # Those without spaces stand beside the other words: where they begin and end is not known.
    assert "向量数据" in [token.word for token in analyzer.tokens("用向量数据库")]
    assert Token("t恤", 0, 0, 2) in analyzer.tokens("T恤")


def test_a_listed_word_of_joiners_only_is_none() -> None:
    analyzer = analyzer_of(AnalyzerOptions(own_words=("\u00ad",), stop_words=("\u200d",)))
    assert analyzer.tokens("Indexes 索引") == AUTO.tokens("Indexes 索引")


def test_the_same_options_share_an_analyzer() -> None:
    assert analyzer_of(AnalyzerOptions(stem="german")) is analyzer_of(AnalyzerOptions(stem="german"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("...", []),
        (" Quanti ", [("quanti\0", 0, 1, 7)]),
        ("Quantization", [("quantization\0", 0, 0, 12), ("quantiz", 0, 0, 12)]),
        ("tidb_mem_", [("tidb_mem_\0", 0, 0, 9)]),
        ("in Mem", [("in", 0, 0, 2), ("mem\0", 1, 3, 6)]),
        ("e\u0301t", [("\u00e9t\0", 0, 0, 3)]),
        ("數據庫", [("数据", 0, 0, 2), ("据库", 1, 1, 3)]),
        ("库", [("库\0", 0, 0, 1)]),
    ],
)
def test_the_beginning_of_a_word(text: str, expected: list[tuple[str, int, int, int]]) -> None:
    assert [tuple(token) for token in analyzer_of(AnalyzerOptions()).prefix_tokens(text)] == expected


def test_the_beginning_of_an_own_word_has_no_stem() -> None:
    analyzer = analyzer_of(AnalyzerOptions(own_words=("running",)))
    assert [token.word for token in analyzer.prefix_tokens("Running")] == ["running\0"]
