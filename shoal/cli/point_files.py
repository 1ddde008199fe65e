"""Read files of points (matrices and .jsonl) as batches of bounded size; the whole file is never in memory.

Errors name the row or line.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import numpy as np

from shoal.cli import output
from shoal.cli.guessing import Columns, GivenColumns, guessed_columns
from shoal.cli.matrix_files import Matrix, bad, mapped, unreadable
from shoal.cli.read_vectors import Lengths, RowVectors, joined_vectors, taken_vectors
from shoal.client.batch_pipeline import PointBatch
from shoal.core.deep_json import DuplicateKey
from shoal.core.payload import value_from_json

BATCH_BYTES = 32 * 1024 * 1024
"""Most bytes of a batch: vectors in memory, and text read."""
BATCH_POINTS = 65_536
CHUNK_CHARS = 1024 * 1024
"""Characters that are read at once of a file that is not read line by line."""


STDIN = Path("-")
GZIP = ".gz"


def matrix_batches(path: Path, matrix: Matrix, ids: Path | None, payloads: Path | None, using: str = "") -> Iterator[PointBatch]:
    """Yield the rows of a matrix in batches. path: of the matrix, for errors; using: name of the vector that the rows
    are, "" if it has none.

    ids: an .npy file of n ids; None: row numbers; payloads: a .jsonl file of n objects or nulls; None: no payloads.
    Raises InvalidArgument that names the first bad row, for a file that is missing, damaged or of another shape.
    """
    count, dim = matrix.shape
    if ids is not None and mapped(ids).ndim != 1:
        raise bad(f"{ids} must hold a list of ids (n,), not an array of shape {mapped(ids).shape}")
    if ids is not None and len(mapped(ids)) != count:
        raise bad(f"{ids} has {len(mapped(ids))} rows, {path} has {count}")
    texts = None if payloads is None else PayloadFile(payloads, path, count)
    step = max(1, min(BATCH_POINTS, BATCH_BYTES // (4 * dim)))
    for start in range(0, count, step):
        end = min(start + step, count)
        rows = matrix.read(start, end)
        yield PointBatch(
            ids=np.arange(start, end) if ids is None else np.array(mapped(ids)[start:end]),
            vectors={using: rows} if using else rows,
            payloads=None if texts is None else texts.take(end - start),
            places=range(start, end),
            total=count,
        )
    if texts is not None:
        texts.end()


AnyColumns = Columns | GivenColumns
"""Columns as they are, or as the user says them, to be guessed."""

Numbered = tuple[int, int, dict[str, Any]]
"""A line that holds a point: its number from 1, its length, and the values of its columns."""


def jsonl_batches(path: Path, columns: AnyColumns) -> Iterator[PointBatch]:
    """Yield the points of a file with one JSON object a line. Empty lines are skipped. path: STDIN for the standard
    input.

    Raises InvalidArgument that names the first line that is not a point.
    """
    name = named(path)
    return batches_of(path, ((number, len(text), object_of(text, f"{name} line {number}")) for number, text in lines_of(path)), columns)


def batches_of(path: Path, lines: Iterable[Numbered], columns: AnyColumns) -> Iterator[PointBatch]:
    """Yield the points of lines in batches. Raises InvalidArgument that names the first line that is not a point."""
    rest = iter(lines)
    first = next(rest, None)
    if first is not None:
        yield from _batches_of(path, chain([first], rest), settled(columns, first[2], named(path)))


def settled(columns: AnyColumns, first: Mapping[str, Any], name: str) -> Columns:
    """Return the columns of a file, and tell what was guessed. first: its first row. Raises InvalidArgument."""
    if isinstance(columns, Columns):
        return columns
    found, said = guessed_columns(columns, first, name)
    if said:
        output.note(said)
    return found


def _batches_of(path: Path, lines: Iterable[Numbered], columns: Columns) -> Iterator[PointBatch]:
    size, seen, rows, name = _size(path), 0, 0, named(path)
    waiting: list[tuple[int, Any, RowVectors, Any]] = []
    held, lengths = 0, Lengths(columns)
    for number, length, values in lines:
        place = f"{name} line {number}"
        point = _point(values, columns, place)
        lengths.check(point[1], place)
        waiting.append((number, *point))
        held += length + sum(0 if vector is None else vector.nbytes for vector in point[1])
        seen += length
        if held >= BATCH_BYTES or len(waiting) >= BATCH_POINTS:
            rows += len(waiting)
            yield _batch(waiting, columns, max(rows, rows * size // max(1, seen)))
            waiting, held = [], 0
    if waiting:
        yield _batch(waiting, columns, rows + len(waiting))


class PayloadFile:
    """A .jsonl file with an object or null for each row of another file."""

    def __init__(self, path: Path, rows_of: Path, rows: int) -> None:
        """Count the lines of a file that can be read twice, so that nothing is written of an import that cannot end.

        Raises InvalidArgument if they are not as many as the rows.
        """
        self._path, self._rows_of, self._rows = path, rows_of, rows
        lines = sum(1 for _ in lines_of(path)) if path.is_file() else rows
        if lines != rows:
            raise bad(f"{path} has {'fewer' if lines < rows else 'more'} lines than {rows_of} has rows ({rows}): {lines}")
        self._lines = lines_of(path)

    def take(self, count: int) -> list[Any]:
        """Return the next payloads. Raises InvalidArgument that names the line."""
        taken = []
        for number, text in islice(self._lines, count):
            taken.append(None if text.strip() == "null" else object_of(text, f"{self._path} line {number}"))
        if len(taken) < count:
            raise bad(f"{self._path} has fewer lines than {self._rows_of} has rows")
        return taken

    def end(self) -> None:
        """Raise InvalidArgument if there are more lines."""
        if next(self._lines, None) is not None:
            raise bad(f"{self._path} has more lines than {self._rows_of} has rows ({self._rows})")


def _batch(points: list[tuple[int, Any, RowVectors, Any]], columns: Columns, total: int) -> PointBatch:
    places, ids, vectors, payloads = (list(column) for column in zip(*points, strict=True))
    return PointBatch(ids=ids, vectors=joined_vectors(vectors, columns), payloads=payloads, places=places, total=total)


def _point(given: dict[str, Any], columns: Columns, place: str) -> tuple[Any, RowVectors, Any]:
    for column in (columns.id,) if columns.named is not None else (columns.id, columns.vector):
        if column not in given:
            raise bad(f"{place} has no column {column!r} (it has: {', '.join(given) or 'none'})")
    point_id, vectors = given.pop(columns.id), taken_vectors(given, columns, place)
    if not columns.payload or columns.payload not in given:
        return point_id, vectors, given or None
    payload = given.pop(columns.payload)
    if payload is not None and not isinstance(payload, dict):
        raise bad(f"{place}: column {columns.payload!r} must be an object or null, not {type(payload).__name__} (--payload names it)")
    if given:
        other = next(iter(given))
        raise bad(f"{place} has column {other!r} beside {columns.payload!r}: --payload '' takes every other column as payload")
    return point_id, vectors, payload


def object_of(text: str, place: str) -> dict[str, Any]:
    """Return the JSON object of a line. Raises InvalidArgument that names the place."""
    try:
        given = value_from_json(text)
    except DuplicateKey as error:
        raise bad(f"{place}: {error}") from None
    except ValueError as error:
        raise bad(f"{place} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise bad(f"{place} must be a JSON object, not {type(given).__name__}")
    return given


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of each line that is not empty."""
    return ((number, text) for number, text in every_line_of(path) if text.strip())


def every_line_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text with its end) of each line, also of a file that is compressed with gzip."""
    # Windows programs write a byte order mark at the start of a file. In joined files it stands before other lines.
    return ((number, line.removeprefix("\ufeff")) for number, line in enumerate(_read(path, iter), 1))


def chunks_of(path: Path) -> Iterator[str]:
    """Yield the text of a file in pieces, also of a file that is compressed with gzip."""
    pieces = _read(path, lambda file: iter(lambda: file.read(CHUNK_CHARS), ""))
    return (piece.removeprefix("\ufeff") if at == 0 else piece for at, piece in enumerate(pieces))


def _read(path: Path, pieces: Callable[[TextIO], Iterator[str]]) -> Iterator[str]:
    """Open a file at once, and return an iterator over the pieces of its text."""
    try:
        file = sys.stdin.buffer if path == STDIN else path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from None
    plain = gzip.GzipFile(fileobj=file) if path.suffix.lower() == GZIP else file
    return _pieces(io.TextIOWrapper(cast(BinaryIO, plain), encoding="utf-8", newline=""), named(path), file, pieces)


def _pieces(file: TextIO, name: str, opened: BinaryIO, pieces: Callable[[TextIO], Iterator[str]]) -> Iterator[str]:
    lines = 0
    with opened, file:
        try:
            for piece in pieces(file):
                yield piece
                lines += piece.count("\n")
        except UnicodeDecodeError as error:
            raise bad(f"{name} near line {lines + 1} is not UTF-8: {error.reason}") from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise bad(f"{name} near line {lines + 1} is not a whole gzip file: {error}") from None
        except OSError as error:
            raise unreadable(name, error) from None


def _size(path: Path) -> int:
    """Return the size of a file in bytes; 0 for the standard input, whose size is unknown."""
    if path == STDIN:
        return 0
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from None


def named(path: Path) -> str:
    """Return the name of a file for errors."""
    return "stdin" if path == STDIN else str(path)


def first_of(batches: Iterable[PointBatch]) -> tuple[PointBatch, Iterator[PointBatch]]:
    """Return the first batch, and an iterator of all batches. Raises InvalidArgument when there is none."""
    rest = iter(batches)
    first = next(rest, None)
    if first is None:
        raise bad("the file holds no points")
    return first, chain([first], rest)
