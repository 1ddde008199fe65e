"""A progress bar with rows/s: on stderr, or in the output of a notebook's cell.

rich is imported only when a bar is drawn on stderr, IPython is used only where it runs already.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

from shoal.core.deadline import Clock
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown

Progress = Callable[[int, int], None]
"""Called during an upsert with the number of acknowledged points and the number of all points.

Only one thread calls it at a time.
"""

DRAWN_AGAIN_S = 0.2
"""Seconds between two pictures of a bar in a notebook."""


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

    def __init__(self, progress: Any, verb: str, name: Any) -> None:
        """Check `progress`: False, True for a bar, or a function. name: of the collection, as given and not yet
        checked.

        Raises InvalidArgument for anything else.
        """
        if progress is not None and not isinstance(progress, bool) and not callable(progress):
            raise InvalidArgument(
                f"progress is {shown(progress)}, it must be True, False or a function of two integers", ErrorDetails(field="progress")
            )
        self._title = f"{verb} {name}" if isinstance(name, str) else verb
        self._progress, self._pace = progress, Pace()

    def drawn(self, total: int | None) -> AbstractContextManager[Progress | None]:
        """Return a context with the function to call with progress, or with None. total: points in all; None if
        unknown.
        """
        if self._progress is True:
            draw = notebook_bar if in_notebook() else rows_bar
            return draw(self._title, total, self._pace)
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


def in_notebook() -> bool:
    """Return whether this program is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def notebook_bar(title: str, total: int | None, pace: Pace, clock: Clock = time.monotonic) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar in the output of a cell, as HTML, which needs no widgets. See rows_bar."""
    display: Any = sys.modules["IPython"].display
    shown = display.display(display.HTML(bar_html(title, 0, total, "")), display_id=True)
    drawn_at, rows, all_rows = clock(), 0, total

    def moved(done: int, of: int) -> None:
        nonlocal drawn_at, rows, all_rows
        pace.moved(done)
        rows, all_rows = done, of
        if clock() - drawn_at >= DRAWN_AGAIN_S:
            drawn_at = clock()
            shown.update(display.HTML(bar_html(title, rows, all_rows, pace.text())))

    try:
        yield moved
    finally:
        shown.update(display.HTML(bar_html(title, rows, all_rows, pace.text())))


def bar_html(title: str, rows: int, total: int | None, pace: str) -> str:
    """Return a bar as HTML. total: None if unknown; pace: "" if unknown."""
    bar = "<progress></progress>" if total is None else f'<progress value="{rows}" max="{max(total, 1)}"></progress>'
    told = f"{rows:,}" if total is None else f"{rows:,}/{total:,}"
    return f"<div>{html.escape(title)} {bar} {told}{html.escape(f', {pace}' if pace else '')}</div>"
