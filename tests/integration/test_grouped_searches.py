"""Searches over many shards go on while points are written, and while workers are killed, frozen and started again:
none fails, and none is wrong.

A search may be answered by any replica in sync, and a replica shows what it has applied of its shard's log (promise 2
in docs/reliability.md). So each answer must be right for a prefix of each shard's log, with at least what the search
may rely on.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pytest

import shoal
from shoal.core.slots import owners_of_slots, slots_of, split_evenly
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.figures import show
from tests.support.scope import LONG

SHARDS, REPLICAS, POINTS, DIM, K, TTL_S = 24, 3, 3_000, 8, 20, 2
BATCHES = 6
AFTER_EACH_FAULT = 30
ROUNDS = [(0, 1), (1, 2), (2, 0)] if LONG else [(0, 1)]
"""Which worker is killed, and then which one is frozen."""

TIMEOUT_S = 30.0

Vectors = npt.NDArray[np.float32]


class Writings:
    """Points that are written once, in batches: each batch is one record in the log of each shard.

    rows: (n, dim), the vector of each id; components are small integers, so distances are exact. begun, acknowledged:
    batches so far; everywhere: batches that every replica has applied.
    """

    def __init__(self, rows: Vectors, shards: int, batches: int) -> None:
        self.rows, ids = rows, np.arange(len(rows), dtype=np.int64)
        self.batches = [part.tolist() for part in np.array_split(ids, batches)]
        self.shard = owners_of_slots([(number, (each,)) for number, each in enumerate(split_evenly(shards))])[slots_of(ids)]
        self.record = np.repeat(np.arange(batches), [len(part) for part in self.batches])
        self.begun = self.acknowledged = self.everywhere = 0
        self._shards = shards

    def may_be(self, found: Sequence[object], query: Vectors, least: int, k: int) -> bool:
        """Return whether these ids are the k nearest in some prefix of each shard's log, ties by id.

        least: batches that every prefix has. Look when the answer is here: a prefix has no batch that has not begun.
        """
        rows, begun = self.rows, self.begun
        known = [each for each in found if isinstance(each, int) and 0 <= each < len(rows)]
        ranks = np.empty(len(rows), dtype=np.int64)
        ranks[np.argsort(((rows - query) ** 2).sum(axis=1), kind="stable")] = np.arange(len(rows))
        if len(known) < len(found) or len(found) > k or not np.all(np.diff(ranks[known]) > 0):
            return False
        shown = np.isin(np.arange(len(rows)), known)
        hidden = ~shown & (ranks < ranks[known[-1]] if len(known) == k else True)
        at_least, at_most = np.full(self._shards, least), np.full(self._shards, begun)
        np.maximum.at(at_least, self.shard[shown], self.record[shown] + 1)
        np.minimum.at(at_most, self.shard[hidden], self.record[hidden])
        return bool(np.all(at_least <= at_most))


def new_writings(points: int = POINTS, shards: int = SHARDS, batches: int = BATCHES) -> Writings:
    return Writings(np.random.default_rng(11).integers(-4, 5, size=(points, DIM)).astype(np.float32), shards, batches)


def has_all_everywhere(client: shoal.Client) -> bool:
    """Return whether every replica has applied what its primary has."""
    return all(
        len(shard.replicas) == REPLICAS and len({each.applied_seq for each in shard.replicas}) == 1 for shard in client.cluster().shards
    )


Reader = Literal["any", "session", "own session", "primary"]


@dataclass
class Searching:
    """What threads that search all the time have seen. writer: the client that writes."""

    address: str
    writer: shoal.Client
    writings: Writings
    done: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def least(self, reader: Reader) -> int:
        """Return how many batches a search that begins now must show. What every replica has applied stays visible: the
        store of a worker that is killed keeps it.
        """
        writings = self.writings
        return writings.acknowledged if reader in ("own session", "primary") else writings.everywhere

    def search(self, reader: Reader) -> None:
        random = np.random.default_rng(len(reader))
        consistency = reader.removeprefix("own ")
        with shoal.connect(self.address, timeout=TIMEOUT_S) as another:
            client = self.writer if reader == "own session" else another
            while not self._ends.is_set():
                queries = random.integers(-4, 5, size=(int(random.integers(1, 4)), DIM)).astype(np.float32)
                least = self.least(reader)
                try:
                    found = client.search_many("a", queries, k=K, exact=True, consistency=consistency)
                except shoal.ShoalError as error:
                    with self._lock:
                        self.failed.append(f"{reader}: {type(error).__name__}: {error}")
                    continue
                ids = [[hit.id for hit in hits] for hits in found]
                right = all(self.writings.may_be(each, query, least, K) for each, query in zip(ids, queries, strict=True))
                payloads = all(hit.payload == {"at": hit.id} for hits in found for hit in hits)
                with self._lock:
                    self.done += 1
                    if not right or not payloads:
                        self.wrong.append(f"{reader}, at least {least} batches: {queries.tolist()}, found {ids}")

    def write(self) -> None:
        """Write all points, a batch after the other."""
        writings = self.writings
        for batch in writings.batches:
            writings.begun += 1
            self.writer.upsert("a", batch, writings.rows[batch], payloads=[{"at": at} for at in batch])
            writings.acknowledged += 1

    @contextmanager
    def going_on(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.search, args=(reader,)) for reader in get_args(Reader)]
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


@pytest.mark.skipif(not LONG, reason="a minute: make test-long; chaos kills and freezes workers under searches, too")
@pytest.mark.timeout(300)
def test_searches_in_groups_survive_killed_and_frozen_workers(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with RoleCluster(tmp_path / "cluster", workers=3, lease_ttl_s=TTL_S) as cluster, shoal.connect(cluster.address, timeout=60) as client:
        writings = new_writings()
        client.create_collection("a", dim=DIM, shards=SHARDS, replicas=REPLICAS)
        cluster.wait_whole(client)
        searching = Searching(cluster.address, client, writings)
        with searching.going_on():
            searching.write()
            wait_until(lambda: has_all_everywhere(client), "every replica has applied all points")
            writings.everywhere = BATCHES
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


def nearest(writings: Writings, query: Vectors, prefixes: Sequence[int]) -> list[int]:
    """Return the k nearest points when each shard has so many batches."""
    there = np.flatnonzero(writings.record < np.array(prefixes)[writings.shard])
    distances = ((writings.rows[there] - query) ** 2).sum(axis=1)
    return there[np.argsort(distances, kind="stable")][:K].tolist()


def test_the_answers_that_are_right_are_those_of_prefixes() -> None:
    random = np.random.default_rng(5)
    writings = new_writings(points=60, shards=3, batches=3)
    writings.begun = 2
    for query in random.integers(-4, 5, size=(6, DIM)).astype(np.float32):
        right = {
            least: {tuple(nearest(writings, query, each)) for each in itertools.product(range(least, 3), repeat=3)} for least in (0, 1, 2)
        }
        ahead = {tuple(nearest(writings, query, each)) for each in itertools.product(range(4), repeat=3)}
        for answer in ahead:
            for changed in (answer, answer[:-1], answer[1:], (*answer[1:], *answer[:1]), (*answer[:-1], *answer[:1])):
                for least, answers in right.items():
                    assert writings.may_be(changed, query, least, K) == (changed in answers), (changed, query, least)
