"""Decide how many payloads to read at once, so that a read takes a bounded number of bytes. Sizes are known only after
a read."""

from __future__ import annotations

READ_BYTES = 8 * 1024 * 1024
_FIRST_ROWS, _LEAST_ROWS, _MOST_ROWS = 64, 8, 10_000


class ReadPace:
    """Number of rows of the next read, from the sizes of earlier reads.

    The first read is small, and no read is much larger than the last.
    """

    def __init__(self) -> None:
        self.rows = _FIRST_ROWS

    def saw(self, rows: int, size: int) -> None:
        """Learn that a read of `rows` rows returned `size` bytes."""
        if not rows:
            return
        fitting = READ_BYTES * rows // max(1, size)
        self.rows = max(_LEAST_ROWS, min(_MOST_ROWS, fitting, 4 * self.rows))
