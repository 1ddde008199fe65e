"""Points: ids, vectors and payloads in columns; and the only conversion of user input to ids.

Ids are numpy arrays: int64 if all are integers, else object (of int and str).
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.frames import plain_column
from shoal.core.limits import Limits

if TYPE_CHECKING:
    # Named vectors are made of the columns below.
    from shoal.core.named_vectors import VectorColumn

PointId = int | str
IdArray = npt.NDArray[Any]
Matrix = npt.NDArray[np.float32]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
_SHOWN_INTEGERS = 10**40


@dataclass(frozen=True, kw_only=True, slots=True)
class PointColumns:
    """n points.

    ids: (n,); vectors: (n, dim) float32 as given; payloads: n JSON texts (UTF-8) or None, or None for all; encoded:
    returns the bytes of exactly these points as they were received in a message, None if they were not received so;
    named: their vectors by name, as a user gives them, then vectors is (n, 0). None: each has one without a name, which
    may be a packed row (ADR 36).
    """

    ids: IdArray
    vectors: Matrix
    payloads: tuple[bytes | None, ...] | None
    named: Mapping[str, VectorColumn] | None = None
    encoded: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: npt.NDArray[np.intp]) -> PointColumns:
        """Return the points at `positions`, in that order."""
        return PointColumns(
            ids=self.ids[positions],
            vectors=self.vectors[positions],
            payloads=None if self.payloads is None else tuple(self.payloads[at] for at in positions),
            named=None if self.named is None else {name: column.take(positions) for name, column in self.named.items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredColumns:
    """Points that were read. vectors, payloads: None if they were not requested; named: as in PointColumns, then
    vectors is None.
    """

    ids: IdArray
    vectors: Matrix | None
    payloads: tuple[bytes | None, ...] | None
    named: Mapping[str, VectorColumn] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def id_order(point_id: PointId) -> tuple[int, int, str]:
    """Return the sort key of an id: integers before strings."""
    return (1, 0, point_id) if isinstance(point_id, str) else (0, point_id, "")


def id_array(values: Iterable[PointId]) -> IdArray:
    """Return a column of ids that are known to be valid: int64 when all are integers, else object."""
    listed = list(values)
    if all(not isinstance(value, str) for value in listed):
        return np.array(listed, dtype=np.int64)
    column = np.empty(len(listed), dtype=object)
    column[:] = listed
    return column


def id_ranks(ids: IdArray) -> npt.NDArray[np.int64]:
    """Return numbers that sort as the ids do, integers before strings: (n,) int64."""
    if ids.dtype == np.int64:
        return ids
    listed = ids.tolist()
    values = set(listed)
    strings = {value for value in values if isinstance(value, str)}
    ranked = {value: rank for rank, value in enumerate(itertools.chain(sorted(values - strings), sorted(strings)))}
    return np.fromiter(map(ranked.__getitem__, listed), dtype=np.int64, count=len(ids))


def without_repeats(ids: IdArray) -> IdArray:
    """Return the ids in the order of their first appearance, each once."""
    once = dict.fromkeys(ids.tolist())
    if len(once) == len(ids):
        return ids
    column = np.empty(len(once), dtype=ids.dtype)
    column[:] = list(once)
    return column


def ids_from_input(values: Any, limits: Limits, *, ordered: bool = False) -> IdArray:
    """Return a column of ids from user input: ints, strings or UUIDs (which become strings) in a list or array.

    ordered: refuse a set.

    Raises InvalidArgument that names the index of the first value that is not an id.
    """
    values = plain_column(values)
    if isinstance(values, np.ndarray):
        _check_id_array(values)
        if values.dtype.kind == "i":
            return values.astype(np.int64)
    elif isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise _no_ids(f"not {type(values).__name__}")
    elif ordered and isinstance(values, (set, frozenset)):
        raise _no_ids(f"not {type(values).__name__}, which has no order: each vector belongs to the id in its place")
    return id_array(_checked_id(value, index, limits) for index, value in enumerate(values))


def _check_id_array(values: IdArray) -> None:
    if values.ndim != 1:
        raise _no_ids(f"of the shape (n,), not {values.shape}")
    if np.ma.is_masked(values):
        index = int(np.flatnonzero(np.ma.getmaskarray(values))[0])
        raise InvalidArgument(f"ids[{index}] is masked: every point needs an id", ErrorDetails(field="ids", index=index))


def _no_ids(given: str) -> InvalidArgument:
    return InvalidArgument(f"ids must be a list or array of ints and strings, {given}", ErrorDetails(field="ids"))


def check_ids(ids: IdArray, limits: Limits) -> None:
    """Raise InvalidArgument that names the first id that exceeds a limit."""
    if ids.dtype == object:
        for index, value in enumerate(ids.tolist()):
            _checked_id(value, index, limits)


def check_unique(ids: IdArray) -> None:
    """Raise InvalidArgument that names the first id that is given twice."""
    if len(ids) == len(set(ids.tolist())):
        return
    seen: set[PointId] = set()
    for index, value in enumerate(ids.tolist()):
        if value in seen:
            raise InvalidArgument(f"ids[{index}]: {value!r} is given twice in one call", ErrorDetails(field="ids", index=index))
        seen.add(value)


def check_finite(vectors: Matrix, *, field: str = "vectors", positions: npt.NDArray[np.intp] | None = None) -> None:
    """Raise InvalidArgument that names the first vector that holds NaN or infinity (float32 overflow included).

    positions: by which vectors are named, None for those in the matrix.
    """
    finite = np.isfinite(vectors)
    if finite.all():
        return
    index = _named_position(int(np.argmin(finite.all(axis=1))), positions)
    raise InvalidArgument(f"{field}[{index}] holds NaN or infinity in float32", ErrorDetails(field=field, index=index))


def check_dim(vectors: Matrix, dim: int, *, field: str = "vectors", owner: str = "the collection") -> None:
    """Raise InvalidArgument if vectors are not (n, dim). owner: of the dimension."""
    if vectors.shape[1] != dim:
        raise InvalidArgument(f"{field} have dimension {vectors.shape[1]}, {owner} has {dim}", ErrorDetails(field=field, index=0))


def check_nonzero(vectors: Matrix, *, field: str = "vectors", positions: npt.NDArray[np.intp] | None = None) -> None:
    """Raise InvalidArgument that names the first zero vector, which has no direction (for cosine). positions: as in
    check_finite.
    """
    nonzero = vectors.any(axis=1)
    if not nonzero.all():
        index = _named_position(int(np.argmin(nonzero)), positions)
        raise InvalidArgument(f"{field}[{index}] is zero: it has no direction under cosine", ErrorDetails(field=field, index=index))


def _named_position(index: int, positions: npt.NDArray[np.intp] | None) -> int:
    return index if positions is None else int(positions[index])


def _checked_id(value: Any, index: int, limits: Limits) -> PointId:
    if isinstance(value, str):
        # str() of a member of a text enumeration may return its name; str.__str__ returns its text.
        return _checked_string_id(str.__str__(value), index, limits)
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64)):
        if INT64_MIN <= value <= INT64_MAX:
            return int(value)
        # Python refuses to write integers of more than 4,300 digits.
        shown = str(value) if abs(int(value)) < _SHOWN_INTEGERS else f"an integer of {int(value).bit_length()} bits"
        raise InvalidArgument(f"ids[{index}]: {shown} does not fit into 64 bits", ErrorDetails(field="ids", index=index))
    if isinstance(value, uuid.UUID):
        return str(value)
    raise InvalidArgument(f"ids[{index}] must be an int or a string, not {type(value).__name__}", ErrorDetails(field="ids", index=index))


def _checked_string_id(value: str, index: int, limits: Limits) -> str:
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"ids[{index}] is not valid Unicode: {error.reason}", ErrorDetails(field="ids", index=index)) from None
    if 0 < size <= limits.id_bytes:
        return value
    raise InvalidArgument(
        f"ids[{index}] has {size} bytes, 1-{limits.id_bytes} are allowed", ErrorDetails(field="ids", index=index, limit="id_bytes")
    )
