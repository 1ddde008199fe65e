"""About how many bytes the records of a log take, from any one to the end. Exact up to a stretch of the log."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from shoal.core.ids import Seq

STRETCH_BYTES = 256 * 1024
"""A new stretch begins after so many bytes. Within a stretch, records count as equally large."""

HEAD_BYTES = 64
"""What a record takes beside its body, about."""


class LogSizes:
    """The sizes of one log. Used by one thread."""

    def __init__(self, stretches: Sequence[tuple[Seq, int]], last_seq: Seq) -> None:
        """stretches: first seq of each stretch and its bytes, ascending; the last one ends with last_seq."""
        self._starts: list[int] = []
        self._before: list[int] = []
        """Bytes of the log before each stretch."""
        self._bytes, self._last = 0, int(last_seq)
        for first, size in stretches:
            if first <= last_seq:
                self._begin(first)
                self._bytes += size

    def append(self, seq: Seq, body_bytes: int) -> None:
        """Add the next record."""
        if not self._starts or self._bytes - self._before[-1] >= STRETCH_BYTES:
            self._begin(seq)
        self._bytes += HEAD_BYTES + body_bytes
        self._last = seq

    def truncate_after(self, seq: Seq) -> None:
        """Forget all records with a higher seq."""
        left = self._bytes - self.bytes_from(Seq(seq + 1))
        kept = bisect_right(self._starts, seq)
        self._starts, self._before = self._starts[:kept], self._before[:kept]
        self._bytes, self._last = left, min(self._last, seq)

    def trimmed(self, through: Seq) -> None:
        """Forget stretches that end at `through` or before."""
        gone = max(0, bisect_right(self._starts, through + 1) - 1)
        self._starts, self._before = self._starts[gone:], self._before[gone:]

    def bytes_from(self, seq: Seq) -> int:
        """Return the bytes of the records from `seq` to the end, as far as they are known."""
        if seq > self._last or not self._starts:
            return 0
        at = max(0, bisect_right(self._starts, seq) - 1)
        is_last = at + 1 == len(self._starts)
        end, after = (self._last + 1, self._bytes) if is_last else (self._starts[at + 1], self._before[at + 1])
        first, size = self._starts[at], after - self._before[at]
        passed = size * max(0, seq - first) // (end - first)
        return self._bytes - self._before[at] - passed

    def _begin(self, seq: int) -> None:
        self._starts.append(seq)
        self._before.append(self._bytes)
