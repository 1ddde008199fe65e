"""Values of Arrow columns as the rest of Shoal reads them: vectors as matrices, others as Python values.

Used where files and data sets come in columns. pyarrow, an optional dependency, is handed in.
"""

from __future__ import annotations

import datetime
from functools import partial
from types import ModuleType
from typing import Any

from shoal.core.moments import moment_text


def vector_rows(arrow: ModuleType, column: Any) -> Any:
    """Return an array (n, dim), if all rows are lists of numbers of one length.

    Else return the rows as lists, so that a later error can name the first bad row.
    """
    types, kind = arrow.types, column.type
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if is_list and not column.null_count and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        values, lengths = column.flatten(), arrow.compute.list_value_length(column).unique()
        if not values.null_count and len(lengths) == 1 and lengths[0].as_py():
            return values.to_numpy(zero_copy_only=False).reshape(len(column), lengths[0].as_py())
    return column.to_pylist()


def python_values(arrow: ModuleType, column: Any) -> Any:
    """Return Python values. Times are cut to microseconds, because Python has nothing finer."""
    kind = _to_microseconds(arrow, column.type)
    return (column if kind == column.type else column.cast(kind, safe=False)).to_pylist()


def _to_microseconds(arrow: ModuleType, kind: Any) -> Any:
    """Return the type with microseconds in place of nanoseconds, at any depth."""
    types, inner = arrow.types, partial(_to_microseconds, arrow)
    if types.is_timestamp(kind) and kind.unit == "ns":
        return arrow.timestamp("us", kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return arrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return arrow.duration("us")
    if types.is_struct(kind):
        return arrow.struct([field.with_type(inner(field.type)) for field in kind])
    if types.is_map(kind):
        return arrow.map_(inner(kind.key_type), inner(kind.item_type))
    if types.is_fixed_size_list(kind):
        return arrow.list_(inner(kind.value_type), kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind):
        return (arrow.list_ if types.is_list(kind) else arrow.large_list)(kind.value_field.with_type(inner(kind.value_type)))
    if types.is_dictionary(kind):
        return arrow.dictionary(kind.index_type, inner(kind.value_type), kind.ordered)
    return kind


def json_value(value: Any) -> Any:
    """Return the value with dates, times and durations as texts: dates and datetimes as every way in has them.

    Other values that JSON lacks are refused later, by an error that names the row.
    """
    if isinstance(value, dict):
        return {key: json_value(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(each) for each in value]
    if isinstance(value, datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return iso_duration(value)
    return moment_text(value) or value


def iso_duration(value: datetime.timedelta) -> str:
    """Return a duration as ISO 8601 text, such as P1DT2H3M4.5S."""
    left = abs(value)
    minutes, seconds = divmod(left.seconds, 60)
    fraction = f".{left.microseconds:06}".rstrip("0") if left.microseconds else ""
    days = f"{left.days}D" if left.days else ""
    return f"{'-' if value < left else ''}P{days}T{minutes // 60}H{minutes % 60}M{seconds}{fraction}S"
