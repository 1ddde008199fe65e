"""Texts to analyze, and how tokens are shown."""

from __future__ import annotations

from hypothesis import strategies as st

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis.analyzer import Analyzer, Token, analyzer_of

HAN = "中華人民共和国向量数据库如何扩容索引的在丟𠮷々〇"
WORDS = ("the", "users", "RocksDB", "tidb_mem_quota", "HTTPServer", "v2.4.1", "1,024.5", "don't", "user's", "GPUs", "_id", "a__b", "C++")
ODD = (
    "cafe\u0301",
    "ｶﾞ",
    "한국어",
    "\u1112\u1161\u11ab",
    "ภาษาไทย",
    "हिन्दी",
    "שָׁלוֹם",
    "العربية",
    "😀",
    "\u200d",
    "\ud800",
    "\0",
    "ﬁn",
    "İ",
    "ß",
    "½",
    "ＴｉＤＢ",
)
SIGNS = (" ", "\n", "，", "。", "-", ".", "'", "_", ",", "’", "(")

han = st.text(st.sampled_from(HAN), min_size=1, max_size=6)
pieces = st.one_of(han, st.sampled_from(WORDS), st.sampled_from(SIGNS))
plain_texts = st.lists(pieces, max_size=12).map("".join)
"""Of scripts and signs as most texts have them."""

any_texts = st.one_of(
    st.lists(st.one_of(pieces, st.sampled_from(ODD)), max_size=12).map("".join), st.text(st.characters(exclude_categories=()), max_size=20)
)

OPTIONS = (
    AnalyzerOptions(),
    AnalyzerOptions(kind=AnalyzerKind.CJK, stem="none", fold=False),
    AnalyzerOptions(kind=AnalyzerKind.WORDS),
    AnalyzerOptions(kind=AnalyzerKind.RAW),
    AnalyzerOptions(stop_words=("the", "在", "的", "数据"), own_words=("C++", "向量数据库", "mem_quota", "中T")),
)
analyzers: st.SearchStrategy[Analyzer] = st.sampled_from(OPTIONS).map(analyzer_of)


def shown(tokens: list[Token]) -> str:
    """Return the words by position: "a b | c" are two words at one position, and one behind it."""
    places: dict[int, list[str]] = {}
    for token in tokens:
        places.setdefault(token.position, []).append(token.word)
    return " | ".join(" ".join(places.get(at, ["-"])) for at in range(max(places, default=-1) + 1))
