"""`shoal import`: a file of points into a collection, in bounded batches. Safe to run again: points with known ids are replaced."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from shoal.cli import output
from shoal.cli.collection import MetricOption, ShardsOption
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.point_files import Columns, PointBatch, first_of, jsonl_batches, npy_batches
from shoal.client.client import Client, Progress
from shoal.core.errors import AlreadyExists, InvalidArgument, ShoalError

_DEFAULTS = Columns()


def import_points(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .npy matrix or a .jsonl file.")],
    *,
    collection: Annotated[str, typer.Option(metavar="NAME", help="Where the points go.")],
    id_column: Annotated[str, typer.Option("--id", metavar="COLUMN", help=".jsonl: the column of ids.")] = _DEFAULTS.id,
    vector_column: Annotated[str, typer.Option("--vector", metavar="COLUMN", help=".jsonl: of vectors.")] = _DEFAULTS.vector,
    payload_column: Annotated[
        str, typer.Option("--payload", metavar="COLUMN", help=".jsonl: of payloads; '' or absent: all other columns.")
    ] = _DEFAULTS.payload,
    ids: Annotated[Path | None, typer.Option(metavar="FILE", help=".npy: file of ids (.npy); row numbers without it.")] = None,
    payloads: Annotated[Path | None, typer.Option(metavar="FILE", help=".npy: file of payloads (.jsonl), one a row.")] = None,
    create: Annotated[bool, typer.Option("--create", help="Create the collection when it is missing.")] = False,
    metric: MetricOption = "l2",
    shards: ShardsOption = 1,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import points from a file; run it again after an interruption, nothing is doubled."""
    columns = Columns(id=id_column, vector=vector_column, payload=payload_column)
    first, batches = first_of(_batches(file, columns, ids, payloads))
    started = time.monotonic()
    with client_of(ctx, address, timeout) as client:
        if create:
            _create(client, collection, first.vectors.shape[1], metric, shards)
        with output.progress(f"import {collection}", first.total) as moved:
            count = _run(client, collection, file, batches, moved)
    seconds = time.monotonic() - started
    rate = count / max(seconds, 1e-9)
    if as_json:
        output.document({"collection": collection, "points": count, "seconds": round(seconds, 3), "rows_per_s": round(rate, 1)})
    else:
        output.line(f"imported {count:,} points into {collection} in {seconds:.1f} s ({rate:,.0f} rows/s)")


def _batches(file: Path, columns: Columns, ids: Path | None, payloads: Path | None) -> Iterator[PointBatch]:
    match file.suffix.lower():
        case ".npy":
            return npy_batches(file, ids, payloads)
        case ".jsonl":
            if ids is not None or payloads is not None:
                raise InvalidArgument("--ids and --payloads belong to .npy files; a .jsonl file names columns with --id and --payload")
            return jsonl_batches(file, columns)
        case other:
            raise InvalidArgument(f"{file}: this version imports .npy and .jsonl, not {other or 'files without an ending'}")


def _create(client: Client, name: str, dim: int, metric: str, shards: int) -> None:
    try:
        client.create_collection(name, dim, metric, shards)
    except AlreadyExists:
        output.note(f"collection {name} exists, it is filled as it is")


def _run(client: Client, collection: str, file: Path, batches: Iterable[PointBatch], moved: Progress) -> int:
    """Upsert all batches; returns the number of rows read. Errors name the row or line, and how far the import came."""
    done = 0
    try:
        for batch in batches:
            _write(client, collection, file, batch, lambda rows, of, before=done, total=batch.total: moved(before + rows, total))  # type: ignore[misc]
            done += len(batch.places)
            moved(done, max(done, batch.total))
    except ShoalError as error:
        if done:
            error = type(error)(f"{error.message} (the first {done:,} rows are imported; run it again to go on)", error.details)
        raise error from None
    return done


def _write(client: Client, collection: str, file: Path, batch: PointBatch, moved: Progress) -> None:
    try:
        client.upsert(collection, batch.ids, batch.vectors, batch.payloads, progress=moved)
    except InvalidArgument as error:
        index = error.details.index
        if index is None:
            raise
        unit = "row" if isinstance(batch.places, range) else "line"
        raise InvalidArgument(f"{file} {unit} {batch.places[index]}: {error.message}", error.details) from None
