"""A progress bar with rows/s on stderr. rich is imported only when a bar is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Progress = Callable[[int, int], None]
"""Told, while an upsert runs, how many points are acknowledged and how many there are. Called by one thread at a time."""


def shown(progress: bool | Progress, title: str, total: int | None) -> AbstractContextManager[Progress | None]:
    """What a caller asked for, as a function to be told of progress, or None. True: a bar."""
    if progress is True:
        return rows_bar(title, total)
    return nullcontext(progress or None)


@contextmanager
def rows_bar(title: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar; yields a function to be told (rows so far, rows in all). total: None when it is not known yet."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Rows per second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} rows/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)

        def moved(rows: int, of: int) -> None:
            bar.update(task, completed=rows, total=of)

        yield moved
