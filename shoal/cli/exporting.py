"""The command `shoal export`: write the points of a collection into a file that `shoal import` reads back.

The file gets its name when it is whole. Until then it is beside it, with the ending .part, and is removed after an
error.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import IO, Annotated, Any, Protocol

import typer

from shoal.cli import output
from shoal.cli.collection import NameArgument, vectors_of_collection
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.filter_text import FilterOption, filter_of
from shoal.cli.guessing import ID, PAYLOAD, VECTOR, column_of
from shoal.cli.parquet_files import pyarrow_or_refuse
from shoal.cli.point_files import GZIP
from shoal.client.client import Client
from shoal.client.progress import Pace
from shoal.client.results import Point
from shoal.core.errors import InvalidArgument

_BATCH = 1_000
_KNOWN = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".parquet")


class _PointWriter(Protocol):
    """Writes points into an open file."""

    def write(self, points: list[Point]) -> None:
        """Write some points, at least one."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def export(
    ctx: typer.Context,
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".jsonl, .ndjson (these also .gz) or .parquet.")],
    *,
    filters: FilterOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    consistency: Annotated[str, typer.Option(help="any, session or primary.")] = "session",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the points of a collection, or those that match, with their vectors into a file, in the order of ids."""
    started, pace = time.monotonic(), Pace()
    ending = next((each for each in _KNOWN if file.name.lower().endswith(each)), None)
    if ending is None:
        raise InvalidArgument(f"{file}: this version exports {', '.join(_KNOWN)}; the ending of the name says which")
    if file.exists() and not force:
        raise InvalidArgument(f"{file} exists: choose another name, or pass --force to replace it")
    arrow = pyarrow_or_refuse("writing") if ending == ".parquet" else None
    with client_of(ctx, address, timeout) as client:
        matching = filter_of(filters)
        columns = _columns(client, name)
        total = client.count(name, matching, consistency=consistency)
        with _appearing(file) as part, output.progress(f"export {name}", total, pace) as moved:
            writer: _PointWriter = _JsonLines(part, columns, ending.endswith(GZIP)) if arrow is None else _Parquet(arrow, part, columns)
            count = 0
            with closing(writer):
                for points in _read(client, name, matching, consistency):
                    writer.write(points)
                    count += len(points)
                    moved(count, max(count, total))
    seconds = time.monotonic() - started
    if as_json:
        output.document({"collection": name, "points": count, "file": str(file), "seconds": round(seconds, 3)})
    else:
        output.line(f"exported {output.counted(count, 'point')} of {name} into {file} in {seconds:.1f} s")


def _columns(client: Client, name: str) -> dict[str, str]:
    """Return the column of each named vector; that of the vector without a name under ""."""
    return {each.name: column_of(each.name) for each in vectors_of_collection(client, name) or ()} or {"": VECTOR}


def _read(client: Client, name: str, matching: Any, consistency: str) -> Iterator[list[Point]]:
    points = client.scroll(name, matching, _BATCH, with_vectors=True, consistency=consistency)
    while batch := list(islice(points, _BATCH)):
        yield batch


@contextmanager
def _appearing(file: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that has its name only when the block has ended without an error."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(file)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


class _JsonLines:
    """Writes one JSON object a line, with null for a vector that a point lacks."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, str], compressed: bool) -> None:
        self._zipped = gzip.GzipFile(fileobj=file, mode="wb") if compressed else None
        self._columns = columns
        self._file: Any = file if self._zipped is None else self._zipped

    def write(self, points: list[Point]) -> None:
        """Write some points."""
        lines = (json.dumps({ID: point.id, **self._vectors(point), PAYLOAD: point.payload}, ensure_ascii=False) + "\n" for point in points)
        self._file.write("".join(lines).encode("utf-8"))

    def _vectors(self, point: Point) -> dict[str, list[float] | None]:
        return {column: _vector(point, name) for name, column in self._columns.items()}

    def close(self) -> None:
        """End the compressed stream."""
        if self._zipped is not None:
            self._zipped.close()


class _Parquet:
    """Writes columns id (int64 or string), vector (lists of float32) and payload (JSON texts).

    Named vectors have a column each, with null where a point lacks one.
    """

    def __init__(self, arrow: ModuleType, file: IO[bytes], columns: Mapping[str, str]) -> None:
        self._arrow, self._file, self._of_vectors = arrow, file, columns
        self._writer: Any = None
        self._kind: type = int

    def write(self, points: list[Point]) -> None:
        """Write some points. Raises InvalidArgument if ids of both kinds occur: a column has one type."""
        if self._writer is None:
            self._open(type(points[0].id))
        if any(type(point.id) is not self._kind for point in points):
            said = "the collection has ids that are integers and ids that are texts"
            raise InvalidArgument(f"{said}, and a .parquet column has one type: export .jsonl")
        columns = {
            ID: [point.id for point in points],
            **{column: [_vector(point, name) for point in points] for name, column in self._of_vectors.items()},
            PAYLOAD: [None if point.payload is None else json.dumps(point.payload, ensure_ascii=False) for point in points],
        }
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is None:
            self._open(int)
        self._writer.close()

    def _open(self, kind: type) -> None:
        arrow, self._kind = self._arrow, kind
        ids = arrow.int64() if kind is int else arrow.string()
        vectors = [(column, arrow.list_(arrow.float32())) for column in self._of_vectors.values()]
        self._schema = arrow.schema([(ID, ids), *vectors, (PAYLOAD, arrow.string())])
        self._writer = arrow.parquet.ParquetWriter(self._file, self._schema)


def _vector(point: Point, name: str) -> list[float] | None:
    """Return the vector of this name, "" for the one without a name; None if the point lacks it."""
    read: Any = point.vector
    vector = read if not name or read is None else read.get(name)
    numbers: list[float] | None = None if vector is None else vector.tolist()
    return numbers
