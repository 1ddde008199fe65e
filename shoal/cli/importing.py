"""The command `shoal import`: write the points of a file into a collection, in batches of bounded size.

It is safe to run it again: points whose ids exist are replaced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.collection import MetricOption, ShardsOption
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.csv_files import csv_batches
from shoal.cli.guessing import GivenColumns
from shoal.cli.json_files import json_batches
from shoal.cli.matrix_files import matrix_of
from shoal.cli.parquet_files import parquet_batches
from shoal.cli.point_files import GZIP, STDIN, first_of, jsonl_batches, matrix_batches, named
from shoal.cli.text_settings import TextFieldOption, text_fields_of
from shoal.client.batch_pipeline import BatchPipeline, PointBatch
from shoal.client.client import Client
from shoal.client.progress import Pace, Progress
from shoal.core.errors import AlreadyExists, InvalidArgument, ShoalError

_FORMATS = ("npy", "fvecs", "bvecs", "parquet", "jsonl", "ndjson", "json", "csv")
_TEXTS = {"jsonl": jsonl_batches, "ndjson": jsonl_batches, "json": json_batches, "csv": csv_batches}


def import_points(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help=".npy, .fvecs, .bvecs, .parquet, .jsonl, .ndjson, .json, .csv (these four also .gz); - for stdin."
        ),
    ],
    *,
    collection: Annotated[str, typer.Option(metavar="NAME", help="Where the points go.")],
    file_format: Annotated[str | None, typer.Option("--format", metavar="NAME", help="What the file is, whatever its ending.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="The column of ids; guessed without it.")] = None,
    vector_column: Annotated[str | None, typer.Option("--vector", metavar="COLUMN", help="... of vectors.")] = None,
    payload_column: Annotated[
        str | None, typer.Option("--payload", metavar="COLUMN", help="... of payloads; '': all other columns.")
    ] = None,
    ids: Annotated[Path | None, typer.Option(metavar="FILE", help="Matrices: file of ids (.npy); row numbers without it.")] = None,
    payloads: Annotated[Path | None, typer.Option(metavar="FILE", help="Matrices: file of payloads (.jsonl), one a row.")] = None,
    create: Annotated[bool, typer.Option("--create", help="Create the collection when it is missing.")] = False,
    metric: MetricOption = "l2",
    shards: ShardsOption = 1,
    text: TextFieldOption = None,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import points from a file; run it again after an interruption, nothing is doubled."""
    started, pace = time.monotonic(), Pace()
    fields = text_fields_of(text)
    if fields and not create:
        raise typer.BadParameter("--text goes with --create; `shoal collection alter --text` adds text fields to a collection")
    columns = GivenColumns(id=id_column, vector=vector_column, payload=payload_column)
    first, batches = first_of(_batches(file, _format(file, file_format), columns, ids, payloads))
    with client_of(ctx, address, timeout) as client:
        if create:
            _create(client, collection, first.vectors.shape[1], metric, shards, fields)
        with output.progress(f"import {collection}", first.total, pace) as moved:
            count = _run(client, collection, file, batches, moved)
    seconds = time.monotonic() - started
    rate = count / max(seconds, 1e-9)
    if as_json:
        output.document({"collection": collection, "points": count, "seconds": round(seconds, 3), "rows_per_s": round(rate, 1)})
    else:
        output.line(f"imported {count:,} points into {collection} in {seconds:.1f} s ({rate:,.0f} rows/s)")


def _format(file: Path, given: str | None) -> str:
    """Return the format of the file: as the user says, else by its ending."""
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


def _batches(file: Path, name: str, columns: GivenColumns, ids: Path | None, payloads: Path | None) -> Iterator[PointBatch]:
    if name in ("npy", "fvecs", "bvecs"):
        return matrix_batches(file, matrix_of(file, name), ids, payloads)
    if ids is not None or payloads is not None:
        raise InvalidArgument(f"--ids and --payloads belong to matrices (.npy, .fvecs, .bvecs); --id and --payload name columns of .{name}")
    return _TEXTS.get(name, parquet_batches)(file, columns)


def _create(client: Client, name: str, dim: int, metric: str, shards: int, text: Mapping[str, Any]) -> None:
    try:
        client.create_collection(name, dim, metric, shards, text=text or None)
    except AlreadyExists:
        output.note(f"collection {name} exists, it is filled as it is")


def _run(client: Client, collection: str, file: Path, batches: Iterable[PointBatch], moved: Progress) -> int:
    """Upsert all batches and return the number of rows read.

    An error names the row or line, and how many rows were imported before it.
    """
    pipeline = BatchPipeline(lambda batch, acknowledged: _write(client, collection, file, batch, acknowledged), moved)
    try:
        pipeline.run(batches)
    except ShoalError as error:
        if pipeline.done:
            error = type(error)(f"{error.message} (the first {pipeline.done:,} rows are imported; run it again to go on)", error.details)
        raise error from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the first {pipeline.done:,} rows are imported") from None
    return pipeline.done


def _write(client: Client, collection: str, file: Path, batch: PointBatch, moved: Progress) -> None:
    try:
        client.upsert(collection, batch.ids, batch.vectors, batch.payloads, progress=moved)
    except InvalidArgument as error:
        index = error.details.index
        if index is None:
            raise
        unit = "row" if isinstance(batch.places, range) else "line"
        raise InvalidArgument(f"{named(file)} {unit} {batch.places[index]}: {error.message}", error.details) from None
