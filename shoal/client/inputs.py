"""The API boundary of the SDK: the arguments of a user are checked and converted here, once.

Upper bounds that a server may configure are checked by the server.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any

import numpy as np

from shoal.client.named_input import columns_from_input
from shoal.core.collection import check_range
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Filter
from shoal.core.filter_check import constant_truth
from shoal.core.filter_input import filter_from_input
from shoal.core.frames import is_frame, plain_column, records_of
from shoal.core.fusion_choice import SearchDefaults, search_defaults_from_input
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.payload import payloads_to_json, plain_value
from shoal.core.points import IdArray, Matrix, PointColumns, PointId, ids_from_input
from shoal.core.shown import shown
from shoal.core.vector_input import vectors_from_input

UINT32_MAX = 2**32 - 1


def points_from_input(ids: Any, vectors: Any, payloads: Any, *, integers_stay: bool = False) -> PointColumns:
    """Return the points of a call, checked.

    vectors: (n, dim), or a mapping from names to vectors, see `columns_from_input`; `named` of the points then holds
    them. integers_stay: integer vectors are returned as they were given, for a caller that converts them to float32.
    Raises InvalidArgument that names the index of the first bad point, as the caller counts.
    """
    columns = ids_from_input(ids, DEFAULT_LIMITS, ordered=True)
    if len(columns) == 0:
        raise InvalidArgument("ids is empty, at least one point is needed", ErrorDetails(field="ids"))
    if isinstance(vectors, Mapping):
        named = columns_from_input(vectors, len(columns), integers_stay=integers_stay)
        none = np.empty((len(columns), 0), dtype=np.float32)
        return PointColumns(ids=columns, vectors=none, payloads=_payloads(payloads, len(columns)), named=named)
    matrix = vectors_from_input(vectors, integers_stay=integers_stay)
    _same_length("vectors", len(matrix), len(columns))
    if matrix.shape[1] == 0:
        raise InvalidArgument("vectors have dimension 0", ErrorDetails(field="vectors", index=0))
    return PointColumns(ids=columns, vectors=matrix, payloads=_payloads(payloads, len(columns)))


def ids_of_call(ids: Any) -> IdArray:
    """Return the ids of a get or delete, at least one. Raises InvalidArgument."""
    columns = ids_from_input(ids, DEFAULT_LIMITS)
    if len(columns) == 0:
        raise InvalidArgument("ids is empty, at least one id is needed", ErrorDetails(field="ids"))
    return columns


def one_id(value: Any, field: str) -> PointId:
    """Return an id that is given alone. Raises InvalidArgument."""
    try:
        point_id: PointId = ids_from_input([value], DEFAULT_LIMITS).tolist()[0]
    except InvalidArgument as error:
        raise InvalidArgument(error.message.replace("ids[0]", field, 1), ErrorDetails(field=field)) from None
    return point_id


def queries_from_input(vectors: Any, field: str = "vectors") -> Matrix:
    """Return a batch of queries (n, dim), n > 0. Raises InvalidArgument that names the index of the first bad query."""
    matrix = vectors_from_input(vectors, field=field)
    if matrix.size == 0:
        raise InvalidArgument(f"{field} is empty, at least one query is needed", ErrorDetails(field=field))
    return matrix


def name_from_input(value: Any, field: str = "collection") -> str:
    """Return the name of a collection: any printable text; the server checks its form. Raises InvalidArgument."""
    if isinstance(value, str) and value.isprintable():
        return value
    raise InvalidArgument(f"{field} is {value!r}, it must be the name of a collection", ErrorDetails(field=field))


def filter_or_none(value: Any) -> Filter | None:
    """Return the filter of a call; None for None. Raises InvalidArgument that names the place of the fault."""
    return None if value is None else filter_from_input(value, DEFAULT_LIMITS)


def filter_of_delete(value: Any) -> Filter:
    """Return the filter of a delete. Raises InvalidArgument, also for a filter that always matches every point."""
    filter = filter_from_input(value, DEFAULT_LIMITS)
    if constant_truth(filter) is True:
        raise InvalidArgument(
            "filter would delete every point: name the points by a field or by $id, call clear, or drop the collection",
            ErrorDetails(field="filter"),
        )
    return filter


def index_text(value: Any) -> str:
    """Return the text of an index: any printable text; the server checks it. Raises InvalidArgument."""
    if isinstance(value, str) and value.isprintable():
        return value
    raise InvalidArgument(f"index is {value!r}, it must be auto, flat, hnsw, ivf or a FAISS factory string", ErrorDetails(field="index"))


def some_text(field: str, value: Any) -> str:
    """Return a text on one line; the server checks its meaning. Raises InvalidArgument."""
    if isinstance(value, str) and value.isprintable():
        return value
    raise InvalidArgument(f"{field} is {value!r}, it must be a text on one line", ErrorDetails(field=field))


def whole_number(field: str, value: Any, upper: int, least: int = 1) -> int:
    """Return an integer of at least `least`. upper: the default bound, for the message; the server checks the real one.

    Raises InvalidArgument.
    """
    number: Any = value
    if isinstance(value, np.integer):
        number = plain_value(value)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= UINT32_MAX:
        check_range(field, number, upper, least)
    return int(number)


def real_number(field: str, value: Any, allowed: str, *, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a finite number from `least` to `most`. allowed: what the error says that it must be.

    Raises InvalidArgument.
    """
    number = plain_value(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not (_is_finite(number) and least <= number <= most):
        raise InvalidArgument(f"{field} is {shown(value)}, it must be {allowed}", ErrorDetails(field=field))
    return float(number)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def search_defaults(value: Any, fields: Collection[str] | None) -> SearchDefaults:
    """Return the defaults of searches that a user gave. fields: the text fields; None if they are not known here.

    Raises InvalidArgument, with the field `search_defaults`.
    """
    plain = {name: plain_value(each) for name, each in value.items()} if isinstance(value, Mapping) else value
    boosts = plain.get("boosts") if isinstance(plain, dict) else dict(value.boosts) if isinstance(value, SearchDefaults) else None
    if isinstance(plain, dict) and isinstance(boosts, Mapping):
        plain["boosts"] = {name: plain_value(boost) for name, boost in boosts.items()}
    try:
        return search_defaults_from_input(plain, fields if fields is not None else list(boosts) if isinstance(boosts, Mapping) else ())
    except InvalidArgument as error:
        raise InvalidArgument(f"search_{error.message}", ErrorDetails(field="search_defaults")) from None


def seconds(value: float | None, default: float) -> float:
    """Return a timeout in seconds; `default` for None. Raises InvalidArgument unless it is positive and finite."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InvalidArgument(f"timeout is {shown(value)}, it must be a positive number of seconds", ErrorDetails(field="timeout"))
    return float(value)


def _same_length(field: str, count: int, ids: int) -> None:
    if count != ids:
        raise InvalidArgument(f"{count} {field} are given for {ids} ids", ErrorDetails(field=field))


def _payloads(payloads: Any, count: int) -> tuple[bytes | None, ...] | None:
    if payloads is None:
        return None
    given = records_of(payloads, "payloads") if is_frame(payloads) else plain_column(payloads)
    if isinstance(given, (str, bytes, Mapping, Set, np.ma.MaskedArray)) or not isinstance(given, Iterable):
        kind = type(given).__name__
        raise InvalidArgument(f"payloads must be a list of dicts or None, not {kind}", ErrorDetails(field="payloads"))
    # One more than there are ids is enough to know that there are too many.
    listed = given if isinstance(given, Sequence) else list(islice(given, count + 1))
    if listed is not given and len(listed) > count:
        raise InvalidArgument(f"more than {count} payloads are given for {count} ids", ErrorDetails(field="payloads"))
    _same_length("payloads", len(listed), count)
    return payloads_to_json(listed)
