"""A progress bar with rows/s on stderr. rich is imported only when a bar is drawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

from shoal.core.deadline import Clock
from shoal.core.errors import ErrorDetails, InvalidArgument

Progress = Callable[[int, int], None]
"""Called during an upsert with the number of acknowledged points and the number of all points.

Only one thread calls it at a time.
"""


class Pace:
    """Rows per second since the creation of this object. clock: monotonic, in seconds."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._rows = 0

    def moved(self, rows: int) -> None:
        """Set the number of rows that are done."""
        self._rows = rows

    def text(self) -> str:
        """Return the text to show; "" before any row is done."""
        seconds = self._clock() - self._began
        return f"{self._rows / seconds:,.0f} rows/s" if self._rows and seconds > 0 else ""


class Shown:
    """The progress that a caller asked for. Created when the call begins; drawn once its first state is known."""

    def __init__(self, progress: Any, title: str) -> None:
        """Check `progress`: False, True for a bar, or a function. Raises InvalidArgument for anything else."""
        if progress is not None and not isinstance(progress, bool) and not callable(progress):
            raise InvalidArgument(
                f"progress is {progress!r}, it must be True, False or a function of two integers", ErrorDetails(field="progress")
            )
        self._progress, self._title, self._pace = progress, title, Pace()

    def drawn(self, total: int | None) -> AbstractContextManager[Progress | None]:
        """Return a context with the function to call with progress, or with None. total: points in all; None if
        unknown.
        """
        if self._progress is True:
            return rows_bar(self._title, total, self._pace)
        return nullcontext(cast("Progress", self._progress) if self._progress else None)


@contextmanager
def rows_bar(title: str, total: int | None, pace: Pace) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar. Yields a function that takes (rows so far, rows in all).

    total: None if unknown; pace: created when the work began.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Rows per second."""

        def render(self, task: Task) -> Text:
            return Text(pace.text())

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)

        def moved(rows: int, of: int) -> None:
            pace.moved(rows)
            bar.update(task, completed=rows, total=of)

        yield moved
