from __future__ import annotations

import pytest

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis import fingerprints, han_words
from shoal.shard_worker.text.analysis.analyzer import analyzer_of
from shoal.shard_worker.text.analysis.fingerprints import fingerprint_of

DIFFERENT = [
    AnalyzerOptions(),
    AnalyzerOptions(fold=False),
    AnalyzerOptions(stem="german"),
    AnalyzerOptions(stem="none"),
    AnalyzerOptions(stop_words=("a",)),
    AnalyzerOptions(own_words=("a",)),
    AnalyzerOptions(own_words=("a", "b")),
    *(AnalyzerOptions(kind=kind) for kind in AnalyzerKind if kind is not AnalyzerKind.AUTO),
]


def test_analyzers_that_differ_have_other_fingerprints() -> None:
    assert len({analyzer_of(options).fingerprint for options in DIFFERENT}) == len(DIFFERENT)


def test_what_makes_no_difference_is_not_in_it() -> None:
    assert fingerprint_of(AnalyzerOptions(stem="english")) == fingerprint_of(AnalyzerOptions())
    assert fingerprint_of(AnalyzerOptions(stop_words=("a", "b"))) == fingerprint_of(AnalyzerOptions(stop_words=("b", "a", "b")))


def test_libraries_and_rules_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    auto, cjk = fingerprint_of(AnalyzerOptions()), fingerprint_of(AnalyzerOptions(kind=AnalyzerKind.CJK))
    assert "PyStemmer " in auto
    monkeypatch.setattr(han_words, "LIBRARY", "rjieba 0")
    assert fingerprint_of(AnalyzerOptions()) != auto
    assert fingerprint_of(AnalyzerOptions(kind=AnalyzerKind.CJK)) == cjk
    monkeypatch.setattr(fingerprints, "RULES", fingerprints.RULES + 1)
    assert fingerprint_of(AnalyzerOptions(kind=AnalyzerKind.CJK)) != cjk
