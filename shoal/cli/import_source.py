"""The file of an import: its format, its columns, and which vectors of the collection they hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from shoal.cli.csv_files import csv_batches
from shoal.cli.guessing import GivenColumns
from shoal.cli.json_files import json_batches
from shoal.cli.matrix_files import matrix_of
from shoal.cli.npz_files import npz_batches
from shoal.cli.parquet_files import check_readable, parquet_batches, pyarrow_or_refuse
from shoal.cli.point_files import GZIP, STDIN, jsonl_batches, matrix_batches
from shoal.client.batch_pipeline import PointBatch
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.named_vectors import NamedVector

_MATRICES = ("npy", "fvecs", "bvecs")
_TEXTS = {"jsonl": jsonl_batches, "ndjson": jsonl_batches, "json": json_batches, "csv": csv_batches}
_FORMATS = (*_MATRICES, "npz", "parquet", *_TEXTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportSource:
    """What the options of an import say of its file.

    vector_columns: columns of named vectors, "" for none; using: name of the vector that the rows of a matrix are.
    """

    file: Path
    format: str
    columns: GivenColumns
    vector_columns: Mapping[str, str]
    ids: Path | None
    payloads: Path | None
    using: str | None

    def check(self) -> None:
        """Check what needs no cluster. Raises InvalidArgument for options that do not go with the format, for a file
        that cannot be opened, and for a matrix that is cut short; NotInstalled.
        """
        if self.format == "parquet":
            pyarrow_or_refuse()
        if self.file != STDIN:
            check_readable(self.file)
        if self.format in _MATRICES:
            matrix_of(self.file, self.format)
            if self.vector_columns:
                raise _bad(f"--vector-column names a column, a .{self.format} has none: --using names the vector that its rows are")
            return
        if self.using is not None:
            raise _bad(f"--using belongs to matrices ({_dotted(_MATRICES)}): --vector-column NAME=COLUMN names a column of .{self.format}")
        if self.format != "npz" and (self.ids is not None or self.payloads is not None):
            belongs = f"--ids and --payloads belong to matrices ({_dotted(_MATRICES)}, .npz)"
            raise _bad(f"{belongs}; --id and --payload name columns of .{self.format}")

    def dims_of(self, vectors: Sequence[NamedVector] | None, collection: str) -> dict[str, int]:
        """Return the dimension of each named vector that the file may hold; empty for one vector without a name; 0 for
        one that is still to be created.

        vectors: of the collection, None if it is still to be created. Raises InvalidArgument if the options name
        vectors that it does not have, or name none where it has several.
        """
        given = [self.using] if self.using is not None else list(self.vector_columns)
        if vectors is None:
            return dict.fromkeys(given, 0)
        names = ", ".join(each.name for each in vectors)
        if given and not vectors:
            option = "--vector-column" if self.using is None else "--using"
            raise _bad(f"{option} names the vector {given[0]!r}, and collection {collection!r} has one vector without a name")
        if vectors and self.using is not None and self.using not in [each.name for each in vectors]:
            raise _bad(f"--using names the vector {self.using!r}, collection {collection!r} has {names}")
        if vectors and self.columns.vector is not None:
            raise _bad(f"collection {collection!r} has several vectors, {names}: --vector-column NAME=COLUMN names the column of one")
        if vectors and self.format in _MATRICES and self.using is None:
            raise _bad(f"collection {collection!r} has several vectors: --using says which the rows of {self.file} are: {names}")
        return {each.name: each.dim for each in vectors}

    def batches(self, dims: Mapping[str, int]) -> Iterator[PointBatch]:
        """Yield the points of the file. dims: as dims_of returns them. Raises InvalidArgument for a bad file."""
        if self.format in _MATRICES:
            return matrix_batches(self.file, matrix_of(self.file, self.format), self.ids, self.payloads, self.using or "")
        columns = dataclasses.replace(self.columns, dims=dims, vectors=self.vector_columns)
        if self.format == "npz":
            return npz_batches(self.file, columns, self.ids, self.payloads)
        return _TEXTS.get(self.format, parquet_batches)(self.file, columns)


def specified(first: PointBatch, dims: Mapping[str, int]) -> dict[str, Any]:
    """Return dim or vectors of a collection that is to be created for a file. first: its first points.

    Raises InvalidArgument for a vector that none of them has.
    """
    if not dims:
        return {"dim": first.vectors.shape[1]}
    found = {name: next((len(row) for row in first.vectors.get(name, ()) if row is not None), 0) for name in dims}
    absent = next((name for name, dim in found.items() if not dim), None)
    if absent is not None:
        raise _bad(
            f"none of the first {len(first.places)} points has the vector {absent!r}, so its dimension is not known: "
            "create the collection with `shoal collection create`"
        )
    return {"vectors": found}


def format_of(file: Path, given: str | None) -> str:
    """Return the format of a file: as the user says, else by its ending. Raises InvalidArgument."""
    name = given or _ending(file).removeprefix(".")
    if given is None and file.suffix.lower() == GZIP and name not in _TEXTS:
        known = ", ".join(f".{each}.gz" for each in _TEXTS)
        raise InvalidArgument(f"{file}: of compressed files this version imports {known}; uncompress it first")
    if file == STDIN and name not in _TEXTS:
        raise typer.BadParameter("the standard input is CSV or lines of JSON: say --format csv, or say --format jsonl")
    if name in _FORMATS:
        return name
    known = ", ".join(_FORMATS)
    if given is not None:
        raise typer.BadParameter(f"--format is {given!r}, it must be one of {known}")
    ending = _ending(file) or "files without an ending"
    raise InvalidArgument(f"{file}: this version imports {known}, not {ending} (--format says what the file is)")


def _ending(file: Path) -> str:
    """Return the ending that says what a file is: of points.jsonl.gz, .jsonl."""
    return Path(file.stem if file.suffix.lower() == GZIP else file).suffix.lower()


def _dotted(names: Sequence[str]) -> str:
    return ", ".join(f".{each}" for each in names)


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="file"))
