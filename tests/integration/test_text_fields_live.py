"""Test text fields that are added to, changed in and dropped from a live collection of real processes, under load and
with a kill in between: every answer is whole, or refused with n of m.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import TextAsk
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.worker.replica_texts import PointsWithTexts

NAME, DIM, ROWS, STILL = "live", 8, 3_000, 40
WORDS = ("red", "green", "blue", "boxes", "walking", "知识", "检索系统", "RocksDB", "tidb_mem_quota")
ASKS = ("red walks", "检索 知识", "mem quota boxes", "lighthouse green")
ADDED, ADDED_ROWS, BATCH = "added", 4_000, 50
SAID = re.compile(r"\d+ of \d+ segments are ready|not indexed by shard \S+ yet")
"""Of a replica that indexes the field, and of one that learns of it a moment later."""
Payloads = dict[int, dict[str, Any]]


def payload(number: int, version: int = 0) -> dict[str, Any]:
    """Return a payload; the first STILL points hold a word that no other point holds, in every version."""
    words = random.Random(f"{number} {version}").choices(WORDS, k=number % 9)
    note = " ".join((*words, "lighthouse") if number < STILL else words)
    return {"note": [note, "the end"] if number % 5 == 0 else note, "n": number}


def write(client: shoal.Client, payloads: Payloads, numbers: range, version: int = 0) -> None:
    made = [payload(number, version) for number in numbers]
    client.upsert(NAME, list(numbers), np.random.default_rng(version).normal(size=(len(made), DIM)).astype(np.float32), made)
    payloads.update(zip(numbers, made, strict=True))


@contextmanager
def searched(address: str) -> Iterator[dict[str, int]]:
    """Search by text until the context is left, and count whole answers, and calls that found a worker away. Raises the
    error of a wrong answer, and of a refusal that does not say why."""
    counts, refusals, stop = {"whole": 0, "away": 0}, set[str](), threading.Event()

    def search() -> None:
        with shoal.connect(address) as client:
            while not stop.is_set():
                try:
                    hits = client.search(NAME, text="lighthouse", k=2 * STILL)
                except shoal.PreconditionFailed as error:
                    refusals.add(error.message)
                except (shoal.Unavailable, shoal.DeadlineExceeded):
                    counts["away"] += 1
                else:
                    assert sorted(hit.id for hit in hits) == list(range(STILL))
                    counts["whole"] += 1

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(search)
        try:
            yield counts
        finally:
            stop.set()
        running.result()
    assert [each for each in refusals if not SAID.search(each)] == []


def agree(client: shoal.Client, payloads: Payloads, text: dict[str, Any]) -> None:
    """Hits and scores over all shards are those of brute force, to the last bit."""
    expected = PointsWithTexts(text_fields_from_input(text), payloads)
    for ask in ASKS:
        hits = client.search(NAME, text=ask, k=20)
        assert [(hit.id, hit.legs["text"].score) for hit in hits] == expected.search(TextAsk(text=ask), 20)


def is_built(client: shoal.Client) -> bool:
    return client.describe_collection(NAME).builds_pending == 0


def test_text_fields_of_a_live_collection(make_cluster: Callable[..., RoleCluster]) -> None:
    cluster = make_cluster(workers=2)
    payloads: Payloads = {}
    with shoal.connect(cluster.address, timeout=60) as client:
        client.create_collection(NAME, dim=DIM, shards=3, index="hnsw")
        write(client, payloads, range(ROWS))
        client.optimize(NAME)
        write(client, payloads, range(ROWS, ROWS + 100))
        with pytest.raises(shoal.InvalidArgument, match="no text field"):
            client.search(NAME, text="red")

        client.alter_collection(NAME, text={"note": "auto"})
        with searched(cluster.address) as counts:
            for version in range(1, 6):
                write(client, payloads, range(0, ROWS, 50), version)
            gone = range(STILL, 300, 7)
            client.delete(NAME, list(gone))
            for number in gone:
                payloads.pop(number, None)
            wait_until(lambda: is_built(client), "all segments have the new field")
            wait_until(lambda: counts["whole"] > 3, "searches are answered")
        assert counts["away"] == 0
        agree(client, payloads, {"note": "auto"})
        described = client.describe_collection(NAME)
        assert (described.waiting, [field.name for field in described.spec.text]) == ("", ["note"])

        client.alter_collection(NAME, text={"note": "words"})
        with searched(cluster.address) as counts:
            write(client, payloads, range(0, ROWS, 60), 7)
            cluster.workers[0].kill()
            cluster.workers[0].start()
            cluster.wait_ready()
            wait_until(lambda: is_built(client), "all segments have the changed field after a kill")
            wait_until(lambda: counts["whole"] > 3, "searches are answered")
        agree(client, payloads, {"note": "words"})

        client.alter_collection(NAME, text={})
        with pytest.raises(shoal.InvalidArgument, match="no text field"):
            client.search(NAME, text="red")
        assert client.count(NAME) == len(payloads)


class Writer:
    """Writes points with a word of their own until the context ends, and deletes some of them again."""

    def __init__(self, address: str) -> None:
        self._address, self._stop = address, threading.Event()
        self.there: list[int] = []
        """Points whose writes were acknowledged and that stay."""
        self.gone: list[int] = []
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self._failed is None, self._failed

    def _run(self) -> None:
        try:
            with shoal.connect(self._address) as client:
                first = ADDED_ROWS
                while not self._stop.is_set():
                    ids = list(range(first, first + BATCH))
                    write_numbered(client, ids)
                    client.delete(ADDED, ids[:5])
                    self.gone += ids[:5]
                    self.there += ids[5:]
                    first += BATCH
        except shoal.ShoalError as error:
            self._failed = error


def write_numbered(client: shoal.Client, ids: list[int]) -> None:
    client.upsert(ADDED, ids, np.ones((len(ids), DIM)), [{"body": f"p{each} common", "old": each < ADDED_ROWS} for each in ids])


def test_each_search_is_refused_or_whole_while_a_field_is_added(make_cluster: Callable[..., RoleCluster]) -> None:
    address = make_cluster(workers=2).address
    with shoal.connect(address) as client:
        client.create_collection(ADDED, DIM, shards=4, replicas=2)
        for first in range(0, ADDED_ROWS, 500):
            write_numbered(client, list(range(first, first + 500)))
            if first % 1_000 == 0:
                client.optimize(ADDED)
        refused: list[str] = []
        whole = 0
        with Writer(address) as writer:
            wait_until(lambda: bool(writer.gone), "points are written")
            client.alter_collection(ADDED, text={"body": "auto"})
            while whole < 60:
                asked = (writer.there[-1], writer.there[0], whole * 61 % ADDED_ROWS)
                dead = writer.gone[-1]
                try:
                    for point in asked:
                        hits = client.search(ADDED, text=f"p{point}", k=3, consistency="primary")
                        assert [hit.id for hit in hits] == [point]
                    assert client.search(ADDED, text=f"p{dead}", consistency="primary") == []
                    found = client.search(ADDED, text="common", k=1_000, filter={"old": True}, consistency="primary", candidates=1_000)
                    assert len(found) == 1_000
                except shoal.PreconditionFailed as error:
                    refused.append(error.message)
                    continue
                whole += 1
        assert [message for message in refused if not SAID.search(message)] == []
        client.optimize(ADDED)
        assert len(client.search(ADDED, text="common", k=1, consistency="primary")) == 1
