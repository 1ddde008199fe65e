"""The page about text and hybrid search: every call of its tables, and its code, runs and finds what the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import shoal
from shoal import Dense, Text
from tests.support.repository import ROOT

PAGE = (ROOT / "docs/guide/text-search.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## From an old recipe to one call")[2].partition("\n## ")[0]
CALLS = re.findall(r"`(client\.[^`]+)`", TABLE)
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
DIM = 4
QUESTION = "in-memory replica"
PAYLOADS = [
    {"title": "Replica", "body": "An in-memory replica, quantised", "doc": "a", "lang": "en"},
    {"title": "Memory", "body": "replica on a gpu in memory", "doc": "a", "lang": "en"},
    {"title": "Speicher", "body": "in-memory replica", "doc": "b", "lang": "de"},
    {"title": "Backup", "body": "something else", "doc": "c", "lang": "en"},
]
VECTORS = np.random.default_rng(1).normal(size=(len(PAYLOADS), DIM)).astype(np.float32)


@pytest.fixture
def scope(client: shoal.Client) -> Iterator[dict[str, Any]]:
    client.create_collection("kb", DIM, "cosine", text={"title": "auto", "body": "auto"})
    client.upsert("kb", range(len(PAYLOADS)), VECTORS, PAYLOADS)
    names = {"client": client, "Dense": Dense, "Text": Text, "question": QUESTION, "questions": [QUESTION, "backup"]}
    yield names | {"vector": VECTORS[0], "other": VECTORS[0] + 0.1, "vectors": VECTORS[:2]}
    client.drop_collection("kb")


def test_the_calls_of_the_table_find_what_they_say(scope: dict[str, Any]) -> None:
    assert len(CALLS) == 16
    found = {call: eval(call, scope) for call in CALLS}
    for call, hits in found.items():
        ids = [hit.id for hit in (hits[0] if "search_many" in call else hits)]
        assert ids[0] == 0, call
        if "filter=" in call:
            assert 2 not in ids, call
        if "must_not" in call:
            assert 1 not in ids, call
        if "phrases" in call:
            assert 3 not in ids, call
    (lit,) = (hits for call, hits in found.items() if "highlight" in call)
    assert lit[0].highlighted("body") == "An **in**-**memory** **replica**, quantised"
    (grouped,) = (hits for call, hits in found.items() if "group_size" in call)
    assert [hit.group for hit in grouped].count("a") == 2


def test_the_chinese_examples_find_what_they_say(client: shoal.Client) -> None:
    (block,) = [each for each in BLOCKS if "知识" in each]
    texts = ["如何扩容TiKV集群：增加副本集", "数据库的备份", "ＴｉＫＶ 是存储引擎"]
    name = "knowledge-zh"
    lines = block.replace("知识", name).splitlines()
    searches = [line.partition("  #")[0] for line in lines if line.startswith("client.search")]
    setting = "\n".join(line for line in lines if not line.startswith("client.search"))
    scope: dict[str, Any] = {"client": client, "dim": DIM, "vectors": VECTORS[:3], "texts": texts}
    exec(setting, scope)
    try:
        answers = [eval(each, scope) for each in searches]
        assert [[hit.id for hit in hits] for hits in answers] == [[1, 3], [2], [2], [1]]
        assert answers[1][0].highlighted("body", "<", ">") == "<数据库>的备份"
        assert [hit.id for hit in client.search(name, text="副本集")] == [1]
        assert [hit.id for hit in client.search(name, legs=[Text(phrases=["TiKV 集群"])])] == [1]
        assert client.search(name, text="軟體") == []
    finally:
        client.drop_collection(name)
