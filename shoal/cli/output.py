"""The one file that prints: tables for people, JSON for programs, one-line errors and notes on stderr.

Tables are drawn by rich on a terminal, and are plain aligned text when piped. A stdout that takes no more is an error;
a stderr that takes no more is none: there is nobody left to be told. What the encoding of a stream lacks is written as
\\uXXXX, as in JSON.
"""

from __future__ import annotations

import codecs
import errno
import io
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

_CELL_CHARACTERS = 100
_ESCAPE = "shoal-escape"


class OutputLost(Exception):
    """Stdout takes no more, as on a full disk. Its text: why."""


def prepare_streams() -> None:
    """Make stdout and stderr take every character, whatever their encoding."""
    codecs.register_error(_ESCAPE, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)


def line(text: str) -> None:
    """A line of the result."""
    _put(text)


def note(text: str) -> None:
    """A line for people, beside the result. That nobody can read it ends nothing."""
    with suppress(OSError):
        typer.echo(text, err=True)


def error(what: str, next_step: str) -> None:
    """The one line that says what went wrong and what to do."""
    note(f"error: {' '.join(what.split())}; {next_step}")


def document(value: Any) -> None:
    """One JSON document."""
    _put(json_text(value))


def array(values: Iterable[Any]) -> None:
    """A JSON array, printed element by element, one a line."""
    before = "[\n"
    for value in values:
        _put(before + json_text(value), newline=False)
        before = ",\n"
    _put("[]" if before == "[\n" else "\n]")


def json_text(value: Any) -> str:
    """JSON on one line, however deep. A number that JSON lacks becomes the string "Infinity", "-Infinity" or "NaN"."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return write_json(value, _spelled)


def _spelled(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        value = json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, cell_characters: int = _CELL_CHARACTERS) -> None:
    """A table with a heading. cell_characters: of a cell, what is longer is cut."""
    listed = [[_cell(value, cell_characters) for value in row] for row in rows]
    right = [_is_numbers([row[at] for row in listed]) for at in range(len(columns))]
    if _is_terminal(sys.stdout):
        with _writing():
            _draw(columns, listed, right)
    else:
        _put("\n".join(aligned(columns, listed, right)))


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
    """A progress bar on a terminal, else nothing; yields a function to be told (rows so far, rows in all). pace: begun
    with the work."""
    if not _is_terminal(sys.stderr):
        yield lambda rows, of: None
        return
    with rows_bar(title, total, pace) as moved:
        yield moved


@contextmanager
def watching() -> Iterator[Callable[[str], None]]:
    """Something that takes its time: yields a function to be told how far it is, on stderr, in one line that changes on
    a terminal, else a line for each change."""
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


def _put(text: str, *, newline: bool = True) -> None:
    with _writing():
        typer.echo(text, nl=newline)


@contextmanager
def _writing() -> Iterator[None]:
    """Within, stdout is written.

    Raises OutputLost when it takes no more; a reader that has left (EPIPE) is not that.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        abandon_stdout()
        raise OutputLost(error.strerror or str(error)) from None


def abandon_stdout() -> None:
    """Send what is still to be written nowhere: Python writes it again as it ends, and would complain again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; one that was closed before the program began is None."""
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
