"""Full-text engines that `make bench-text` measures beside Shoal, on the same documents and questions, in CPU time.

They are SQLite's FTS5, which Python brings, and tantivy, if it is installed (`make bench-peers`).
"""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

K = 10
BUCKETS = 100

Words = Sequence[str]


class TextPeer(Protocol):
    """An engine that holds documents, the document at position n in bucket n % 100."""

    name: str

    def search(self, words: Words, below: int) -> int:
        """Search for any of the words in the documents of buckets below a number. Return how many hits it finds, at
        most 10."""
        ...


class Fts5:
    """An index of SQLite in memory."""

    name = "FTS5"

    def __init__(self, documents: Sequence[Words]) -> None:
        self._base = sqlite3.connect(":memory:")
        self._base.execute("CREATE VIRTUAL TABLE held USING fts5(body, bucket UNINDEXED)")
        rows = ((at, " ".join(words), at % BUCKETS) for at, words in enumerate(documents))
        self._base.executemany("INSERT INTO held(rowid, body, bucket) VALUES (?, ?, ?)", rows)
        self._base.execute("INSERT INTO held(held) VALUES ('optimize')")

    def search(self, words: Words, below: int) -> int:
        """See TextPeer."""
        condition = "" if below == BUCKETS else f"AND bucket < {below}"
        question = f"SELECT rowid, rank FROM held WHERE held MATCH ? {condition} ORDER BY rank LIMIT {K}"
        return len(self._base.execute(question, (" OR ".join(words),)).fetchall())


class Tantivy:
    """An index of tantivy in memory, merged."""

    name = "tantivy"

    def __init__(self, documents: Sequence[Words]) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("body", stored=False)
        builder.add_integer_field("bucket", stored=False, indexed=True, fast=True)
        self._index: Any = tantivy.Index(builder.build())
        writer = self._index.writer(200_000_000, 1)
        for at, words in enumerate(documents):
            writer.add_document(tantivy.Document(body=" ".join(words), bucket=at % BUCKETS))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher: Any = self._index.searcher()

    def search(self, words: Words, below: int) -> int:
        """See TextPeer."""
        text = " ".join(words) if below == BUCKETS else f"+({' '.join(words)}) +bucket:[0 TO {below - 1}]"
        return len(self._searcher.search(self._index.parse_query(text, ["body"]), K).hits)


def installed_peers() -> tuple[type[Fts5] | type[Tantivy], ...]:
    """Return the engines that can be measured here."""
    return (Fts5, Tantivy) if importlib.util.find_spec("tantivy") else (Fts5,)


def median_ms(peer: TextPeer, questions: Sequence[Words], below: int) -> float:
    """Return the median of the searches, in ms, without the first tenth."""
    times, hits = list[float](), 0
    for number, words in enumerate(questions):
        began = time.thread_time()
        hits += peer.search(words, below)
        if number >= len(questions) // 10:
            times.append((time.thread_time() - began) * 1e3)
    if not hits:
        raise RuntimeError(f"{peer.name} finds nothing")
    return float(np.percentile(times, 50))
