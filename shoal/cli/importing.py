"""The command `shoal import`: write the points of a file into a collection, in batches of bounded size.

It is safe to run it again: points whose ids exist are replaced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from shoal.cli import output
from shoal.cli.collection import MetricOption, ShardsOption
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.import_pipeline import ImportPipeline
from shoal.cli.matrix_files import matrix_of
from shoal.cli.parquet_files import parquet_batches
from shoal.cli.point_files import STDIN, Columns, PointBatch, first_of, jsonl_batches, matrix_batches, named
from shoal.client.client import Client
from shoal.client.progress import Pace, Progress
from shoal.core.errors import AlreadyExists, InvalidArgument, ShoalError

_DEFAULTS = Columns()
_FORMATS = ("npy", "fvecs", "bvecs", "parquet", "jsonl")


def import_points(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".npy, .fvecs, .bvecs, .parquet, .jsonl; - for stdin.")],
    *,
    collection: Annotated[str, typer.Option(metavar="NAME", help="Where the points go.")],
    file_format: Annotated[str | None, typer.Option("--format", metavar="NAME", help="What the file is, whatever its ending.")] = None,
    id_column: Annotated[str, typer.Option("--id", metavar="COLUMN", help=".jsonl, .parquet: the column of ids.")] = _DEFAULTS.id,
    vector_column: Annotated[str, typer.Option("--vector", metavar="COLUMN", help="... of vectors.")] = _DEFAULTS.vector,
    payload_column: Annotated[
        str, typer.Option("--payload", metavar="COLUMN", help="... of payloads; '' or absent: all other columns.")
    ] = _DEFAULTS.payload,
    ids: Annotated[Path | None, typer.Option(metavar="FILE", help="Matrices: file of ids (.npy); row numbers without it.")] = None,
    payloads: Annotated[Path | None, typer.Option(metavar="FILE", help="Matrices: file of payloads (.jsonl), one a row.")] = None,
    create: Annotated[bool, typer.Option("--create", help="Create the collection when it is missing.")] = False,
    metric: MetricOption = "l2",
    shards: ShardsOption = 1,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import points from a file; run it again after an interruption, nothing is doubled."""
    started, pace = time.monotonic(), Pace()
    columns = Columns(id=id_column, vector=vector_column, payload=payload_column)
    first, batches = first_of(_batches(file, _format(file, file_format), columns, ids, payloads))
    with client_of(ctx, address, timeout) as client:
        if create:
            _create(client, collection, first.vectors.shape[1], metric, shards)
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
    name = given or file.suffix.lower().removeprefix(".")
    if file == STDIN and name != "jsonl":
        raise typer.BadParameter("the standard input is read as lines of JSON: say --format jsonl")
    if name in _FORMATS:
        return name
    known = ", ".join(_FORMATS)
    if given is not None:
        raise typer.BadParameter(f"--format is {given!r}, it must be one of {known}")
    ending = file.suffix.lower() or "files without an ending"
    raise InvalidArgument(f"{file}: this version imports {known}, not {ending} (--format says what the file is)")


def _batches(file: Path, name: str, columns: Columns, ids: Path | None, payloads: Path | None) -> Iterator[PointBatch]:
    if name in ("npy", "fvecs", "bvecs"):
        return matrix_batches(file, matrix_of(file, name), ids, payloads)
    if ids is not None or payloads is not None:
        raise InvalidArgument(f"--ids and --payloads belong to matrices (.npy, .fvecs, .bvecs); --id and --payload name columns of .{name}")
    return jsonl_batches(file, columns) if name == "jsonl" else parquet_batches(file, columns)


def _create(client: Client, name: str, dim: int, metric: str, shards: int) -> None:
    try:
        client.create_collection(name, dim, metric, shards)
    except AlreadyExists:
        output.note(f"collection {name} exists, it is filled as it is")


def _run(client: Client, collection: str, file: Path, batches: Iterable[PointBatch], moved: Progress) -> int:
    """Upsert all batches and return the number of rows read.

    An error names the row or line, and how many rows were imported before it.
    """
    pipeline = ImportPipeline(lambda batch, acknowledged: _write(client, collection, file, batch, acknowledged), moved)
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
