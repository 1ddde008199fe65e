"""The command `shoal import`: write the points of a file into a collection, in batches of bounded size.

It is safe to run it again: points whose ids exist are replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.collection import MetricOption, ShardsOption, vectors_of_collection
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.guessing import GivenColumns
from shoal.cli.import_source import ImportSource, format_of, specified
from shoal.cli.point_files import first_of, named
from shoal.cli.text_settings import TextFieldOption, text_fields_of
from shoal.cli.vector_options import pairs_of
from shoal.client.batch_pipeline import BatchPipeline, PointBatch
from shoal.client.client import Client
from shoal.client.progress import Pace, Progress
from shoal.core.errors import AlreadyExists, InvalidArgument, ShoalError

Write = Callable[[PointBatch, Progress], Any]


def import_points(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help=".npy, .npz, .fvecs, .bvecs, .parquet, .jsonl, .ndjson, .json, .csv (these four also .gz); - for stdin."
        ),
    ],
    *,
    collection: Annotated[str, typer.Option(metavar="NAME", help="Where the points go.")],
    file_format: Annotated[str | None, typer.Option("--format", metavar="NAME", help="What the file is, whatever its ending.")] = None,
    id_column: Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="The column of ids; guessed without it.")] = None,
    vector_column: Annotated[str | None, typer.Option("--vector", metavar="COLUMN", help="... of vectors.")] = None,
    vector_columns: Annotated[
        list[str] | None,
        typer.Option("--vector-column", metavar="NAME=COLUMN", help="... of a named vector; may be repeated; that of its name without it."),
    ] = None,
    using: Annotated[str | None, typer.Option(metavar="NAME", help="Matrices: name of the vector that the rows are.")] = None,
    payload_column: Annotated[
        str | None, typer.Option("--payload", metavar="COLUMN", help="... of payloads; '': all other columns.")
    ] = None,
    ids: Annotated[Path | None, typer.Option(metavar="FILE", help="Matrices, .npz: file of ids (.npy); row numbers without it.")] = None,
    payloads: Annotated[Path | None, typer.Option(metavar="FILE", help="Matrices, .npz: file of payloads (.jsonl), one a row.")] = None,
    update_vectors: Annotated[
        bool, typer.Option("--update-vectors", help="Only replace these vectors of points that exist; all else of them stays.")
    ] = False,
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
    if create and update_vectors:
        raise typer.BadParameter("--update-vectors changes points that exist, so it does not go with --create")
    source = ImportSource(
        file=file,
        format=format_of(file, file_format),
        columns=GivenColumns(id=id_column, vector=vector_column, payload=payload_column),
        vector_columns=pairs_of("vector-column", vector_columns, "NAME=COLUMN, such as image=img_emb"),
        ids=ids,
        payloads=payloads,
        using=using,
    )
    source.check()
    updated: list[int] | None = [] if update_vectors else None
    with client_of(ctx, address, timeout) as client:
        dims = source.dims_of(vectors_of_collection(client, collection, may_be_missing=create), collection)
        first, batches = first_of(source.batches(dims))
        if create:
            _create(client, collection, specified(first, dims), metric, shards, fields)
        with output.progress(f"import {collection}", first.total, pace) as moved:
            count = _run(_writing(client, collection, updated), file, batches, moved)
    _tell(collection, count, updated, time.monotonic() - started, as_json=as_json)


def _tell(collection: str, count: int, updated: list[int] | None, seconds: float, *, as_json: bool) -> None:
    """Print what was done. updated: points that were changed, by batch, None for an import of whole points."""
    rate = count / max(seconds, 1e-9)
    if as_json:
        document = {"collection": collection, "points": count, "seconds": round(seconds, 3), "rows_per_s": round(rate, 1)}
        output.document(document if updated is None else document | {"updated": sum(updated)})
    elif updated is None:
        output.line(f"imported {count:,} points into {collection} in {seconds:.1f} s ({rate:,.0f} rows/s)")
    else:
        output.line(f"changed vectors of {sum(updated):,} of {count:,} points of {collection} in {seconds:.1f} s ({rate:,.0f} rows/s)")


def _create(client: Client, name: str, specified: Mapping[str, Any], metric: str, shards: int, text: Mapping[str, Any]) -> None:
    try:
        client.create_collection(name, **specified, metric=metric, shards=shards, text=text or None)
    except AlreadyExists:
        output.note(f"collection {name} exists, it is filled as it is")


def _writing(client: Client, collection: str, updated: list[int] | None) -> Write:
    """Return a function that writes a batch. updated: None for an upsert; else only vectors of the batch are replaced,
    and the number of points that were changed is appended.
    """
    if updated is None:
        return lambda batch, moved: client.upsert(collection, batch.ids, batch.vectors, batch.payloads, progress=moved)

    def update(batch: PointBatch, _: Progress) -> None:
        vectors = batch.vectors
        if isinstance(vectors, Mapping):
            vectors = {name: rows for name, rows in vectors.items() if any(row is not None for row in rows)}
        if len(vectors) > 0:
            updated.append(client.update_vectors(collection, batch.ids, vectors))

    return update


def _run(write: Write, file: Path, batches: Iterable[PointBatch], moved: Progress) -> int:
    """Write all batches and return the number of rows read.

    An error names the row or line, and how many rows were imported before it.
    """
    pipeline = BatchPipeline(lambda batch, acknowledged: _written(write, file, batch, acknowledged), moved)
    try:
        pipeline.run(batches)
    except ShoalError as error:
        if pipeline.done:
            error = type(error)(f"{error.message} (the first {pipeline.done:,} rows are imported; run it again to go on)", error.details)
        raise error from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the first {pipeline.done:,} rows are imported") from None
    return pipeline.done


def _written(write: Write, file: Path, batch: PointBatch, moved: Progress) -> None:
    try:
        write(batch, moved)
    except InvalidArgument as error:
        index = error.details.index
        if index is None:
            raise
        unit = "row" if isinstance(batch.places, range) else "line"
        raise InvalidArgument(f"{named(file)} {unit} {batch.places[index]}: {error.message}", error.details) from None
