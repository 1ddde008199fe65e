from __future__ import annotations

import pytest

from bench.identifiers import identifiers_of, parts_of, slices_of


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        ("tidb_mem_quota", ["tidb", "mem", "quota"]),
        ("RocksDB", ["rocks", "db"]),
        ("maxReadResultRate", ["max", "read", "result", "rate"]),
        ("HNSW", ["hnsw"]),
        ("HTTPServer2", ["http", "server", "2"]),
    ],
)
def test_parts(identifier: str, parts: list[str]) -> None:
    assert parts_of(identifier) == parts


def test_slices_hold_the_whole_text() -> None:
    assert slices_of(["abcde", "  ", "fg"], 2) == ["ab", "cd", "e", "fg"]


def test_identifiers_that_stand_in_few_slices() -> None:
    common = ["a common_name ."] * 11
    slices = [
        "see tidb_mem_quota and RocksDB, sha256 or x_one.",
        "cut_off, tidb_mem_quota again, a word, cut_Off",
        *common,
        "a path/to_file no-such_one",
    ]
    found = {each.text: (each.words, each.places) for each in identifiers_of(slices)}
    assert found == {"tidb_mem_quota": ("tidb mem quota", (0, 1)), "RocksDB": ("rocks db", (0,))}
    assert identifiers_of(slices) == identifiers_of(slices)
    assert len(identifiers_of(slices, most=1)) == 1
