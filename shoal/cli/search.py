"""`shoal search`: nearest points of one vector, or of each row of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.collection import NameArgument
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.matrix_files import matrix_of
from shoal.client.client import Client
from shoal.client.results import Hit
from shoal.core.errors import ErrorDetails, InvalidArgument

MOST_QUERIES = 10_000
_QUERIES_A_CALL = 1_000
_HITS_A_CALL = 100_000


def search(
    ctx: typer.Context,
    name: NameArgument,
    *,
    vector: Annotated[str | None, typer.Option(metavar="JSON", help="One query, as in '[0.1, 0.2]'.")] = None,
    vectors: Annotated[Path | None, typer.Option(metavar="FILE", help="Many queries: a matrix (n, dim), .npy, .fvecs or .bvecs.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Hits for each query.")] = 10,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every point.")] = False,
    id_only: Annotated[bool, typer.Option("--id-only", help="Print ids only: one a line, or one line a query.")] = False,
    consistency: Annotated[str, typer.Option(help="any, session or primary.")] = "session",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search a collection with one vector (--vector) or with every row of a file (--vectors, at most 10,000 rows)."""
    if (vector is None) == (vectors is None):
        raise typer.BadParameter("give either --vector or --vectors")
    options: dict[str, Any] = {"exact": exact, "consistency": consistency, "with_payload": not id_only}
    with client_of(ctx, address, timeout) as client:
        if vector is not None:
            _show_one(client.search(name, _parsed(vector), k, **options), as_json, id_only)
        elif vectors is not None:
            _show_many(_answers(client, name, vectors, k, options), as_json, id_only)


def _parsed(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"--vector is not JSON: {error}", ErrorDetails(field="vector")) from None
    if not isinstance(value, list):
        raise InvalidArgument(f"--vector must be a list of numbers, not {type(value).__name__}", ErrorDetails(field="vector"))
    return value


def _answers(client: Client, name: str, file: Path, k: int, options: dict[str, Any]) -> Iterator[list[Hit]]:
    matrix = matrix_of(file)
    count, _ = matrix.shape
    if count > MOST_QUERIES:
        raise InvalidArgument(f"{file} has {count} rows, at most {MOST_QUERIES} are searched by one command; use the Python client")
    step = max(1, min(_QUERIES_A_CALL, _HITS_A_CALL // max(1, k)))
    for start in range(0, count, step):
        yield from client.search_many(name, matrix.read(start, min(start + step, count)), k, **options)


def _show_one(hits: list[Hit], as_json: bool, id_only: bool) -> None:
    if as_json:
        output.document([_document(hit, id_only) for hit in hits])
    elif id_only:
        for hit in hits:
            output.line(str(hit.id))
    else:
        output.table(("rank", "id", "score", "payload"), ((at, *_row(hit)) for at, hit in enumerate(hits, 1)))


def _show_many(answers: Iterator[list[Hit]], as_json: bool, id_only: bool) -> None:
    if as_json:
        output.array({"query": at, "hits": [_document(hit, id_only) for hit in hits]} for at, hits in enumerate(answers))
    elif id_only:
        for hits in answers:
            output.line("\t".join(str(hit.id) for hit in hits))
    else:
        output.table(
            ("query", "rank", "id", "score", "payload"),
            ((query, at, *_row(hit)) for query, hits in enumerate(answers) for at, hit in enumerate(hits, 1)),
        )


def _document(hit: Hit, id_only: bool) -> Any:
    return hit.id if id_only else {"id": hit.id, "score": hit.score, "payload": hit.payload}


def _row(hit: Hit) -> tuple[Any, str, Any]:
    return hit.id, f"{hit.score:.6g}", hit.payload
