"""The only file that prints: tables for people, JSON for programs, one-line errors and notes on stderr.

Tables are drawn by rich on a terminal; in a pipe they are aligned text. A failed write to stdout is an error. A failed
write to stderr is ignored, because it cannot be reported anywhere. A character that the encoding of a stream lacks is
written as \\uXXXX, as in JSON.
"""

from __future__ import annotations

import codecs
import errno
import io
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import typer

from shoal.client.progress import Pace, rows_bar
from shoal.core.deep_json import write_json

_CELL_COLUMNS = 100
_ESCAPE = "shoal-escape"
_MARK = "bold yellow"
"""How marked parts of a cell look on a terminal."""


class MarkedCell(str):
    """A cell of a table, of which parts are marked on a terminal. parts: in order, each with whether it is marked."""

    __slots__ = ("parts",)
    parts: tuple[tuple[str, bool], ...]

    @classmethod
    def of(cls, parts: Iterable[tuple[str, bool]]) -> MarkedCell:
        """Return the cell with these parts. Neighbours that are marked alike become one part."""
        alike = tuple(("".join(text for text, _ in each), marked) for marked, each in itertools.groupby(parts, lambda part: part[1]))
        cell = cls("".join(text for text, _ in alike))
        cell.parts = alike
        return cell


class OutputLost(Exception):
    """Stdout cannot be written, for example because the disk is full. Its text: the reason."""


def prepare_streams() -> None:
    """Make stdout and stderr accept every character, whatever their encoding."""
    codecs.register_error(_ESCAPE, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)


def line(text: str) -> None:
    """Print one line of the result."""
    _put(text)


def note(text: str) -> None:
    """Print a line for people on stderr. A failed write is ignored."""
    with suppress(OSError):
        typer.echo(text, err=True)


def error(what: str, next_step: str) -> None:
    """Print the one line that says what went wrong and what to do next."""
    note(f"error: {' '.join(what.split())}; {next_step}")


def document(value: Any) -> None:
    """Print one JSON document."""
    _put(json_text(value))


def array(values: Iterable[Any]) -> None:
    """Print a JSON array, one element a line, as the elements arrive."""
    before = "[\n"
    for value in values:
        _put(before + json_text(value), newline=False)
        before = ",\n"
    _put("[]" if before == "[\n" else "\n]")


def json_text(value: Any) -> str:
    """Return JSON on one line, of any depth. A number that JSON lacks becomes "Infinity", "-Infinity" or "NaN"."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return write_json(value, _spelled)


def _spelled(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        value = json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, cell_columns: int = _CELL_COLUMNS) -> None:
    """Print a table with a heading. cell_columns: wider cells are cut."""
    listed = [[_cell(value, cell_columns) for value in row] for row in rows]
    right = [_is_numbers([row[at] for row in listed]) for at in range(len(columns))]
    if _is_terminal(sys.stdout):
        with _writing():
            _draw(columns, listed, right)
    else:
        _put("\n".join(aligned(columns, listed, right)))


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return the lines of a plain table. right: whether a column is aligned on the right."""
    heading = [name.upper() for name in columns]
    widths = [max(columns_of(row[at]) for row in [heading, *rows]) for at in range(len(columns))]
    return ["  ".join(map(_padded, row, widths, right)).rstrip() for row in [heading, *rows]]


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def beginning(text: Sequence[str], columns: int, start: int = 0) -> int:
    """Return where a text ends that begins at `start` and takes at most so many columns. text: characters."""
    for at in range(start, len(text)):
        columns -= columns_of(text[at])
        if columns < 0:
            return at
    return len(text)


def _padded(cell: str, width: int, flush: bool) -> str:
    room = " " * (width - columns_of(cell))
    return f"{room}{cell}" if flush else f"{cell}{room}"


def sure(question: str) -> bool:
    """Ask the user and return whether the answer is yes. Return False when stdin is closed."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as stopped:
        if isinstance(stopped.__cause__, KeyboardInterrupt):
            raise
        note("")
        return False


@contextmanager
def progress(title: str, total: int | None, pace: Pace) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar if stderr is a terminal. Yields a function that takes (rows so far, rows in all).

    pace: created when the work began.
    """
    if not _is_terminal(sys.stderr):
        yield lambda rows, of: None
        return
    with rows_bar(title, total, pace) as moved:
        yield moved


@contextmanager
def watching() -> Iterator[Callable[[str], None]]:
    """Show on stderr how far a long task is. Yields a function that takes the text to show.

    A terminal shows one line that changes; any other stderr gets a line for each change.
    """
    told = ""

    def note_change(text: str) -> None:
        nonlocal told
        if text != told:
            told = text
            note(text)

    if not _is_terminal(sys.stderr):
        yield note_change
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("") as shown:
        yield lambda text: shown.update(Text(text))


@contextmanager
def following() -> Iterator[Callable[[Sequence[str], Sequence[str]], None]]:
    """Show on stderr how far several tasks are. Yields a function that takes two lists of lines.

    A terminal shows the first ones until the next call. Any other stderr gets the second ones, once for good.
    """
    if not _is_terminal(sys.stderr):

        def note_each(_: Sequence[str], news: Sequence[str]) -> None:
            for text in news:
                note(text)

        yield note_each
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("") as drawn:
        yield lambda now, _: drawn.update(Text("\n".join(now)))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun. plural: if it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: int) -> str:
    """Return a number of bytes as people read it, as in "1.5 MiB"."""
    scaled = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if scaled < 1024:
            return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.1f} {unit}"
        scaled /= 1024
    return f"{scaled:.1f} TiB"


def _put(text: str, *, newline: bool = True) -> None:
    with _writing():
        typer.echo(text, nl=newline)


@contextmanager
def _writing() -> Iterator[None]:
    """Convert errors of writes to stdout within the block.

    Raises OutputLost when stdout cannot be written. Lets BrokenPipeError (EPIPE: the reader has closed the pipe)
    through.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        abandon_stdout()
        raise OutputLost(error.strerror or str(error)) from None


def abandon_stdout() -> None:
    """Send stdout to the null device. Otherwise Python writes the rest of its buffer at exit and fails again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal. stream: None if it was closed before the program began."""
    return stream is not None and bool(stream.isatty())


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for name, flush in zip(columns, right, strict=True):
        drawn.add_column(name, justify="right" if flush else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text.assemble(*_styled(cell)) for cell in row))
    Console().print(drawn)


def _styled(cell: str) -> list[tuple[str, str]]:
    parts = cell.parts if isinstance(cell, MarkedCell) else ((cell, False),)
    return [(text, _MARK if marked else "") for text, marked in parts]


def _cell(value: Any, columns: int) -> str:
    if isinstance(value, MarkedCell):
        return value
    text = value if isinstance(value, str) else "" if value is None else json_text(value) if isinstance(value, dict) else str(value)
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if columns_of(text) <= columns else text[: beginning(text, columns - 1)] + "…"


def _is_numbers(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell]
    try:
        return bool([float(cell) for cell in filled])
    except ValueError:
        return False
