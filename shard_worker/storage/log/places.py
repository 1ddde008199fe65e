"""Known borders between the records of one log file, so that a read need not walk the file from its beginning.

A border is a place and the end of the chain before it: enough to go on verifying from there. Borders are sparse; they
are noted while the log is appended to, opened and read.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from shoal.core.ids import Seq
from shoal.shard_worker.storage.log.file import ChainEnd, LogFile

SPACING_BYTES = 128 * 1024
"""Between two borders that are kept, at least. What a read walks in vain is at most about twice as much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordBorder:
    """end: of the chain before it; offset: where in the file the next frame begins."""

    end: ChainEnd
    offset: int


class Places:
    """Borders of one file, in order. Any thread may note and ask."""

    def __init__(self, file: LogFile, more: Iterable[RecordBorder] = ()) -> None:
        self._lock = threading.Lock()
        self._places = [RecordBorder(end=file.before, offset=file.header_bytes)]
        for place in more:
            self.note(place)

    def note(self, place: RecordBorder) -> None:
        """Keep a border, unless one is known nearby."""
        with self._lock:
            at = bisect_left(self._places, place.offset, key=_offset)
            near_left = at > 0 and place.offset - self._places[at - 1].offset < SPACING_BYTES
            near_right = at < len(self._places) and self._places[at].offset - place.offset < SPACING_BYTES
            if not near_left and not near_right:
                self._places.insert(at, place)

    def before(self, seq: Seq) -> RecordBorder:
        """The last known border that the record `seq` lies behind; the beginning of the file for a record before the
        file.
        """
        with self._lock:
            return self._places[max(0, bisect_left(self._places, seq, key=_seq) - 1)]

    def through(self, file: LogFile, seq: Seq) -> Places:
        """Those up to the end of the record `seq`, apart from these."""
        with self._lock:
            return Places(file, [place for place in self._places if place.end.seq <= seq])


def _offset(place: RecordBorder) -> int:
    return place.offset


def _seq(place: RecordBorder) -> Seq:
    return place.end.seq
