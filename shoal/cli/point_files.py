"""Read files of points (matrices and .jsonl) as batches of bounded size; the whole file is never in memory.

Errors name the row or line.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from shoal.cli.matrix_files import AnyArray, Matrix, bad, mapped, unreadable
from shoal.core.deep_json import DuplicateKey
from shoal.core.payload import value_from_json
from shoal.core.vector_input import row_from_input

BATCH_BYTES = 32 * 1024 * 1024
"""Most bytes of a batch: vectors in memory, and text read."""
BATCH_POINTS = 65_536


STDIN = Path("-")


@dataclass(frozen=True, kw_only=True)
class PointBatch:
    """Some points of a file.

    ids, vectors, payloads: as an upsert takes them; places: row (from 0) or line (from 1) of each point; total: rows in
    the whole file, estimated if unknown.
    """

    ids: Any
    vectors: AnyArray
    payloads: list[Any] | None
    places: range | list[int]
    total: int


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns of a .jsonl or .parquet file.

    payload: "" for none; then all other columns form the payload.
    """

    id: str = "id"
    vector: str = "vector"
    payload: str = "payload"


def matrix_batches(path: Path, matrix: Matrix, ids: Path | None, payloads: Path | None) -> Iterator[PointBatch]:
    """Yield the rows of a matrix in batches. path: of the matrix, for errors.

    ids: an .npy file of n ids; None: row numbers; payloads: a .jsonl file of n objects or nulls; None: no payloads.
    Raises InvalidArgument that names the first bad row, for a file that is missing, damaged or of another shape.
    """
    count, dim = matrix.shape
    if ids is not None and mapped(ids).ndim != 1:
        raise bad(f"{ids} must hold a list of ids (n,), not an array of shape {mapped(ids).shape}")
    if ids is not None and len(mapped(ids)) != count:
        raise bad(f"{ids} has {len(mapped(ids))} rows, {path} has {count}")
    texts = None if payloads is None else _lines(payloads)
    step = max(1, min(BATCH_POINTS, BATCH_BYTES // (4 * dim)))
    for start in range(0, count, step):
        end = min(start + step, count)
        yield PointBatch(
            ids=np.arange(start, end) if ids is None else np.array(mapped(ids)[start:end]),
            vectors=matrix.read(start, end),
            payloads=None if texts is None or payloads is None else _next_payloads(texts, end - start, payloads, path),
            places=range(start, end),
            total=count,
        )
    if texts is not None and payloads is not None and next(texts, None) is not None:
        raise bad(f"{payloads} has more lines than {path} has rows ({count})")


def jsonl_batches(path: Path, columns: Columns) -> Iterator[PointBatch]:
    """Yield the points of a file with one JSON object a line. Empty lines are skipped. path: STDIN for the standard
    input.

    Raises InvalidArgument that names the first line that is not a point.
    """
    size, seen, rows, name = _size(path), 0, 0, named(path)
    waiting: list[tuple[int, Any, AnyArray, Any]] = []
    held = 0
    for number, text in _lines(path):
        point = _point(text, columns, f"{name} line {number}")
        if waiting and len(point[1]) != len(waiting[0][2]):
            raise bad(f"{name} line {number}: its vector has {len(point[1])} numbers, the one before has {len(waiting[0][2])}")
        waiting.append((number, *point))
        held += len(text) + point[1].nbytes
        seen += len(text)
        if held >= BATCH_BYTES or len(waiting) >= BATCH_POINTS:
            rows += len(waiting)
            yield _batch(waiting, max(rows, rows * size // max(1, seen)))
            waiting, held = [], 0
    if waiting:
        yield _batch(waiting, rows + len(waiting))


def _batch(points: list[tuple[int, Any, AnyArray, Any]], total: int) -> PointBatch:
    places, ids, vectors, payloads = (list(column) for column in zip(*points, strict=True))
    return PointBatch(ids=ids, vectors=np.stack(vectors), payloads=payloads, places=places, total=total)


def _point(text: str, columns: Columns, place: str) -> tuple[Any, AnyArray, Any]:
    given = _object(text, place)
    for column in (columns.id, columns.vector):
        if column not in given:
            raise bad(f"{place} has no column {column!r} (it has: {', '.join(given) or 'none'})")
    point_id, vector = given.pop(columns.id), _vector(given.pop(columns.vector), columns.vector, place)
    if not columns.payload or columns.payload not in given:
        return point_id, vector, given or None
    payload = given.pop(columns.payload)
    if payload is not None and not isinstance(payload, dict):
        raise bad(f"{place}: column {columns.payload!r} must be an object or null, not {type(payload).__name__} (--payload names it)")
    if given:
        other = next(iter(given))
        raise bad(f"{place} has column {other!r} beside {columns.payload!r}: --payload '' takes every other column as payload")
    return point_id, vector, payload


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        given = value_from_json(text)
    except DuplicateKey as error:
        raise bad(f"{place}: {error}") from None
    except ValueError as error:
        raise bad(f"{place} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise bad(f"{place} must be a JSON object, not {type(given).__name__}")
    return given


def _vector(value: Any, column: str, place: str) -> AnyArray:
    try:
        return row_from_input(value).astype(np.float64)
    except ValueError as error:
        raise bad(f"{place}: column {column!r} {error}") from None


def _next_payloads(lines: Iterator[tuple[int, str]], count: int, payloads: Path, path: Path) -> list[Any]:
    taken = []
    for number, text in islice(lines, count):
        place = f"{payloads} line {number}"
        taken.append(None if text.strip() == "null" else _object(text, place))
    if len(taken) < count:
        raise bad(f"{payloads} has fewer lines than {path} has rows")
    return taken


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of each line that is not empty."""
    try:
        file = sys.stdin.buffer if path == STDIN else path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from None
    return _numbered(io.TextIOWrapper(file, encoding="utf-8"), named(path))


def _numbered(file: TextIO, name: str) -> Iterator[tuple[int, str]]:
    number = 0
    with file:
        try:
            for number, line in enumerate(file, 1):
                # Windows programs write a byte order mark at the start of a file. In joined files it stands before
                # other lines, too.
                text = line.removeprefix("\ufeff")
                if text.strip():
                    yield number, text
        except UnicodeDecodeError as error:
            raise bad(f"{name} near line {number + 1} is not UTF-8: {error.reason}") from None
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
