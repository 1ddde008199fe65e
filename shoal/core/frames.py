"""Columns of pandas and polars and tensors of torch as what the rest of Shoal reads. None of them is imported."""

from __future__ import annotations

import math
import sys
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument


def plain_column(values: Any) -> Any:
    """Return a Series, an Index or a tensor as an array or a list, other values as they are.

    A tensor may be on any device, have a gradient, or be of bfloat16, which numpy lacks.
    """
    home = _home(values)
    if home == "torch" and hasattr(values, "detach"):
        held = values.detach().cpu()
        return (held.float() if str(held.dtype) == "torch.bfloat16" else held).numpy()
    if home in ("pandas", "polars") and hasattr(values, "to_list"):
        return values.to_list()
    return values


def column_with_gaps(values: Any) -> Any:
    """Return what plain_column returns; what a Series of pandas has for a missing value (NaN, NaT, NA) becomes None."""
    column = plain_column(values)
    if column is values or _home(values) != "pandas":
        return column
    return [None if _is_missing(value) else value for value in column]


def is_frame(values: Any) -> bool:
    """Return whether a value is a DataFrame of pandas or polars."""
    return _home(values) in ("pandas", "polars") and hasattr(values, "columns")


def records_of(frame: Any, field: str) -> list[dict[Any, Any]]:
    """Return the rows of a DataFrame as dicts. What pandas has for a missing value (NaN, NaT, NA) becomes None.

    Raises InvalidArgument if two columns have one name, because one of the values would be lost.
    """
    names = list(frame.columns)
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise InvalidArgument(f"{field} has two columns named {twice!r}, of which one would be lost", ErrorDetails(field=field))
    if hasattr(frame, "to_dicts"):
        rows: list[dict[Any, Any]] = frame.to_dicts()
        return rows
    return [{name: None if _is_missing(value) else value for name, value in row.items()} for row in frame.to_dict("records")]


def _is_missing(value: Any) -> bool:
    """Return whether a value is what pandas has for a missing one. pandas is loaded."""
    pandas = sys.modules["pandas"]
    return value is pandas.NA or value is pandas.NaT or (isinstance(value, float) and math.isnan(value))


def _home(values: Any) -> str:
    return type(values).__module__.partition(".")[0]
