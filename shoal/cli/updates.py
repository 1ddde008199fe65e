"""The commands `shoal set-payload`, `replace-payload`, `delete-payload` and `update-vectors`: of points that exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from shoal.cli import output
from shoal.cli.collection import NameArgument
from shoal.cli.connection import AddressOption, JsonOption, TimeoutOption, client_of
from shoal.cli.filter_text import FilterOption, filter_of
from shoal.cli.points import point_id_of
from shoal.cli.vector_options import names_of_vectors, vector_from
from shoal.client import updates as changes
from shoal.client.client import Client
from shoal.core.deep_json import DuplicateKey
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.payload import value_from_json
from shoal.core.shown import shown

PayloadArgument = Annotated[str, typer.Argument(metavar="PAYLOAD", help="""A JSON object: '{"color": "red"}'.""")]
IdsOption = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="A point; may be repeated.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def set_payload(
    ctx: typer.Context,
    name: NameArgument,
    payload: PayloadArgument,
    *,
    ids: IdsOption = None,
    filters: FilterOption = None,
    yes: YesOption = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set keys in the payloads of points by --id, --filter or both; shows their number and asks first, unless --yes."""
    given, which = _payload_of(payload), _which(ids, filters)
    with client_of(ctx, address, timeout) as client:
        _change(client, name, which, lambda: client.set_payload(name, given, **which), yes=yes, as_json=as_json)


def replace_payload(
    ctx: typer.Context,
    name: NameArgument,
    payload: PayloadArgument,
    *,
    ids: IdsOption = None,
    filters: FilterOption = None,
    yes: YesOption = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the payloads of points by --id, --filter or both; shows their number and asks first, unless --yes."""
    given, which = _payload_of(payload), _which(ids, filters)
    with client_of(ctx, address, timeout) as client:
        _change(client, name, which, lambda: client.replace_payload(name, given, **which), yes=yes, as_json=as_json)


def delete_payload(
    ctx: typer.Context,
    name: NameArgument,
    *,
    keys: Annotated[list[str], typer.Option("--key", metavar="PATH", help="A field, such as author.name; may be repeated.")],
    ids: IdsOption = None,
    filters: FilterOption = None,
    yes: YesOption = False,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove fields from payloads of points by --id, --filter or both; shows their number and asks, unless --yes."""
    changes.delete_payload(keys)
    which = _which(ids, filters)
    with client_of(ctx, address, timeout) as client:
        _change(client, name, which, lambda: client.delete_payload(name, keys, **which), yes=yes, as_json=as_json)


def update_vectors(
    ctx: typer.Context,
    name: NameArgument,
    *,
    point: Annotated[str, typer.Option("--id", metavar="ID", help="The point.")],
    vector: Annotated[list[str], typer.Option(metavar="JSON", help="Its new vector, as in '[0.1, 0.2]'; repeated, with --using.")],
    using: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Name of the vector, one for each --vector, in order.")] = None,
    address: AddressOption = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace the vector of a point, or some of its named ones; its payload and its other vectors stay."""
    names, given = names_of_vectors(using, len(vector)), [vector_from(text) for text in vector]
    if len(set(names)) < len(names):
        raise typer.BadParameter("--using names a vector twice")
    vectors: Any = [given[0]] if names[0] is None else {each: [row] for each, row in zip(names, given, strict=True)}
    with client_of(ctx, address, timeout) as client:
        changed = client.update_vectors(name, [point_id_of(point)], vectors)
    _tell(name, changed, as_json=as_json)


def _change(client: Client, name: str, which: dict[str, Any], change: Callable[[], int], *, yes: bool, as_json: bool) -> None:
    """Make a change if the user wants it, and print how many points it found."""
    matching = None if yes else client.count(name, _filter_of(which))
    if matching and not output.sure(f"change {output.counted(matching, 'point')} of collection {name}?"):
        output.error(f"nothing of {name} was changed", "answer y, or pass --yes")
        raise typer.Exit(1)
    _tell(name, 0 if matching == 0 else change(), as_json=as_json)


def _tell(name: str, changed: int, *, as_json: bool) -> None:
    if as_json:
        output.document({"collection": name, "updated": changed})
    else:
        output.line(f"changed {output.counted(changed, 'point')} of {name}")


def _which(ids: Sequence[str] | None, filters: Sequence[str] | None) -> dict[str, Any]:
    """Return the points as arguments of a verb."""
    if not ids and not filters:
        raise typer.BadParameter("give --id, --filter or both")
    named = {"ids": [point_id_of(text) for text in ids]} if ids else {}
    return {**named, "filter": filter_of(filters)} if filters else named


def _filter_of(which: dict[str, Any]) -> dict[str, Any]:
    """Return a filter that the same points match."""
    conditions = [{"$id": which["ids"]}] if "ids" in which else []
    return {"$and": [*conditions, which["filter"]]} if "filter" in which else conditions[0]


def _payload_of(text: str) -> dict[str, Any]:
    """Return the payload that a text spells. Raises InvalidArgument for what is none."""
    try:
        value = value_from_json(text.removeprefix("\ufeff"))
    except DuplicateKey as error:
        raise _no_payload(text, f"would lose a value ({error})") from None
    except ValueError as error:
        raise _no_payload(text, f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _no_payload(text, "is not a JSON object")
    changes.set_payload(value)
    return value


def _no_payload(text: str, what: str) -> InvalidArgument:
    return InvalidArgument(f'payload {shown(text)} {what}: write an object such as \'{{"color": "red"}}\'', ErrorDetails(field="payload"))
