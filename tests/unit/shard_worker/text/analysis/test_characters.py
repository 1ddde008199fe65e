from __future__ import annotations

import numpy as np

from shoal.shard_worker.text.analysis.characters import character_tables, codes_of, composed, text_of
from shoal.shard_worker.text.analysis.folding_table import SIMPLIFIED, TRADITIONAL
from tests.house.folding_table import TABLE, pairs_of, source_of

TABLES = character_tables()


def test_what_a_character_is_compared_as_stays_so() -> None:
    for table in (TABLES.folded, TABLES.plain):
        assert np.array_equal(table[table], table)
        assert not ((table >= 0xD800) & (table < 0xE000)).any()


def test_folding_changes_han_characters_only() -> None:
    changed = np.flatnonzero(TABLES.folded != TABLES.plain)
    assert set(TABLES.kinds[TABLES.plain[changed]]) == set(TABLES.kinds[TABLES.folded[changed]]) == {TABLES.kinds[ord("中")]}


def test_nfkc_is_applied_where_one_letter_becomes_one() -> None:
    assert text_of(codes_of("Ａ１ｱ㈱ﬁ，²\u2f00’\ud800", TABLES.folded)) == "A1ア㈱ﬁ，2一' "


def test_composed_says_where_its_characters_were() -> None:
    found = composed("xe\u0301\u1112\u1161\u11ab")
    assert found.starts is not None
    assert found.ends is not None
    assert (found.text, found.starts.tolist(), found.ends.tolist()) == ("x\u00e9\ud55c", [0, 1, 3], [1, 3, 6])
    assert composed("x\u00e9").starts is None


def test_the_folding_table_pairs_characters() -> None:
    assert len(TRADITIONAL) == len(SIMPLIFIED) == len(set(TRADITIONAL)) > 3_000
    assert not set(TRADITIONAL) & set(SIMPLIFIED)
    assert source_of(dict(zip(TRADITIONAL, SIMPLIFIED, strict=True))) == TABLE.read_text(encoding="utf-8")


def test_the_folding_table_takes_first_choices_of_one_character() -> None:
    lines = ["# 中\t国", "乾\t干 乾", "著\t著 着", "髮\t发", "A\tBC", "𠮷\t吉", "甲\t乙", "乙\t丙", "丁\t戊", "戊\t丁", ""]
    assert pairs_of(lines) == {"乾": "干", "髮": "发", "𠮷": "吉", "甲": "丙", "乙": "丙"}
