"""Searches over many shards go on while workers are killed, frozen and started again: none fails, and none is wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.figures import show
from tests.support.scope import LONG

SHARDS, REPLICAS, POINTS, DIM, K, TTL_S = 24, 3, 3_000, 8, 20, 2
SEARCHERS, AFTER_EACH_FAULT = 3, 30
ROUNDS = [(0, 1), (1, 2), (2, 0)] if LONG else [(0, 1)]
"""Which worker is killed, and then which one is frozen."""

TIMEOUT_S = 30.0


def vectors() -> np.ndarray:
    return np.random.default_rng(11).integers(-4, 5, size=(POINTS, DIM)).astype(np.float32)


def nearest(rows: np.ndarray, query: np.ndarray) -> list[int]:
    """Ids of the k nearest, ties by id. Components are small integers, so distances are exact."""
    distances = ((rows - query) ** 2).sum(axis=1)
    return np.lexsort((np.arange(len(rows)), distances))[:K].tolist()


def has_all_everywhere(client: shoal.Client) -> bool:
    """Return whether every replica has applied what its primary has. Before that, searches that ask for nothing more
    than "any" or their own writes may see less.
    """
    return all(
        len(shard.replicas) == REPLICAS and len({each.applied_seq for each in shard.replicas}) == 1 for shard in client.cluster().shards
    )


@dataclass
class Searching:
    """What threads that search all the time have seen."""

    address: str
    rows: np.ndarray
    done: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def search(self, number: int) -> None:
        random = np.random.default_rng(number)
        consistency = ("any", "session", "primary")[number % 3]
        with shoal.connect(self.address, timeout=TIMEOUT_S) as client:
            while not self._ends.is_set():
                queries = random.integers(-4, 5, size=(int(random.integers(1, 4)), DIM)).astype(np.float32)
                try:
                    found = client.search_many("a", queries, k=K, exact=True, consistency=consistency)
                except shoal.ShoalError as error:
                    with self._lock:
                        self.failed.append(f"{consistency}: {type(error).__name__}: {error}")
                    continue
                right = all([hit.id for hit in hits] == nearest(self.rows, query) for hits, query in zip(found, queries, strict=True))
                payloads = all(hit.payload == {"at": hit.id} for hits in found for hit in hits)
                with self._lock:
                    self.done += 1
                    if not right or not payloads:
                        self.wrong.append(f"{consistency}: {queries.tolist()}")

    @contextmanager
    def going_on(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.search, args=(number,)) for number in range(SEARCHERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ends.set()
            for thread in threads:
                thread.join()

    def wait_for_more(self) -> None:
        seen = self.done
        wait_until(lambda: self.done >= seen + AFTER_EACH_FAULT, "searches go on")


@pytest.mark.timeout(300)
def test_searches_in_groups_survive_killed_and_frozen_workers(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with RoleCluster(tmp_path / "cluster", workers=3, lease_ttl_s=TTL_S) as cluster, shoal.connect(cluster.address, timeout=60) as client:
        rows = vectors()
        client.create_collection("a", dim=DIM, shards=SHARDS, replicas=REPLICAS)
        client.upsert("a", list(range(POINTS)), rows, payloads=[{"at": at} for at in range(POINTS)])
        cluster.wait_whole(client)
        wait_until(lambda: has_all_everywhere(client), "every replica has applied all points")
        searching = Searching(cluster.address, rows)
        with searching.going_on():
            searching.wait_for_more()
            for killed, frozen in ROUNDS:
                cluster.workers[killed].kill()
                searching.wait_for_more()
                cluster.workers[killed].start()
                cluster.wait_whole(client)
                cluster.workers[frozen].freeze()
                searching.wait_for_more()
                cluster.workers[frozen].thaw()
                cluster.wait_whole(client)
            searching.wait_for_more()
        show(request, f"{searching.done} searches over {SHARDS} shards, {len(searching.failed)} failed, {len(searching.wrong)} wrong")
        assert searching.wrong == []
        assert searching.failed == []
