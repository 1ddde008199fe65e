"""What the words of a text depend on, as one short text: tables that were made with another one are made anew."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from functools import cache

from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions
from shoal.shard_worker.text.analysis import han_words, word_cuts
from shoal.shard_worker.text.analysis.folding_table import SIMPLIFIED, TRADITIONAL

RULES = 1
"""Raised when the rules of this room give other words than before for the same text and options."""


def fingerprint_of(options: AnalyzerOptions) -> str:
    """Return the fingerprint of an analyzer with these options: its options, the rules, versions of libraries used."""
    parts = [f"{options.kind} {RULES}", f"unicode {unicodedata.unidata_version}"]
    if options.kind is not AnalyzerKind.CJK:
        parts.append(han_words.LIBRARY)
    if options.stem_language:
        parts.append(f"{word_cuts.LIBRARY} {options.stem_language}")
    if options.fold:
        parts.append(f"folding {_folding_hash()}")
    for name, words in (("stop", options.stop_words), ("own", options.own_words)):
        if words:
            parts.append(f"{name} {_hash(json.dumps(sorted(set(words))))}")
    return ", ".join(parts)


@cache
def _folding_hash() -> str:
    return _hash(TRADITIONAL + SIMPLIFIED)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
