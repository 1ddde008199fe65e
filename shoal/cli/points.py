"""The commands `shoal get`, `count`, `delete` and `scroll`: points by id or by filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.collection import NameArgument
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.filter_text import FilterOption, filter_of
from shoal.cli.guessing import VECTOR, column_of
from shoal.client.client import Client
from shoal.client.results import Point
from shoal.core.points import PointId

ConsistencyOption = Annotated[str, typer.Option(help="any, session or primary.")]


def get(
    ctx: typer.Context,
    name: NameArgument,
    *,
    ids: Annotated[list[str], typer.Option("--id", metavar="ID", help="A point; may be repeated.")],
    with_vectors: Annotated[bool, typer.Option("--with-vectors", help="Print vectors, too.")] = False,
    consistency: ConsistencyOption = "session",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Print points by --id, in the order given: one JSON object a line. Ids that do not exist are left out."""
    asked = [point_id_of(text) for text in ids]
    with client_of(ctx, address, timeout) as client:
        points = client.get(name, asked, with_vectors=with_vectors, consistency=consistency)
    for point in points:
        _show(point)
    if len(points) < len(asked):
        output.note(f"{len(asked) - len(points)} of {output.counted(len(asked), 'point')} asked for do not exist")


def count(
    ctx: typer.Context,
    name: NameArgument,
    *,
    filters: FilterOption = None,
    consistency: ConsistencyOption = "session",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count the points of a collection, or those that match."""
    with client_of(ctx, address, timeout) as client:
        number = client.count(name, filter_of(filters), consistency=consistency)
    if as_json:
        output.document({"collection": name, "count": number})
    else:
        output.line(str(number))


def delete(
    ctx: typer.Context,
    name: NameArgument,
    *,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="A point; may be repeated.")] = None,
    filters: FilterOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete points by --id, or all that match --filter; shows their number and asks first, unless --yes."""
    if bool(ids) == bool(filters):
        raise typer.BadParameter("give either --id or --filter")
    which = {"ids": [point_id_of(text) for text in ids]} if ids else {"filter": filter_of(filters)}
    with client_of(ctx, address, timeout) as client:
        matching = None if yes else _matching(client, name, which)
        if matching and not output.sure(f"delete {output.counted(matching, 'point')} of collection {name}?"):
            output.error(f"nothing of {name} was deleted", "answer y, or pass --yes")
            raise typer.Exit(1)
        deleted = 0 if matching == 0 else client.delete(name, **which)
    if as_json:
        output.document({"collection": name, "deleted": deleted})
    else:
        output.line(f"deleted {output.counted(deleted, 'point')} of {name}")


def scroll(
    ctx: typer.Context,
    name: NameArgument,
    *,
    filters: FilterOption = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many points.")] = None,
    with_vectors: Annotated[bool, typer.Option("--with-vectors", help="Print vectors, too.")] = False,
    consistency: ConsistencyOption = "session",
    address: AddressOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Print the points of a collection, or those that match, in the order of their ids: one JSON object a line."""
    with client_of(ctx, address, timeout) as client:
        points = client.scroll(name, filter_of(filters), with_vectors=with_vectors, consistency=consistency)
        for number, point in enumerate(points, 1):
            _show(point)
            if number == limit:
                return


def _show(point: Point) -> None:
    output.document({"id": point.id, **vector_keys(point), "payload": point.payload})


def vector_keys(point: Point) -> dict[str, Any]:
    """Return the vector of a point, or its named ones, under the keys from which an import reads them; none if it was
    read without.
    """
    if isinstance(point.vector, Mapping):
        return {column_of(name): vector.tolist() for name, vector in point.vector.items()}
    return {} if point.vector is None else {VECTOR: point.vector.tolist()}


def _matching(client: Client, name: str, which: dict[str, Any]) -> int:
    return client.count(name, {"$id": which["ids"]} if "ids" in which else which["filter"])


def point_id_of(text: str) -> PointId:
    """Return an id: the integer or JSON string that the text spells, else the text itself."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else text
