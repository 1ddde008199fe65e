"""Tables as HTML, as notebooks show them: results, points, collections, the cluster. Every text is escaped. Pure."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np

MOST_ROWS = 100
_MOST_CHARACTERS = 200
_SHOWN_NUMBERS = 4

T = TypeVar("T")


class Rows(list[T]):
    """A list of values with fields, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        return html_of(self)


def html_of(values: Sequence[Any]) -> str:
    """Return a table of dataclasses, a row for each. A dataclass within gives its fields, too; columns that say nothing
    are left out.
    """
    return html_of_records([record_of(value) for value in values[:MOST_ROWS]], len(values))


def html_of_one(value: Any) -> str:
    """Return a table of one dataclass, a row for each field that says something."""
    record = {name: each for name, each in record_of(value).items() if not _is_empty(each)}
    return html_table(["", ""], record.items(), len(record))


def html_of_records(records: Sequence[Mapping[str, Any]], count: int) -> str:
    """Return a table of records, whose keys are columns. count: of rows; records: the first of them."""
    names = dict.fromkeys(name for record in records for name in record)
    told = [name for name in names if not all(_is_empty(record.get(name)) for record in records)]
    return html_table(told, ([record.get(name) for name in told] for record in records), count)


def record_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name, and those of dataclasses within it, without what is as by default
    there, and without its `unused_fields`, if it has some.
    """
    found: dict[str, Any] = {}
    for each in fields(value):
        held = getattr(value, each.name)
        if is_dataclass(held):
            unused = getattr(held, "unused_fields", ())
            told = (inner for inner in fields(held) if inner.name not in unused)
            found.update({inner.name: _unless_usual(getattr(held, inner.name), inner) for inner in told})
        else:
            found[each.name] = held
    return found


def html_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], count: int) -> str:
    """Return a table as HTML. Every text is escaped, long ones are cut; beyond 100 rows only their number is told.

    count: number of rows.
    """
    heading = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    lines = ["".join(f"<td>{_cell(value)}</td>" for value in row) for row in islice(rows, MOST_ROWS)]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    more = f"<p>{count - MOST_ROWS:,} more</p>" if count > MOST_ROWS else ""
    return f"<table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    text = _text(value)
    return html.escape(text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "...")


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.6g}"
        case str():
            return str(value)
        case np.ndarray():
            numbers = ", ".join(f"{number:.4g}" for number in value[:_SHOWN_NUMBERS].tolist())
            return f"[{numbers}{', ...' if len(value) > _SHOWN_NUMBERS else ''}] ({len(value)})"
        case tuple():
            return ", ".join(str(getattr(each, "summary", getattr(each, "name", each))) for each in value)
    return _json(value)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | tuple) and not value)


def _unless_usual(value: Any, of: Field[Any]) -> Any:
    """Return the value of a field of an inner dataclass; None for one that is a dataclass itself, and as by default."""
    return None if is_dataclass(value) and of.default is not MISSING and value == of.default else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
