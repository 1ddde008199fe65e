"""Vectors by name, as a user gives them: checked, and converted to columns. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.frames import column_with_gaps
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.named_vectors import NamedVector, VectorColumn, named_vectors_from_input
from shoal.core.payload import plain_value
from shoal.core.shown import shown
from shoal.core.vector_input import vectors_from_input

_ANY_DIM: Limits = dataclasses.replace(DEFAULT_LIMITS, dim=2**32 - 1)
"""The server checks the upper bound, which it may configure."""


def columns_from_input(given: Mapping[Any, Any], count: int, *, integers_stay: bool = False) -> dict[str, VectorColumn]:
    """Return the vectors of `count` points by name.

    given: for each name the vectors (count, dim) in any form that vectors have, or a list or a Series with None for
    each point that lacks this one. A name that no point has gets vectors of the shape (0, 0). integers_stay: integer
    vectors are returned as they were given, for a caller that converts them to float32.

    Raises InvalidArgument that names the vector, and the index of the first bad point.
    """
    columns: dict[str, VectorColumn] = {}
    for name, values in given.items():
        text = name_of_vector(name, "vectors")
        if text in columns:
            raise InvalidArgument(f"vectors names {text!r} twice", ErrorDetails(field="vectors"))
        columns[text] = _column(text, values, count, integers_stay)
    return columns


def name_of_vector(value: Any, field: str) -> str:
    """Return the name of a vector: any printable text; the server checks whether it exists. Raises InvalidArgument."""
    if isinstance(value, str) and value and value.isprintable():
        return str.__str__(value)
    raise InvalidArgument(f"{field} names the vector {shown(value)}, a name is a text such as 'image'", ErrorDetails(field=field))


def using_from_input(value: Any) -> str:
    """Return the name of the vector to search by; "" for None. Raises InvalidArgument."""
    return "" if value is None else name_of_vector(value, "using")


def vectors_of_spec(given: Any, *, metric: Any, index: Any) -> tuple[NamedVector, ...]:
    """Return the named vectors of a collection that is to be created; none for None. metric, index: of a vector that
    gives none. Raises InvalidArgument that names the vector.
    """
    if given is None:
        return ()
    if isinstance(given, Mapping):
        given = {name: _plain(each) for name, each in given.items()}
    try:
        made = named_vectors_from_input(given, metric=metric, index=index, limits=_ANY_DIM)
    except InvalidArgument:
        # Its bounds are those that a user should read of.
        named_vectors_from_input(given, metric=metric, index=index, limits=DEFAULT_LIMITS)
        raise
    if not made:
        raise InvalidArgument("vectors is empty, give at least one name with its dimension, or dim instead", ErrorDetails(field="vectors"))
    return made


def _plain(given: Any) -> Any:
    """Return what is said of one vector, with plain numbers for those of numpy."""
    if isinstance(given, Mapping):
        return {key: plain_value(value) for key, value in given.items()}
    return plain_value(given)


def _column(name: str, values: Any, count: int, integers_stay: bool) -> VectorColumn:
    field = f"vectors[{name!r}]"
    given = column_with_gaps(values)
    if given is None:
        raise InvalidArgument(
            f"{field} is None: leave the name out, or give a list with None for each point that lacks it", ErrorDetails(field=field)
        )
    gaps = isinstance(given, (list, tuple)) and any(row is None for row in given)
    if not gaps:
        matrix = vectors_from_input(given, field=field, integers_stay=integers_stay)
        _check_count(field, len(matrix), count)
        _check_not_empty(field, matrix)
        return VectorColumn(vectors=matrix)
    _check_count(field, len(given), count)
    positions: npt.NDArray[np.intp] = np.array([at for at, row in enumerate(given) if row is not None], dtype=np.intp)
    if not len(positions):
        return VectorColumn(vectors=np.empty((0, 0), dtype=np.float32), positions=positions)
    try:
        matrix = vectors_from_input([given[at] for at in positions.tolist()], field=field, integers_stay=integers_stay)
    except InvalidArgument as error:
        raise _renumbered(error, field, positions) from None
    _check_not_empty(field, matrix)
    return VectorColumn(vectors=matrix, positions=positions)


def _check_count(field: str, vectors: int, count: int) -> None:
    if vectors != count:
        raise InvalidArgument(f"{field} has {vectors} vectors for {count} ids", ErrorDetails(field=field))


def _check_not_empty(field: str, matrix: npt.NDArray[Any]) -> None:
    if matrix.shape[1] == 0:
        raise InvalidArgument(f"{field} has vectors of dimension 0", ErrorDetails(field=field, index=0))


def _renumbered(error: InvalidArgument, field: str, positions: npt.NDArray[np.intp]) -> InvalidArgument:
    """Return an error that counts as the caller does, with the points that lack the vector."""
    index = error.details.index
    if index is None:
        return error
    given = int(positions[index])
    message = error.message.replace(f"{field}[{index}]", f"{field}[{given}]", 1)
    return InvalidArgument(message, dataclasses.replace(error.details, index=given))
