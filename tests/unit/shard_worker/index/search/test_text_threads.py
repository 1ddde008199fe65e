"""What threads share in searches of texts: they find what one thread finds, to the last bit, with cold caches and an
interpreter that goes from thread to thread after each few steps.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pytest

from shoal.core.filter import Filter, In
from shoal.core.points import PointId
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextSearchCall
from shoal.core.text_fields import AnalyzerOptions
from shoal.core.text_query import TextAsk
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.text_search import count_words, search_texts
from shoal.shard_worker.text.analysis.script_analyzer import ScriptAnalyzer
from shoal.shard_worker.text.indexing import table_of
from tests.unit.shard_worker.index.search.test_text_search import SHARD, Index

THREADS, ROUNDS, ROWS = 4, 25, 2_000
WORDS = ("alpha", "beta", "alphabet", "gamma", "RocksDB", "tidb_mem", "数据库", "v2.4")

Found = TypeVar("Found")


@pytest.fixture(autouse=True)
def _restless() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def at_once(work: Callable[[], Found]) -> list[Found]:
    """Return what several threads get that begin at the same moment."""
    start = threading.Barrier(THREADS)

    def begun() -> Found:
        start.wait(timeout=30)
        return work()

    with ThreadPoolExecutor(THREADS) as threads:
        return [each.result() for each in [threads.submit(begun) for _ in range(THREADS)]]


def texts(seed: int, count: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(1, 6)).tolist()) for _ in range(count)]


def test_one_segment_searched_by_several_threads() -> None:
    index = Index(texts(1, ROWS // 2))
    index.add(texts(2, ROWS // 2))
    index.kill(range(0, ROWS, 7))
    asks = (
        TextAsk(text="alpha gamma rocks"),
        TextAsk(text="数据库", must=("beta",)),
        TextAsk(text="gamma", must_not=("alpha",)),
        TextAsk(prefix="alpha"),
        TextAsk(phrases=("alpha beta",)),
    )

    def found(filter: Filter | None) -> tuple[list[int], list[PointId], bytes]:
        searched = index.searched()
        call = TextSearchCall(shards=(SHARD,), asks=asks, groups=(QueryGroup(k=50, filter=filter),))
        hits = search_texts(searched, call, count_words(searched, asks)).hits
        return hits.counts.tolist(), hits.ids.tolist(), hits.scores.tobytes()

    def search() -> list[tuple[list[int], list[PointId], bytes]]:
        return [found(In(("label",), (1,))), found(None)]

    expected = search()
    assert all(min(counts) > 20 for counts, _, _ in expected)
    for _ in range(ROUNDS):
        index.hot = HotFilters()
        assert at_once(search) == [expected] * THREADS


def test_one_analyzer_used_by_several_threads() -> None:
    batch = [f"{text} new{number} Part{number}Of_it" for number, text in enumerate(texts(3, 60))]

    def content(analyzer: ScriptAnalyzer) -> tuple[bytes, ...]:
        table = table_of(analyzer.coded(batch))
        arrays = (table.lengths, table.starts, table.rows, table.counts, table.positions)
        return bytes(table.words.blob), *(array.tobytes() for array in arrays)

    expected = content(ScriptAnalyzer(AnalyzerOptions()))
    for _ in range(ROUNDS):
        analyzer = ScriptAnalyzer(AnalyzerOptions())
        assert at_once(lambda: content(analyzer)) == [expected] * THREADS  # noqa: B023
