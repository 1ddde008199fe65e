"""Measures search with filters: on a label that depends on the vectors, and on random parts of 1, 10 and 50 %. Each is
compared with exact search of the same subset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

import shoal
from bench.data import BenchData, recall
from bench.load import run_threads

QUERIES = 200
BUCKETS = 100


@dataclass(frozen=True, kw_only=True)
class Case:
    """One filter to measure. filter: as users write it. matching: (n,) bool, the rows that match."""

    name: str
    filter: dict[str, Any]
    matching: npt.NDArray[np.bool_]


def payloads(data: BenchData) -> list[dict[str, Any]]:
    """Return the payload of every row: its label, and a random bucket."""
    return [{"label": int(label), "bucket": int(bucket)} for label, bucket in zip(data.labels, buckets(len(data.base)), strict=True)]


def buckets(rows: int) -> npt.NDArray[np.int64]:
    """Return (rows,) random numbers below BUCKETS, the same in every run."""
    return np.random.default_rng(7).integers(0, BUCKETS, rows)


def cases(data: BenchData) -> list[Case]:
    """Return the filters to measure."""
    bucket = buckets(len(data.base))
    return [
        Case(name="label = 3 (goes with the vectors)", filter={"label": 3}, matching=data.labels == 3),
        Case(name="five of ten labels", filter={"label": {"$in": [0, 2, 4, 6, 8]}}, matching=data.labels % 2 == 0),
        Case(name="random 1 %", filter={"bucket": 5}, matching=bucket == 5),
        Case(name="random 10 %", filter={"bucket": {"$lt": 10}}, matching=bucket < 10),
        Case(name="random 50 %", filter={"bucket": {"$lt": 50}}, matching=bucket < 50),
    ]


def measure(client: shoal.Client, collection: str, data: BenchData, k: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure each case: queries per second of one client, recall, short answers, and the queries per second of exact
    search over the same rows in this process.
    """
    results: dict[str, Any] = {}
    for case in cases(data):
        say(f"measuring {case.name} for {seconds:.0f} s ...")
        subset = np.flatnonzero(case.matching)
        flat = faiss.IndexFlatL2(data.base.shape[1])
        flat.add(data.base[subset].astype(np.float32))
        queries = data.queries[:QUERIES]
        wide = queries.astype(np.float32)
        truth = subset[flat.search(wide, k)[1]].astype(np.int32)

        def one(at: int, asked: dict[str, Any] = case.filter, queries: Any = queries) -> int:
            client.search(collection, queries[at % len(queries)], k=k, filter=asked, with_payload=False)
            return 1

        def raw(at: int, flat: Any = flat, wide: Any = wide) -> int:
            at %= len(wide)
            return len(flat.search(wide[at : at + 1], k)[0])

        before = _answers(client, collection, queries, k, case.filter)
        ours, beside = run_threads(one, 1, seconds), run_threads(raw, 1, min(seconds, 3.0))
        after = _answers(client, collection, queries, k, case.filter)
        results[case.name] = {
            **asdict(ours),
            "selectivity": len(subset) / len(data.base),
            "raw_qps": beside.qps,
            "ratio": ours.qps / beside.qps,
            "recall": min(recall(before, truth, k), recall(after, truth, k)),
            "short": int((before < 0).any(axis=1).sum() + (after < 0).any(axis=1).sum()),
        }
    return results


def _answers(client: shoal.Client, collection: str, queries: Any, k: int, asked: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Search one query at a time, and return the ids, (n, k); -1 where an answer was short."""
    found = np.full((len(queries), k), -1, dtype=np.int64)
    for at, query in enumerate(queries):
        hits = client.search(collection, query, k=k, filter=asked, with_payload=False)
        found[at, : len(hits)] = [hit.id for hit in hits]
    return found
