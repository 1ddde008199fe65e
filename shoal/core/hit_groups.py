"""Hits in groups by a value of their payload. Pure.

A point is in the group of its first value at the path, in the order of the payload; paths are those of filters. Null is
not a value, and neither is an object; the values of a list are its elements. Points without a value are in no group.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Path
from shoal.core.filter_check import FilterPlace
from shoal.core.filter_input import path_from_text
from shoal.core.filter_truth import occurrences, values_of
from shoal.core.limits import Limits

_SHOWN = 64


def group_path(text: str, limits: Limits) -> Path:
    """Return the keys of the path of a group. Raises InvalidArgument for what is not a path."""
    try:
        return path_from_text(text, FilterPlace(), limits)
    except InvalidArgument as error:
        what = error.message.removeprefix("filter: ")
        raise InvalidArgument(
            f"group_by: {text[:_SHOWN]!r} is no path: {what}", ErrorDetails(field="group_by", limit=error.details.limit)
        ) from None


def group_value(payload: Mapping[str, Any] | None, path: Path) -> str | None:
    """Return the value of a payload at a path as JSON text; None if it has none there.

    Values that are equal in filters have the same text: 3 and 3.0 do, true and 1 do not.
    """
    for occurrence in occurrences(payload, path):
        for value in values_of(occurrence):
            if value is not None:
                return _text_of(value)
    return None


@dataclass(slots=True)
class HitGroup:
    """Candidates with the same value, best first. value: JSON text; places: of the candidates."""

    value: str
    places: list[int] = field(default_factory=list)


def groups_of(values: Sequence[str | None], size: int) -> list[HitGroup]:
    """Return the groups of candidates, in the order of their best one, at most `size` candidates each.

    values: of the candidates, best first; None: in no group.
    """
    found: dict[str, HitGroup] = {}
    for place, value in enumerate(values):
        if value is not None:
            group = found.setdefault(value, HitGroup(value))
            if len(group.places) < size:
                group.places.append(place)
    return list(found.values())


def _text_of(value: str | int | float) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value, ensure_ascii=False)
    # A message cannot hold a lone surrogate.
    return text if text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text) else json.dumps(value)
