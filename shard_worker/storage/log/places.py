"""Known borders between the records of one log file, so that a read need not start at the file's beginning.

A border is an offset and the end of the chain before it, which is enough to verify the frames from there on. Borders
are sparse. They are noted while the log is appended to, opened and read.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from shoal.core.ids import Seq
from shoal.shard_worker.storage.log.file import ChainEnd, LogFile

SPACING_BYTES = 128 * 1024
"""Least distance between two kept borders. A read walks at most about twice as many bytes before its first record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordBorder:
    """A border between two records. end: of the chain before it; offset: of the next frame in the file."""

    end: ChainEnd
    offset: int


class Places:
    """The known borders of one file, in order. Any thread may add and look up borders."""

    def __init__(self, file: LogFile, more: Iterable[RecordBorder] = ()) -> None:
        self._lock = threading.Lock()
        self._places = [RecordBorder(end=file.before, offset=file.header_bytes)]
        for place in more:
            self.note(place)

    def note(self, place: RecordBorder) -> None:
        """Keep a border, unless another one is known nearby."""
        with self._lock:
            at = bisect_left(self._places, place.offset, key=_offset)
            near_left = at > 0 and place.offset - self._places[at - 1].offset < SPACING_BYTES
            near_right = at < len(self._places) and self._places[at].offset - place.offset < SPACING_BYTES
            if not near_left and not near_right:
                self._places.insert(at, place)

    def before(self, seq: Seq) -> RecordBorder:
        """Return the last known border before the record `seq`, or the file's first border if the record precedes the
        file.
        """
        with self._lock:
            return self._places[max(0, bisect_left(self._places, seq, key=_seq) - 1)]

    def through(self, file: LogFile, seq: Seq) -> Places:
        """Return an independent copy with the borders up to the end of the record `seq`."""
        with self._lock:
            return Places(file, [place for place in self._places if place.end.seq <= seq])


def _offset(place: RecordBorder) -> int:
    return place.offset


def _seq(place: RecordBorder) -> Seq:
    return place.end.seq
