"""Sends batches of points so that both ends stay busy: while batches are under way, the next one is read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoal.client.progress import Progress

BATCHES_AT_ONCE = 2
"""Batches under way at a time: the messages of the second one follow while the last ones of the first are answered."""


@dataclass(frozen=True, kw_only=True)
class PointBatch:
    """Some points of a file, or of a block of a dataset.

    ids, vectors, payloads: as an upsert takes them; places: row (from 0) or line (from 1) of each point; total: rows in
    the whole file, estimated if unknown, 0 if nobody asks.
    """

    ids: Any
    vectors: Any
    payloads: list[Any] | None
    places: range | list[int]
    total: int


@dataclass(frozen=True, slots=True)
class _UnderWay:
    batch: PointBatch
    ended: Future[None]


class BatchPipeline:
    """Writes batches, at most BATCHES_AT_ONCE at a time, in the order of the file as far as it matters.

    A batch that has an id of a batch under way is sent after that one, so that the later point of an id counts. write:
    writes one batch and reports its acknowledged rows; moved: told the rows acknowledged and the rows in all.
    `done` is the number of rows from the start of the file that are written; more may be written beyond them.
    """

    def __init__(self, write: Callable[[PointBatch, Progress], Any], moved: Progress) -> None:
        self.done = 0
        self._write, self._moved = write, moved
        self._under_way: deque[_UnderWay] = deque()
        self._lock, self._acknowledged = threading.Lock(), 0

    def run(self, batches: Iterable[PointBatch]) -> None:
        """Write all batches. After a failure no further batch is begun, those under way end, and the first failed batch
        of the file raises its error.

        If this thread is interrupted, calls under way are left to the caller, who closes the client.
        """
        pool = ThreadPoolExecutor(BATCHES_AT_ONCE, thread_name_prefix="shoal-batch")
        try:
            self._run(batches, pool)
        except Exception:
            self._settle()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, batches: Iterable[PointBatch], pool: ThreadPoolExecutor) -> None:
        for batch in batches:
            while self._under_way and self._must_wait(batch):
                self._take_ended()
            self._under_way.append(_UnderWay(batch, pool.submit(self._written, batch)))
        while self._under_way:
            self._take_ended()

    def _must_wait(self, batch: PointBatch) -> bool:
        """Return whether a batch under way must end first. Raises the error of a batch that has failed."""
        for each in self._under_way:
            if each.ended.done():
                each.ended.result()
        return len(self._under_way) >= BATCHES_AT_ONCE or any(_share_an_id(batch, each.batch) for each in self._under_way)

    def _take_ended(self) -> None:
        """Wait until a batch has ended, and drop the first ones if they are written. Raises the error of the first."""
        wait([each.ended for each in self._under_way], return_when=FIRST_COMPLETED)
        while self._under_way and self._under_way[0].ended.done():
            self._under_way[0].ended.result()
            self.done += len(self._under_way.popleft().batch.places)

    def _settle(self) -> None:
        """Wait for the batches under way; count those before the first failure. Raises the error of this failure."""
        wait([each.ended for each in self._under_way])
        while self._under_way:
            self._under_way[0].ended.result()
            self.done += len(self._under_way.popleft().batch.places)

    def _written(self, batch: PointBatch) -> None:
        acknowledged = 0

        def moved(rows: int, _: int) -> None:
            nonlocal acknowledged
            with self._lock:
                self._acknowledged += rows - acknowledged
                acknowledged = rows
                self._moved(self._acknowledged, max(self._acknowledged, batch.total))

        self._write(batch, moved)
        moved(len(batch.places), len(batch.places))


def _share_an_id(one: PointBatch, other: PointBatch) -> bool:
    if not len(one.ids) or not len(other.ids):
        return False
    if (
        isinstance(one.ids, np.ndarray)
        and isinstance(other.ids, np.ndarray)
        and one.ids.dtype.kind in "iu"
        and other.ids.dtype.kind in "iu"
    ):
        if one.ids.max() < other.ids.min() or other.ids.max() < one.ids.min():
            return False
        return bool(np.isin(one.ids, other.ids).any())
    return not set(_listed(one.ids)).isdisjoint(_listed(other.ids))


def _listed(ids: Any) -> list[Any]:
    """Return ids as hashable values. An id that is none is refused by the write, so any text may stand for it."""
    values = ids.tolist() if isinstance(ids, np.ndarray) else ids
    return [value if isinstance(value, (int, str)) else repr(value) for value in values]
