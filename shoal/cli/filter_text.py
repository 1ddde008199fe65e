"""Parse filters from the command line: JSON objects, or `field=value` and `field!=value`.

Pure. The client checks the meaning of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from shoal.core.deep_json import DuplicateKey
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.payload import value_from_json

FilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", metavar="TEXT", help="""Only points that match: 'label=3', 'label!=3' or '{"n": {"$gt": 3}}'; may be repeated."""
    ),
]

_NO_JSON_NUMBERS = ("NaN", "Infinity", "-Infinity")
_SHOWN_CHARACTERS = 200
_EXAMPLE = """write 'field=value', 'field!=value' or JSON such as '{"price": {"$gte": 3}}'"""


def filter_of(texts: Sequence[str] | None) -> dict[str, Any] | None:
    """Return one filter that joins all texts by "and", or None without texts.

    Raises InvalidArgument for a text that is neither JSON nor a comparison.
    """
    filters = [_one(text) for text in texts or ()]
    if len(filters) > 1:
        return {"$and": filters}
    return filters[0] if filters else None


def _one(text: str) -> dict[str, Any]:
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        return _object(text)
    field, equals, value = text.partition("=")
    if not equals:
        raise _unclear(text, "is no filter")
    if field.endswith("!"):
        return {_named(field[:-1], text): {"$ne": _value(value, text)}}
    return {_named(field, text): _value(value, text)}


def _object(text: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = value_from_json(text)
    except DuplicateKey as error:
        raise _unclear(text, f"would lose a condition ({error})") from None
    except ValueError as error:
        raise _unclear(text, f"is not JSON ({error})") from None
    return value


def _named(field: str, text: str) -> str:
    """Return the path of a field, without blanks around it.

    Raises InvalidArgument for a path that is empty or ends in one of <>!~: another comparison was probably meant.
    """
    path = field.strip()
    if not path or path[-1] in "<>!~":
        raise _unclear(text, "is no comparison with = or !=")
    return path


def _value(typed: str, text: str) -> Any:
    """Return the value of a comparison: a JSON string, number, true, false or null; else the typed text itself.

    A text that begins with =, < or > (as in == or =<) was probably meant as another operator, so it must be typed as a
    JSON string.

    text: the whole filter, for the error. Raises InvalidArgument.
    """
    if typed.lstrip().startswith(("=", "<", ">")):
        raise _unclear(text, f"has a value that begins with {typed.lstrip()[0]}; put such a text in quotes, as a JSON string")
    if typed.strip() in _NO_JSON_NUMBERS:
        return typed
    try:
        value = value_from_json(typed)
    except ValueError:
        return typed
    return typed if isinstance(value, (dict, list)) else value


def _unclear(text: str, what: str) -> InvalidArgument:
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return InvalidArgument(f"--filter {shown!r} {what}: {_EXAMPLE}", ErrorDetails(field="filter"))
