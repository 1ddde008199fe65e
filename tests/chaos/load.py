"""A running load: writers and searchers as threads with clients of their own; the book judges every answer."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from functools import partial

import shoal
from tests.chaos.book import Book
from tests.chaos.crew import Crew, Gauge, Member
from tests.chaos.written import DIM, judge_hit, judge_point, payload_of, vector_of

COLLECTION = "load"
POINTS_PER_WRITER = 200
WRITE_S, SEARCH_S = 30.0, 15.0
_PAUSE_S = 0.01


class Load:
    """Writers and searchers on one collection.

    As a context it runs until the context ends; `wrong` returns every wrong answer.
    """

    def __init__(self, addresses: Sequence[str], *, writers: int = 2, searchers: int = 2, shards: int = 4, pauses: float = 1.0) -> None:
        """pauses: multiple of the usual pauses between the calls."""
        self.book = Book()
        self.wrong: list[str] = []
        self._shards = shards
        self._addresses = list(addresses)
        self._writing = [Member(partial(self._write, number), _PAUSE_S * pauses) for number in range(writers)]
        self._searching = [Member(self._search, _PAUSE_S * pauses) for _ in range(searchers)]
        self._crew = Crew(addresses, [*self._writing, *self._searching])
        self.reset, self.pause, self.resume = self._crew.reset, self._crew.pause, self._crew.resume
        self.all_succeeded_since = self._crew.all_succeeded_since

    def __enter__(self) -> Load:
        with shoal.connect(self._addresses) as client:
            client.create_collection(COLLECTION, dim=DIM, shards=self._shards)
        self._crew.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop()

    @property
    def writers(self) -> list[Gauge]:
        return [member.gauge for member in self._writing]

    @property
    def searchers(self) -> list[Gauge]:
        return [member.gauge for member in self._searching]

    @property
    def gauges(self) -> list[Gauge]:
        return [*self.writers, *self.searchers]

    def lost(self) -> list[str]:
        """Return what is wrong with the stored points, each read once. Call it while the load is paused."""
        now = time.monotonic()
        with shoal.connect(self._addresses) as client:
            points = list(client.scroll(COLLECTION, with_vectors=True))
        found = {point.id: point for point in points}
        faults = [] if len(found) == len(points) else ["a point came twice"]
        for each in points:
            fault = judge_point(self.book, each.id, each.payload, each.vector, now, now)
            faults += [] if fault is None else [fault]
        gone = (point for point in self.book.points() if point not in found)
        return faults + [f"point {point} is gone" for point in gone if None not in self.book.possible(point, now, now)]

    def _write(self, number: int, client: shoal.Client, chance: random.Random) -> None:
        own = range(number * POINTS_PER_WRITER, (number + 1) * POINTS_PER_WRITER)
        ids = chance.sample(own, 8)
        version = None if chance.random() < 0.3 else chance.randrange(1, 1 << 20)
        ops = self.book.begin(ids, version, time.monotonic())
        try:
            if version is None:
                client.delete(COLLECTION, ids, timeout=WRITE_S)
            else:
                vectors, payloads = [vector_of(each, version) for each in ids], [payload_of(each, version) for each in ids]
                client.upsert(COLLECTION, ids, vectors, payloads, timeout=WRITE_S)
        except shoal.ShoalError as error:
            applied = set(error.details.applied.values())
            self.book.fail(ops, time.monotonic(), surely_not_applied=applied == {"no"})
            raise
        self.book.acknowledge(ops, time.monotonic())

    def _search(self, client: shoal.Client, chance: random.Random) -> None:
        point = chance.randrange(len(self._writing) * POINTS_PER_WRITER)
        asked = time.monotonic()
        known = sorted(version for version in self.book.possible(point, asked, asked) if version is not None)
        wanted = known[0] if known else 0
        query = vector_of(point, wanted)
        hits = client.search(COLLECTION, query, k=5, exact=chance.random() < 0.5, with_vectors=True, timeout=SEARCH_S)
        answered = time.monotonic()
        for hit in hits:
            fault = judge_hit(self.book, hit.id, hit.payload, hit.vector, hit.score, query, asked, answered)
            self.wrong += [] if fault is None else [fault]
        surely_there = self.book.possible(point, asked, answered) == {wanted}
        if surely_there and (not hits or hits[0].id != point):
            self.wrong.append(f"point {point} of version {wanted} was not found by its own vector")
