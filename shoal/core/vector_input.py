"""The only conversion of user input to a matrix: arrays, lists, and objects that convert to an array.

Input that is not a vector is refused with an error that names the first bad row. It is never repaired: a mask is not
dropped, a boolean is not a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.frames import plain_column
from shoal.core.points import Matrix, check_finite

AnyArray = npt.NDArray[Any]

_REAL = "fiu"
_INT_MIN, _UINT_MAX = -(2**63), 2**64 - 1


def vectors_from_input(values: Any, *, field: str = "vectors", integers_stay: bool = False) -> Matrix:
    """Return a matrix (n, dim) float32 from an array, lists, a DataFrame or a tensor of real numbers of any dtype,
    rounded to float32.

    integers_stay: return integers as they are, with their dtype. Their conversion to float32 cannot fail.

    Raises InvalidArgument that names the first bad row: of another length, masked, or with None, texts, booleans, NaN,
    infinity, or numbers that overflow float32.
    """
    values = plain_column(values)
    given = _array(values, field)
    if given is None or given.dtype.kind not in _REAL or _hides_others(values, given):
        _refuse_bad_row(values if given is None or isinstance(values, Sequence) else given, field)
    if given is None or given.ndim != 2:
        shape = "rows of different lengths" if given is None else str(given.shape)
        raise InvalidArgument(f"{field} must have the shape (n, dim), not {shape}", ErrorDetails(field=field))
    return given if integers_stay and given.dtype.kind in "iu" else _matrix(given, field)


def query_from_input(vector: Any) -> Matrix:
    """Return one query, (dim,) real numbers, as a matrix (1, dim). Raises InvalidArgument."""
    vector = plain_column(vector)
    given = _array(vector, "vector")
    if given is not None and (given.ndim != 1 or given.size == 0) and given.dtype.kind in _REAL:
        raise InvalidArgument(
            f"vector must have the shape (dim,), not {given.shape}; search_many takes several", ErrorDetails(field="vector")
        )
    if given is None or given.dtype.kind not in _REAL or _hides_others([vector], given[None, :]):
        reason = row_fault(vector) or "holds something else"
        raise InvalidArgument(f"vector {reason}: it must be a list of real numbers", ErrorDetails(field="vector", index=0))
    return _matrix(given[None, :], "vector")


def row_from_input(row: Any) -> AnyArray:
    """Return one vector as an array (dim,) of real numbers, not rounded yet.

    Raises ValueError that says what is wrong.
    """
    given = _array(row, "vector")
    if given is None or given.dtype.kind not in _REAL or given.ndim != 1 or given.size == 0 or _hides_others([row], given[None, :]):
        raise ValueError(f"must be a list of numbers: it {row_fault(row) or 'is empty'}")
    return given


def row_fault(row: Any) -> str:
    """Return why a value is not a vector, as the end of a sentence; "" for a list or array of numbers."""
    if isinstance(row, np.ma.MaskedArray) and np.ma.is_masked(row):
        return f"is masked at position {int(np.flatnonzero(np.ma.getmaskarray(row).ravel())[0])}"
    if row is None or isinstance(row, (str, bytes, bool, int, float)):
        return f"is {_named(row)}"
    if isinstance(row, np.ndarray):
        if row.ndim != 1:
            return f"has the shape {row.shape}"
        if row.dtype.kind != "O":
            if row.dtype.kind not in _REAL:
                return f"holds values of dtype {row.dtype}"
            return "" if _is_finite(row) else "holds NaN or infinity in float32"
    elif not isinstance(row, Sequence):
        try:
            array = _array(row, "vector")
        except InvalidArgument as error:
            return error.message.removeprefix("vector ")
        return row_fault(array) if array is not None and array.ndim else f"is a {type(row).__name__}"
    return next((f"holds {reason} at position {at}" for at, value in enumerate(row) if (reason := _unfit(value))), "")


def _array(values: Any, field: str) -> AnyArray | None:
    """Return user input as a numpy array; None for a list whose rows do not form an array.

    Raises InvalidArgument for anything else.
    """
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            index = int(np.argwhere(np.ma.getmaskarray(values))[0][0]) if values.ndim else 0
            raise InvalidArgument(f"{field}[{index}] is masked: numbers are needed everywhere", ErrorDetails(field=field, index=index))
        values = values.data
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(values, (list, tuple)):
            return None
        # __array__ of the object raised this; a tensor with a gradient does, or one of a dtype that numpy lacks.
        kind = type(values).__name__
        raise InvalidArgument(f"{field} cannot be read as an array of numbers ({kind}: {error})", ErrorDetails(field=field)) from None


def _matrix(given: AnyArray, field: str) -> Matrix:
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(given, dtype=np.float32)
    check_finite(matrix, field=field)
    return matrix


def _hides_others(values: Any, given: AnyArray) -> bool:
    """Return whether a list holds booleans or masked values, which numpy silently converts to numbers.

    Only a row with a 0 or 1 can hold a boolean.
    """
    if not isinstance(values, (list, tuple)) or given.ndim != 2:
        return False
    if any(issubclass(kind, np.ma.MaskedArray) for kind in set(map(type, values))) and any(map(np.ma.is_masked, values)):
        return True
    suspects = np.flatnonzero(((given == 0) | (given == 1)).any(axis=1))
    return any(_has_boolean(values[at]) for at in suspects.tolist())


def _has_boolean(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return bool(row.dtype.kind == "b")
    return isinstance(row, (list, tuple)) and not {bool, np.bool_}.isdisjoint(map(type, row))


def _refuse_bad_row(values: Any, field: str) -> None:
    """Raise InvalidArgument that names the first row that is not a vector, if there is one."""
    if isinstance(values, np.ndarray) and values.dtype.kind in _REAL:
        return
    if isinstance(values, (str, bytes)) or (isinstance(values, np.ndarray) and values.ndim == 0):
        what = _named(values if isinstance(values, (str, bytes)) else values.item())
        raise InvalidArgument(f"{field} must be an array or a list of vectors, not {what}", ErrorDetails(field=field))
    first = None
    for index, row in enumerate(values):
        reason = row_fault(row)
        if not reason:
            first = len(row) if first is None else first
            reason = "" if len(row) == first else f"has {len(row)} numbers, the first vector has {first}"
        if reason:
            raise InvalidArgument(
                f"{field}[{index}] {reason}: each must be a list of as many real numbers", ErrorDetails(field=field, index=index)
            )
    raise InvalidArgument(f"{field} must be a matrix of numbers, not of objects: give a list, as of .tolist()", ErrorDetails(field=field))


def _unfit(value: Any) -> str:
    """Return what a value is that is not a real number; "" for a real number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return "" if _INT_MIN <= value <= _UINT_MAX else "an integer of more than 64 bits"
    is_scalar = isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)
    if isinstance(value, float) or (is_scalar and value.dtype.kind in _REAL and not isinstance(value, np.ma.MaskedArray)):
        return "" if _is_finite(value) else "NaN or infinity in float32"
    return _named(value)


def _is_finite(values: Any) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.asarray(values, dtype=np.float32)).all())


def _named(value: Any) -> str:
    match value:
        case None:
            return "None"
        case bool() | np.bool_():
            return f"the boolean {bool(value)}"
        case str():
            return "a text"
        case list() | tuple() | np.ndarray():
            return "a list"
        case int() | float():
            return "a number"
    return f"a {type(value).__name__}"
