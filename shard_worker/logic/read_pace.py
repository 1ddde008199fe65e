"""How many payloads to read at once, when their sizes show only afterwards: a bounded number of bytes, whatever they
are.
"""

from __future__ import annotations

READ_BYTES = 8 * 1024 * 1024
_FIRST_ROWS, _LEAST_ROWS, _MOST_ROWS = 64, 8, 10_000


class ReadPace:
    """Rows of the next read, by the sizes of those before.

    The first is small, and no read is much larger than the last.
    """

    def __init__(self) -> None:
        self.rows = _FIRST_ROWS

    def saw(self, rows: int, size: int) -> None:
        """A read of so many rows brought so many bytes."""
        if not rows:
            return
        fitting = READ_BYTES * rows // max(1, size)
        self.rows = max(_LEAST_ROWS, min(_MOST_ROWS, fitting, 4 * self.rows))
