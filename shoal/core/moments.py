"""Dates and times in payloads and filters: the one text that each is stored and compared as. Pure.

    datetime   2024-02-29T12:30:00.000000Z   ISO 8601 in UTC, always with microseconds
    date       2024-02-29

All texts of datetimes have the same length and zone, so they are ordered as the times are. The text of a date comes
before those of the times of its day. A datetime without a zone is taken as one in UTC, wherever the program runs. A
numpy.datetime64 in days or coarser units is a date, another one a datetime without a zone.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

_NO_TIME = "NaT"
_FINER = {"ns": 10**3, "ps": 10**6, "fs": 10**9, "as": 10**12}
"""Units of numpy below microseconds, which datetimes of Python do not have, and how many of them a microsecond is."""


def moment_text(value: Any) -> str | None:
    """Return the text of a date or datetime (those of pandas and numpy included, cut to microseconds); None for other
    values.

    Also None for NaT of pandas or numpy, which is no time, and for a time outside the years 1 to 9999 in UTC.
    """
    if isinstance(value, np.datetime64):
        value = _of_python(value)
    if not isinstance(value, datetime.date):
        return None
    if not isinstance(value, datetime.datetime):
        return datetime.date.isoformat(value)
    if is_no_time(value):
        return None
    try:
        moment = value if value.tzinfo is None else value.astimezone(datetime.UTC)
    except OverflowError:
        return None
    plain = datetime.datetime(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond)
    return plain.isoformat(timespec="microseconds") + "Z"


def is_no_time(value: Any) -> bool:
    """Return whether a value is NaT of pandas or numpy, which is a datetime and no time, and equals nothing."""
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, datetime.datetime) and type(value).__name__ == f"{_NO_TIME}Type"


def _of_python(value: np.datetime64[Any]) -> Any:
    """Return the date or datetime that a value of numpy is; None for NaT, an int outside the years 1 to 9999."""
    unit, count = np.datetime_data(value.dtype)
    if unit in _FINER and not np.isnat(value):
        # numpy's own conversion is wrong at the begin of the range.
        value = np.datetime64(int(value.astype(np.int64)) * count // _FINER[unit], "us")
    return value.item()
