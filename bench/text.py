"""`make bench-text`: measures text searches in a worker, without a router and a wire, in CPU time of one thread.

Documents of 60 words, drawn by Zipf from 60,000, in one sealed segment and in one that grows; with and without filters,
with dead rows, phrases, prefixes; and other engines on the same documents and questions (bench/text_peers.py).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.text_peers import installed_peers, median_ms
from shoal.core.filter import Filter, Range
from shoal.core.ids import CollectionId, ShardId
from shoal.core.metric import Metric
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextSearchCall
from shoal.core.text_fields import TextField
from shoal.core.text_query import Match, TextAsk
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.sealed import TEXT_SUFFIX
from shoal.shard_worker.index.search.ask import SearchContext
from shoal.shard_worker.index.search.hot_filters import HotFilters
from shoal.shard_worker.index.search.text_search import TextView, count_words, search_texts
from shoal.shard_worker.logic.segments.segment_plan import BuildPlan
from shoal.shard_worker.text.field_texts import FieldTexts, field_texts
from shoal.shard_worker.text.text_file import read_texts

WORDS, DOCUMENT_WORDS, BATCH, K = 60_000, 60, 500, 10
SHARD = ShardId(CollectionId("bench"), 0)

Ask = Callable[[Sequence[str]], TextAsk]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of search.

    ask: makes a query of words of one document; filter: of all of these searches; words: of a search for any of so many
    words, which other engines can be asked for, too; share: percentage of the documents that match the filter.
    """

    name: str
    ask: Ask
    filter: Filter | None = None
    words: int = 0
    share: int = 100


def _text(words: int) -> Ask:
    return lambda document: TextAsk(text=" ".join(document[:words]))


CASES = (
    *(Case(name=f"{words} words", ask=_text(words), words=words) for words in (1, 2, 4, 6, 12)),
    *(
        Case(name=f"6 words, {share} % match", ask=_text(6), filter=Range(("bucket",), lt=share), words=6, share=share)
        for share in (1, 10, 50, 99)
    ),
    Case(name="3 words, all", ask=lambda document: TextAsk(text=" ".join(document[:3]), match=Match.ALL)),
    Case(name="4 words, one must", ask=lambda document: TextAsk(text=" ".join(document[:4]), must=(document[4],))),
    Case(name="phrase of 2 words", ask=lambda document: TextAsk(phrases=(" ".join(document[:2]),))),
    Case(name="prefix", ask=lambda document: TextAsk(prefix=document[0][:6])),
)


class Documents:
    """Random documents: (batch, words) numbers of words, ids ascending."""

    def __init__(self, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        shares = 1.0 / np.arange(1, WORDS + 1)
        self._sums = np.cumsum(shares / shares.sum())

    def drawn(self, count: int) -> list[list[str]]:
        """Return the words of so many documents."""
        numbers = np.searchsorted(self._sums, self._random.random((count, DOCUMENT_WORDS)))
        return [[f"word{number}" for number in row] for row in np.minimum(numbers, WORDS - 1).tolist()]


def grown(rows: int, texts: FieldTexts) -> tuple[ReplicaIndex, float]:
    """Return an index in which so many rows grow, and the seconds that it took to index them."""
    index = ReplicaIndex(dim=1, metric=Metric.L2, index="flat", growing_rows=rows + 1, texts=texts)
    documents, taken = Documents(), 0.0
    for start in range(0, rows, BATCH):
        at = np.arange(start, min(rows, start + BATCH), dtype=np.int64)
        payloads = [
            json.dumps({"body": " ".join(words), "bucket": row % 100}).encode()
            for row, words in zip(at.tolist(), documents.drawn(len(at)), strict=True)
        ]
        began = time.thread_time()
        index.apply(start + 1, np.empty(0, dtype=np.int64), at, at, np.ones((len(at), 1), dtype=np.float32), payloads)
        index.publish(start + 1)
        taken += time.thread_time() - began
    return index, taken


def seal(index: ReplicaIndex, folder: Path, texts: FieldTexts) -> float:
    """Seal all rows, with their texts in a file, and return the seconds that it took."""
    began = time.thread_time()
    index.freeze()
    (summary,) = index.summary()
    job = index.begin_build(BuildPlan(base=None, sources=(summary.key,)))
    sealed = job.run(bool)
    if sealed is None:
        raise RuntimeError("the build was stopped")
    path = folder / f"rows{TEXT_SUFFIX}"
    sealed.files()[TEXT_SUFFIX](path)
    sealed.hold_texts(read_texts(path, texts.fingerprint))
    index.swap(job, sealed, "bench")
    index.publish(index.view().seq)
    return time.thread_time() - began


def kill(index: ReplicaIndex, rows: int, share: int) -> None:
    """Let each `share`-th row die."""
    seq = index.view().seq + 1
    none = np.empty(0, dtype=np.int64)
    index.apply(seq, np.arange(0, rows, share, dtype=np.int64), none, none, np.empty((0, 1), dtype=np.float32), None)
    index.publish(seq)


def measure(index: ReplicaIndex, cases: Sequence[Case], queries: int) -> dict[str, tuple[float, float]]:
    """Return the median and the 95th percentile, in ms, of a count and a search of the view, for each case."""
    context = SearchContext(hot=HotFilters(), read_payloads=lambda rows: None, clock=time.perf_counter)
    searched = TextView(SHARD, index.view(), context)
    documents = Documents(seed=2).drawn(queries)
    return {case.name: _measured(searched, case, documents) for case in cases}


def _measured(searched: TextView, case: Case, documents: Sequence[list[str]]) -> tuple[float, float]:
    times: list[float] = []
    for number, words in enumerate(documents):
        call = TextSearchCall(shards=(SHARD,), asks=(case.ask(words),), groups=(QueryGroup(k=K, filter=case.filter),))
        began = time.thread_time()
        search_texts(searched, call, count_words(searched, call.asks))
        if number >= len(documents) // 10:
            times.append((time.thread_time() - began) * 1e3)
    return float(np.percentile(times, 50)), float(np.percentile(times, 95))


def beside(rows: int, queries: int, sealed: dict[str, tuple[float, float]]) -> Table:
    """Return a table of the medians of other engines, in ms, and how many times as long as Shoal they take.

    sealed: what was measured of a sealed segment of so many rows.
    """
    documents, questions = Documents(), Documents(seed=2).drawn(queries)
    held = [words for start in range(0, rows, BATCH) for words in documents.drawn(min(BATCH, rows - start))]
    peers = [kind(held) for kind in installed_peers()]
    table = Table("p50 in ms", "Shoal", *(heading for peer in peers for heading in (peer.name, "ratio")))
    for case in CASES:
        if case.words:
            own = sealed[case.name][0]
            theirs = [median_ms(peer, [words[: case.words] for words in questions], case.share) for peer in peers]
            table.add_row(case.name, f"{own:.2f}", *(text for found in theirs for text in (f"{found:.2f}", f"{found / own:.1f}")))
    return table


def main() -> int:
    """Measure and print a table. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.text", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="documents (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=200, help="searches of each kind (default: %(default)s)")
    options = parser.parse_args()
    texts, console = field_texts((TextField(name="body"),)), Console()
    with tempfile.TemporaryDirectory(prefix="shoal-text-") as folder:
        few = min(10_000, options.rows)
        growing, _ = grown(few, texts)
        columns = {f"{few:,} grow": measure(growing, CASES, options.queries)}
        index, taken = grown(options.rows, texts)
        console.print(f"{options.rows:,} documents indexed, {options.rows / taken:,.0f}/s")
        console.print(f"sealed in {seal(index, Path(folder), texts):.1f} s")
        columns[f"{options.rows:,} sealed"] = sealed = measure(index, CASES, options.queries)
        kill(index, options.rows, 10)
        columns["10 % dead"] = measure(index, CASES, options.queries)
    table = Table("p50 / p95 in ms", *columns)
    for case in CASES:
        table.add_row(case.name, *(f"{found[case.name][0]:.2f} / {found[case.name][1]:.2f}" for found in columns.values()))
    console.print(table)
    console.print(beside(options.rows, options.queries, sealed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
