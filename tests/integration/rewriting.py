"""A load on a collection whose vectors never change: points get new versions, and searches judge every answer."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

import shoal
from tests.chaos.book import Book
from tests.chaos.crew import Crew, Gauge, Member

_BATCH = 4
_CALL_S = 30.0
_WRITE_PAUSE_S, _SEARCH_PAUSE_S = 0.5, 0.1
"""Few writes: what a small shard takes in memory follows what was written to it lately, and plans follow that."""


class Rewriting:
    """One writer and one searcher. As a context it runs until the context ends.

    rows: (n, dim) float32, the vectors of points 0 to n - 1, none of them twice. wrong: every wrong answer.
    """

    def __init__(self, addresses: Sequence[str], name: str, rows: npt.NDArray[np.float32]) -> None:
        self._addresses, self._name, self._rows = list(addresses), name, rows
        self._book, self._version = Book(), 0
        self.wrong: list[str] = []
        self._members = [Member(self._write, _WRITE_PAUSE_S), Member(self._search, _SEARCH_PAUSE_S)]
        self._crew = Crew(addresses, self._members)
        self.pause, self.resume, self.all_succeeded_since = self._crew.pause, self._crew.resume, self._crew.all_succeeded_since

    def __enter__(self) -> Rewriting:
        self._crew.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop()

    @property
    def gauges(self) -> list[Gauge]:
        """Return the figures of the writer and of the searcher."""
        return [member.gauge for member in self._members]

    def assert_unharmed(self) -> None:
        """Pause, and check that no call failed, no answer was wrong and every point is as it was written last."""
        self.pause()
        now = time.monotonic()
        with shoal.connect(self._addresses, timeout=_CALL_S) as client:
            points = list(client.scroll(self._name, with_vectors=True, consistency="primary"))
        found = {int(point.id): point for point in points}
        faults = [] if sorted(found) == list(range(len(self._rows))) and len(points) == len(found) else [f"{len(points)} points came"]
        for number, point in found.items():
            faults += self._faults(number, point.payload, now, now)
            faults += [] if np.array_equal(point.vector, self._rows[number]) else [f"point {number} came with another vector"]
        assert (faults, self.wrong, [gauge.messages for gauge in self.gauges]) == ([], [], [[], []])
        assert all(gauge.successes for gauge in self.gauges)

    def _write(self, client: shoal.Client, chance: random.Random) -> None:
        ids = chance.sample(range(len(self._rows)), _BATCH)
        self._version += 1
        ops = self._book.begin(ids, self._version, time.monotonic())
        try:
            client.upsert(self._name, ids, self._rows[ids], [{"version": self._version}] * len(ids), timeout=_CALL_S)
        except shoal.ShoalError:
            self._book.fail(ops, time.monotonic(), surely_not_applied=False)
            raise
        self._book.acknowledge(ops, time.monotonic())

    def _search(self, client: shoal.Client, chance: random.Random) -> None:
        number, asked = chance.randrange(len(self._rows)), time.monotonic()
        hits = client.search(self._name, self._rows[number], k=5, exact=True, consistency="primary", timeout=_CALL_S)
        answered = time.monotonic()
        if len({hit.id for hit in hits}) != 5 or hits[0].id != number:
            self.wrong.append(f"point {number} was searched for, and found were {[hit.id for hit in hits]}")
        else:
            self.wrong += self._faults(number, hits[0].payload, asked, answered)

    def _faults(self, number: int, payload: dict[str, int] | None, asked: float, answered: float) -> list[str]:
        came, possible = (payload or {}).get("version"), self._book.possible(number, asked, answered)
        return [] if came in possible else [f"point {number} came as version {came}, possible were {possible}"]
