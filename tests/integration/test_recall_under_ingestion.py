"""Test recall while points come in: a loader writes at a steady rate, builds and merges go on, and no 200 searches in a
row are below the promise.

Runs only in the long tests, because it takes as long as the loading: make test-long. The short form is
tests/unit/shard_worker/tuning/test_recall_holds.py.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import shoal
from tests.support.examples.hostile_vectors import queries_of, rows_of
from tests.support.scope import LONG

RATE, SECONDS, BATCH = 600, 90, 150
DIM, K, TARGET, WINDOW = 64, 10, 0.95, 200


class Loader(threading.Thread):
    """Writes RATE points a second for SECONDS."""

    def __init__(self, client: shoal.Client, name: str, rows: np.ndarray) -> None:
        super().__init__()
        self._client, self._name, self._rows = client, name, rows
        self.failure: BaseException | None = None

    def run(self) -> None:
        began = time.monotonic()
        try:
            for start in range(0, len(self._rows), BATCH):
                part = self._rows[start : start + BATCH]
                self._client.upsert(self._name, range(start, start + len(part)), part, [{"even": at % 2 == 0} for at in range(len(part))])
                time.sleep(max(0.0, began + (start + BATCH) / RATE - time.monotonic()))
        except BaseException as error:
            self.failure = error


@pytest.mark.skipif(not LONG, reason="takes 90 seconds for each cell: make test-long")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "metric"), [("gaussian", "l2"), ("uneven", "ip"), ("copies", "cosine")])
def test_recall_holds_while_points_come_in(client, kind, metric):
    name = f"ingest-{metric}"
    rows = rows_of(kind, RATE * SECONDS, DIM, 1)
    client.create_collection(name, dim=DIM, metric=metric, recall=TARGET)
    loader = Loader(client, name, rows)
    loader.start()
    recalls: list[float] = []
    by_index = 0
    while loader.is_alive():
        for number, query in enumerate(queries_of("random" if len(recalls) % 400 < 200 else "rows", rows, 50, len(recalls))):
            chosen = {"filter": {"even": True}} if number % 5 == 0 else {}
            truth = client.search(name, query, k=K, exact=True, with_payload=False, **chosen)
            found = client.search(name, query, k=K, with_payload=False, explain=True, **chosen)
            by_index += any(each.plan.startswith("index") for each in found.explain)
            if len(truth) == K:
                good = [hit.score <= truth[-1].score if metric == "l2" else hit.score >= truth[-1].score for hit in found]
                recalls.append(sum(good[:K]) / K)
    loader.join()
    assert loader.failure is None
    means = np.convolve(recalls, np.full(WINDOW, 1 / WINDOW), mode="valid")
    print(f"{kind} {metric}: {len(recalls)} searches, mean {np.mean(recalls):.4f}, worst window {means.min():.4f}, {by_index} by an index")
    assert means.min() >= TARGET - 0.01
    client.drop_collection(name)
