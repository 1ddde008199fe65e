"""A running load: writers and searchers as threads with clients of their own, judged all the while by the book."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import shoal
from tests.chaos.book import Book
from tests.chaos.written import DIM, judge_hit, judge_point, payload_of, vector_of

COLLECTION = "load"
POINTS_PER_WRITER = 200
WRITE_S, SEARCH_S = 30.0, 15.0
_PAUSE_S = 0.01
_WAIT_S = 60.0


@dataclass
class Gauge:
    """What one thread met since `reset`. longest_s: longest time without a success."""

    since: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0
    successes: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def reset(self) -> None:
        self.since = self.last = time.monotonic()
        self.longest_s, self.successes, self.failures = 0.0, 0, Counter()

    def succeed(self) -> None:
        now = time.monotonic()
        self.longest_s, self.last = max(self.longest_s, now - self.last), now
        self.successes += 1

    def gap_s(self) -> float:
        """Longest time without a success, the present one included."""
        return max(self.longest_s, time.monotonic() - self.last)


class Load:
    """Writers and searchers on one collection. As a context it runs until it is left; `wrong` tells every wrong answer."""

    def __init__(self, addresses: Sequence[str], *, writers: int = 2, searchers: int = 2, shards: int = 4) -> None:
        self.book = Book()
        self.wrong: list[str] = []
        self.writers, self.searchers = [Gauge() for _ in range(writers)], [Gauge() for _ in range(searchers)]
        self._addresses, self._shards = list(addresses), shards
        self._ending, self._running = threading.Event(), threading.Event()
        self._running.set()
        self._broken: list[BaseException] = []
        self._at_rest = [threading.Event() for _ in range(writers + searchers)]
        jobs: list[Callable[[int, shoal.Client, random.Random], None]] = [self._write] * writers + [self._search] * searchers
        self._threads = [threading.Thread(target=self._work, args=(number, job), daemon=True) for number, job in enumerate(jobs)]

    def __enter__(self) -> Load:
        with shoal.connect(self._addresses) as client:
            client.create_collection(COLLECTION, dim=DIM, shards=self._shards)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._running.set()
        for thread in self._threads:
            thread.join(_WAIT_S)

    @property
    def gauges(self) -> list[Gauge]:
        return [*self.writers, *self.searchers]

    def reset(self) -> None:
        """Measure from now on."""
        for gauge in self.gauges:
            gauge.reset()

    def all_succeeded_since(self, moment: float) -> bool:
        """Whether every thread had a success after that moment. Raises what a thread died of."""
        if self._broken:
            raise self._broken[0]
        return all(gauge.last > moment for gauge in self.gauges)

    def pause(self) -> None:
        """Let every call end and begin no other."""
        self._running.clear()
        for rest in self._at_rest:
            assert rest.wait(_WAIT_S), "a call never ended"

    def resume(self) -> None:
        for gauge in self.gauges:
            gauge.last = time.monotonic()
        self._running.set()

    def lost(self) -> list[str]:
        """While paused: what is wrong with the stored points, each read once."""
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

    def _work(self, number: int, job: Callable[[int, shoal.Client, random.Random], None]) -> None:
        gauge, rest, chance = self.gauges[number], self._at_rest[number], random.Random(number)
        with shoal.connect(self._addresses) as client:
            while not self._ending.is_set():
                if not self._running.is_set():
                    rest.set()
                    self._running.wait()
                    rest.clear()
                    continue
                try:
                    job(number, client, chance)
                    gauge.succeed()
                except shoal.ShoalError as error:
                    gauge.failures[type(error).__name__] += 1
                except BaseException as error:
                    self._broken.append(error)
                    raise
                self._ending.wait(_PAUSE_S)
        rest.set()

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

    def _search(self, number: int, client: shoal.Client, chance: random.Random) -> None:
        point = chance.randrange(len(self.writers) * POINTS_PER_WRITER)
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
