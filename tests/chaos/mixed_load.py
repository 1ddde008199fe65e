"""All kinds of client calls at once, on replicated collections: writers with points of their own, readers of all
points, and for each shard a probe that records when it took no writes. The book judges every answer.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np

import shoal
from shoal.core.slots import owners_of_slots, slots_of, split_evenly
from tests.chaos.book import Book, Version
from tests.chaos.crew import Crew, Gauge, Member
from tests.chaos.judge import Finding, Kind, Read, judge_hits, judge_points
from tests.chaos.leavers import Leavers
from tests.chaos.named import ONE, OTHER, VECTORS, columns_of, number_of_other, other_of
from tests.chaos.texts import TEXT, judge_scores, judge_word_hits
from tests.chaos.written import DIM, payload_of, vector_of

WRITE_S, READ_S = 60.0, 45.0
"""Seconds after which a call counts as failed: longer than any fault lasts."""

POINTS_PER_WRITER = 120
FIRST_OF_PROBES = 1_000_000
FIRST_OF_OTHERS = 2_000_000
"""The first id of points that do not belong to this load and are not judged."""

_BATCH = 6
_SHARES = (38, 15, 15, 10, 5, 15, 10, 7)
"""Of 115 steps of a writer on a collection with named vectors, those of each kind. Without them, a move is a search."""
_PAUSE_S, _PROBE_PAUSE_S = 0.02, 0.05
_MOST_KEPT = 200

P = TypeVar("P", shoal.Point, shoal.Hit)


@dataclass(frozen=True, kw_only=True)
class Herd:
    """One collection under load, and the known states of its points."""

    name: str
    shards: int
    replicas: int
    min_isr: int | None = None
    book: Book = field(default_factory=lambda: Book(marks=Book()))

    @classmethod
    def named(cls, name: str, *, shards: int, replicas: int) -> Herd:
        """Return a collection with named vectors."""
        return cls(name=name, shards=shards, replicas=replicas, book=Book(marks=Book(), moves=Book()))

    @property
    def is_named(self) -> bool:
        return self.book.moves is not None

    def probes(self) -> list[int]:
        """Return a point in each shard, by shard number."""
        return self._one_in_each(FIRST_OF_PROBES)

    def others(self) -> list[int]:
        """Return a point in each shard that is not judged."""
        return self._one_in_each(FIRST_OF_OTHERS)

    def _one_in_each(self, first: int) -> list[int]:
        ids = np.arange(first, first + 64 * self.shards)
        owners = owners_of_slots(list(enumerate((part,) for part in split_evenly(self.shards))))[slots_of(ids)]
        return [int(ids[np.flatnonzero(owners == number)[0]]) for number in range(self.shards)]


class MixedLoad:
    """As a context it creates the collections and runs until the context ends.

    `findings`: the first faults; `counts`: all of them, by kind.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        herds: Sequence[Herd],
        *,
        writers: int = 2,
        readers: int = 1,
        probes: bool = True,
        leavers: int = 0,
        seed: int = 0,
        pauses: float = 1.0,
    ) -> None:
        """leavers: callers that leave early; they are not counted among the clients. pauses: multiple of the usual
        pauses between the calls.
        """
        self.herds, self.findings = herds, list[Finding]()
        self.counts: Counter[Kind] = Counter()
        self._addresses, self._points = list(addresses), writers * POINTS_PER_WRITER
        self._lock, self._version = threading.Lock(), 0
        self._clients = [Member(partial(self._write_or_read, number), _PAUSE_S * pauses) for number in range(writers)]
        self._clients += [Member(self._read_any, _PAUSE_S * pauses) for _ in range(readers)]
        self._probes = {
            (herd.name, shard): Member(partial(self._probe, herd, point), _PROBE_PAUSE_S * pauses)
            for herd in (herds if probes else ())
            for shard, point in enumerate(herd.probes())
        }
        self.leavers = Leavers(addresses, herds, self._new_version, count=leavers, pauses=pauses)
        self._crew = Crew(addresses, [*self._clients, *self._probes.values(), *self.leavers.members], seed=seed)
        self.pause, self.resume, self.all_succeeded_since = self._crew.pause, self._crew.resume, self._crew.all_succeeded_since

    def __enter__(self) -> MixedLoad:
        with shoal.connect(self._addresses) as client:
            for herd in self.herds:
                vectors: dict[str, Any] = {"vectors": VECTORS} if herd.is_named else {"dim": DIM}
                options = {"shards": herd.shards, "replicas": herd.replicas, "min_isr": herd.min_isr, "text": TEXT}
                client.create_collection(herd.name, **vectors, **options)
        self._crew.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop()

    @property
    def gauges(self) -> list[Gauge]:
        return [member.gauge for member in (*self._clients, *self._probes.values())]

    @property
    def probes(self) -> dict[tuple[str, int], Gauge]:
        """Return the gauge of each shard, which records when the shard took no writes."""
        return {shard: member.gauge for shard, member in self._probes.items()}

    def longest_call_s(self) -> float:
        """Return the longest call of the clients that wait for their answers."""
        return max(gauge.longest_call_s for gauge in self.gauges)

    def failures(self) -> Counter[str]:
        """Return the calls that did not succeed in their time, by error."""
        return sum((gauge.failures for gauge in self.gauges), Counter())

    def messages(self) -> list[str]:
        """Return the messages of the first failures."""
        return [message for gauge in self.gauges for message in gauge.messages]

    def acknowledged(self) -> int:
        """Return the number of acknowledged writes of single points."""
        return sum(herd.book.acknowledged() for herd in self.herds)

    def note(self, findings: Sequence[Finding], where: str) -> None:
        """Count faults and keep the first ones."""
        with self._lock:
            self.counts.update(finding.kind for finding in findings)
            room = max(0, _MOST_KEPT - len(self.findings))
            self.findings += [Finding(finding.kind, f"{where}: {finding.text}") for finding in findings[:room]]

    def judge_all(self) -> None:
        """Judge every point, as the primaries have it. Call it while the load is paused."""
        with shoal.connect(self._addresses, timeout=READ_S) as client:
            for herd in self.herds:
                asked = time.monotonic()
                points = _ours(client.scroll(herd.name, with_vectors=True, consistency="primary"))
                read = Read(asked=asked, answered=time.monotonic(), at_rest=True)
                self.note(judge_points(herd.book, read, herd.book.points(), points), f"{herd.name}, all points at rest")
                self.note(judge_scores(client, herd.name), "texts at rest")

    def _write_or_read(self, number: int, client: shoal.Client, chance: random.Random) -> None:
        herd, own = chance.choice(self.herds), range(number * POINTS_PER_WRITER, (number + 1) * POINTS_PER_WRITER)
        match chance.choices(("upsert", "mark", "move", "delete", "delete by filter", "get", "search", "words"), _SHARES)[0]:
            case "upsert":
                self._upsert(client, herd, chance.sample(own, _BATCH))
            case "mark":
                start = chance.randrange(len(own) - _BATCH)
                self._mark(client, herd, own[start : start + _BATCH], chance)
            case "move" if herd.is_named:
                self._move(client, herd, chance.sample(own, _BATCH))
            case "delete":
                ids = chance.sample(own, _BATCH)
                self._written(herd.book, ids, None, lambda: client.delete(herd.name, ids, timeout=WRITE_S))
            case "delete by filter":
                start = chance.randrange(len(own))
                ids = list(own[start : start + _BATCH])
                matching = {"point": {"$gte": ids[0], "$lte": ids[-1]}}
                self._written(herd.book, ids, None, lambda: client.delete(herd.name, filter=matching, timeout=WRITE_S))
            case "get":
                self._get(client, herd, chance.sample(own, _BATCH), "session")
            case "words":
                self._search_words(client, herd, chance.choice(own), "session")
            case _:
                self._search(client, herd, chance.choice(own), "session")

    def _read_any(self, client: shoal.Client, chance: random.Random) -> None:
        herd, ids = chance.choice(self.herds), chance.sample(range(self._points), _BATCH)
        match chance.choice(("get primary", "search primary", "words primary", "get", "search", "words")):
            case "get primary":
                self._get(client, herd, ids, "primary")
            case "search primary":
                self._search(client, herd, ids[0], "primary")
            case "words primary":
                self._search_words(client, herd, ids[0], "primary")
            case "get":
                self._get(client, herd, ids, "any")
            case "words":
                self._search_words(client, herd, ids[0], "any")
            case _:
                self._search(client, herd, ids[0], "any")

    def _probe(self, herd: Herd, point: int, client: shoal.Client, _: random.Random) -> None:
        self._upsert(client, herd, [point])

    def _upsert(self, client: shoal.Client, herd: Herd, ids: Sequence[int]) -> None:
        version = self._new_version()
        vectors = columns_of(ids, version) if herd.is_named else [vector_of(point, version) for point in ids]
        payloads = [payload_of(point, version) for point in ids]
        self._written(herd.book, ids, version, lambda: client.upsert(herd.name, ids, vectors, payloads, timeout=WRITE_S))

    def _mark(self, client: shoal.Client, herd: Herd, ids: Sequence[int], chance: random.Random) -> None:
        """Change the marks of points: by ids, by a filter, by both, or of none, because the filter matches none."""
        mark, marks = self._new_version(), herd.book.marks
        assert marks is not None
        matching, others = {"point": {"$gte": ids[0], "$lte": ids[-1]}}, {"point": {"$gt": ids[-1]}}
        set_mark = partial(client.set_payload, herd.name, {"mark": mark}, timeout=WRITE_S)
        match chance.choice(("ids", "filter", "both", "none", "remove")):
            case "ids":
                self._written(marks, ids, mark, lambda: set_mark(ids))
            case "filter":
                self._written(marks, ids, mark, lambda: set_mark(filter=matching))
            case "both":
                self._written(marks, ids, mark, lambda: set_mark(ids, matching))
            case "none":
                changed = set_mark(ids, others)
                self.note([Finding(Kind.WRONG, f"{changed} points were changed, none matched")] if changed else [], herd.name)
            case _:
                self._written(marks, ids, None, lambda: client.delete_payload(herd.name, "mark", ids, timeout=WRITE_S))

    def _move(self, client: shoal.Client, herd: Herd, ids: Sequence[int]) -> None:
        """Replace one of the named vectors of points; the others stay."""
        move, moves = self._new_version(), herd.book.moves
        assert moves is not None
        others = {OTHER: [other_of(point, move) for point in ids]}
        self._written(moves, ids, move, lambda: client.update_vectors(herd.name, ids, others, timeout=WRITE_S))

    def _new_version(self) -> int:
        with self._lock:
            self._version += 1
            return self._version

    def _written(self, book: Book, ids: Sequence[int], version: Version, write: Callable[[], int]) -> None:
        ops = book.begin(ids, version, time.monotonic())
        try:
            write()
        except shoal.ShoalError as error:
            applied = set(error.details.applied.values())
            book.fail(ops, time.monotonic(), surely_not_applied=applied == {"no"})
            raise
        book.acknowledge(ops, time.monotonic())

    def _get(self, client: shoal.Client, herd: Herd, ids: Sequence[int], consistency: str) -> None:
        asked = time.monotonic()
        points = client.get(herd.name, ids, consistency=consistency, timeout=READ_S)
        read = Read(asked=asked, answered=time.monotonic(), promised=consistency != "any")
        self.note(judge_points(herd.book, read, ids, points), f"{herd.name}, get, {consistency}")

    def _search(self, client: shoal.Client, herd: Herd, point: int, consistency: str) -> None:
        asked = time.monotonic()
        known = sorted(version for version in herd.book.possible(point, asked, asked) if version is not None)
        wanted = known[0] if known else 0
        moves = herd.book.moves
        move = None if moves is None else max(moves.possible(point, asked, asked), key=lambda each: each or 0)
        number = number_of_other(wanted, move)
        by_other = moves is not None and number is not None and wanted % 4 < 2
        query = other_of(point, number) if by_other and number is not None else vector_of(point, wanted)
        using = None if moves is None else OTHER if by_other else ONE
        options = {"with_vectors": True, "consistency": consistency, "exact": wanted % 2 == 0, "timeout": READ_S, "using": using}
        hits = _ours(client.search(herd.name, query, k=5, **options))
        answered = time.monotonic()
        where = f"{herd.name}, search, {consistency}, {using or ''}"
        read = Read(asked=asked, answered=answered, promised=consistency == "primary")
        self.note(judge_hits(herd.book, read, query, hits, using), where)
        if consistency == "session":
            # The read promises the client its own writes. Of other points it shows any state that a backup has.
            mine = [hit for hit in hits if int(hit.id) == point]
            self.note(judge_hits(herd.book, Read(asked=asked, answered=answered), query, mine, using), where)
        sure = consistency != "any" and herd.book.possible(point, asked, answered) == {wanted}
        if by_other and moves is not None:
            sure = sure and moves.possible(point, asked, answered) == {move}
        if sure and (not hits or hits[0].id != point):
            self.note([Finding(Kind.STALE, f"point {point} of version {wanted} was not found by its own vector")], where)

    def _search_words(self, client: shoal.Client, herd: Herd, point: int, consistency: str) -> None:
        asked = time.monotonic()
        hits = client.search(herd.name, text=f"p{point}", k=5, with_vectors=True, consistency=consistency, timeout=READ_S)
        read = Read(asked=asked, answered=time.monotonic(), promised=consistency != "any")
        self.note(judge_word_hits(herd.book, read, point, hits), f"{herd.name}, search by words, {consistency}")


def _ours(points: Iterable[P]) -> list[P]:
    return [point for point in points if int(point.id) < FIRST_OF_OTHERS]
