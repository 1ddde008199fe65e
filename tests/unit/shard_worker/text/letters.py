"""A trivial analyzer for tests: words are what spaces separate, positions count them."""

from __future__ import annotations

from collections.abc import Sequence

from shoal.core.text_query import QueryWord
from shoal.shard_worker.text.growing import GrowingTexts
from shoal.shard_worker.text.indexing import IndexedText
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.query import TextQuery
from shoal.shard_worker.text.table import TextTable


def text(words: str) -> IndexedText:
    listed = words.split()
    return IndexedText(listed, range(len(listed)))


def part_of(texts: Sequence[str], batch: int = 1_000) -> TextPart:
    """Return a growing part with one field, `body`."""
    growing = GrowingTexts(["body"], "letters 1")
    for start in range(0, len(texts), batch):
        written = [text(each) for each in texts[start : start + batch]]
        growing.append({"body": written}, len(written))
    return growing.part()


def any_of(words: str) -> TextQuery:
    return TextQuery.of([[(QueryWord("body", word), 1.0)] for word in words.split()])


def content(table: TextTable) -> dict[str, list[object]]:
    """Return everything that a table holds, as plain values."""
    names = ("lengths", "starts", "rows", "counts", "position_starts", "positions", "most", "shortest")
    held: dict[str, list[object]] = {name: getattr(table, name).tolist() for name in names}
    return held | {"words": list(table.words), "sums": [table.tokens, table.filled]}
