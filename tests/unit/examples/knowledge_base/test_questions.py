from __future__ import annotations

from examples.knowledge_base.chunks import Chunk
from examples.knowledge_base.questions import WRITTEN, known_items


def chunk(file: str, heading: str) -> Chunk:
    return Chunk(file=file, title=f"title of {file}", heading=heading, offset=0, text="x")


CHUNKS = [
    chunk("a", "Install > With one command"),
    chunk("a", "Install > With one command"),
    chunk("a", "Install > Before you begin"),
    chunk("b", "Before you begin"),
    chunk("b", "Short"),
    chunk("c", ""),
    chunk("d", "如何扩容"),
]


def test_headings_that_occur_once_are_questions() -> None:
    found = {each.text: dict(each.judged) for each in known_items(CHUNKS, 10)}
    assert found == {"With one command": {0: 1.0, 1: 1.0}, "title of c": {5: 1.0}, "如何扩容": {6: 1.0}}


def test_questions_are_bounded_and_the_same_each_time() -> None:
    assert known_items(CHUNKS, 2) == known_items(CHUNKS, 2)
    assert len(known_items(CHUNKS, 2)) == 2
    assert known_items([], 2) == []


def test_each_documentation_has_ten_questions() -> None:
    assert {name: len(set(texts)) for name, texts in WRITTEN.items()} == {"milvus-docs-en": 10, "tidb-docs-zh": 10}
