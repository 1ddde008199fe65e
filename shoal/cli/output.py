"""The one file that prints: tables for people, JSON for programs, one-line errors and notes on stderr.

Tables are drawn by rich on a terminal, and are plain aligned text when piped.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import typer

from shoal.client.progress import Pace, rows_bar

_CELL_CHARACTERS = 100


def line(text: str) -> None:
    """A line of the result."""
    typer.echo(text)


def note(text: str) -> None:
    """A line for people, beside the result. That nobody can read it ends nothing."""
    with suppress(OSError):
        typer.echo(text, err=True)


def error(what: str, next_step: str) -> None:
    """The one line that says what went wrong and what to do."""
    with suppress(OSError):
        typer.echo(f"error: {' '.join(what.split())}; {next_step}", err=True)


def document(value: Any) -> None:
    """One JSON document."""
    typer.echo(json_text(value))


def array(values: Iterable[Any]) -> None:
    """A JSON array, printed element by element, one a line."""
    before = "[\n"
    for value in values:
        typer.echo(before + json_text(value), nl=False)
        before = ",\n"
    typer.echo("[]" if before == "[\n" else "\n]")


def json_text(value: Any) -> str:
    """JSON on one line. A number that JSON lacks becomes the string "Infinity", "-Infinity" or "NaN"."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_spelled(value), ensure_ascii=False, allow_nan=False)


def _spelled(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return json.dumps(value)
        case dict():
            return {key: _spelled(each) for key, each in value.items()}
        case list() | tuple():
            return [_spelled(each) for each in value]
        case _:
            return value


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, cell_characters: int = _CELL_CHARACTERS) -> None:
    """A table with a heading. cell_characters: of a cell, what is longer is cut."""
    listed = [[_cell(value, cell_characters) for value in row] for row in rows]
    right = [_is_numbers([row[at] for row in listed]) for at in range(len(columns))]
    if sys.stdout.isatty():
        _draw(columns, listed, right)
    else:
        typer.echo("\n".join(aligned(columns, listed, right)))


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Lines of a plain table; columns marked right are aligned on that side."""
    heading = [name.upper() for name in columns]
    widths = [max(len(row[at]) for row in [heading, *rows]) for at in range(len(columns))]
    return [
        "  ".join(cell.rjust(width) if flush else cell.ljust(width) for cell, width, flush in zip(row, widths, right, strict=True)).rstrip()
        for row in [heading, *rows]
    ]


def sure(question: str) -> bool:
    """Whether the user says yes; no when there is nobody to ask."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as stopped:
        if isinstance(stopped.__cause__, KeyboardInterrupt):
            raise
        note("")
        return False


@contextmanager
def progress(title: str, total: int | None, pace: Pace) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, else nothing; yields a function to be told (rows so far, rows in all). pace: begun with the
    work."""
    if not sys.stderr.isatty():
        yield lambda rows, of: None
        return
    with rows_bar(title, total, pace) as moved:
        yield moved


@contextmanager
def watching() -> Iterator[Callable[[str], None]]:
    """Something that takes its time: yields a function to be told how far it is, on stderr, in one line that changes on a
    terminal, else a line for each change."""
    told = ""

    def note_change(text: str) -> None:
        nonlocal told
        if text != told:
            told = text
            note(text)

    if not sys.stderr.isatty():
        yield note_change
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("") as shown:
        yield lambda text: shown.update(Text(text))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun. plural: unless it ends in s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: int) -> str:
    """Bytes as people read them."""
    scaled = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if scaled < 1024:
            return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}"
        scaled /= 1024
    return f"{scaled:.1f} TiB"


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for name, flush in zip(columns, right, strict=True):
        drawn.add_column(name, justify="right" if flush else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def _cell(value: Any, characters: int) -> str:
    text = value if isinstance(value, str) else "" if value is None else json_text(value) if isinstance(value, dict) else str(value)
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _is_numbers(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    try:
        return bool([float(cell) for cell in filled])
    except ValueError:
        return False
