"""Which columns of a file hold ids, vectors and payloads, if the user does not say: by names and first values. Pure.

What is guessed beyond the usual names is told, so that a wrong guess is seen. A named vector is in the column of its
name (`column_of`); a null in it says that the point lacks the vector.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.payload import value_from_json

ID, VECTOR, PAYLOAD = "id", "vector", "payload"

_IDS = (ID, "_id", "ids", "key", "uuid", "pk", "point_id", "doc_id", "document_id")
_VECTORS = (VECTOR, "vectors", "embedding", "embeddings", "emb", "vec", "dense", "dense_vector", "values")
_PAYLOADS = (PAYLOAD, "payloads", "metadata", "meta")


@dataclass(frozen=True, kw_only=True)
class GivenColumns:
    """Names of columns as the user says them; None: to be guessed. payload: "" for none.

    dims: the named vectors of the collection, 0 for an unknown dimension; empty without them; vectors: columns of named
    vectors, "" for none.
    """

    id: str | None = None
    vector: str | None = None
    payload: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    vectors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns of a file of points.

    payload: "" for none; then all other columns form the payload. named: the column of each named vector, then `vector`
    means nothing; None without named vectors.
    """

    id: str = ID
    vector: str = VECTOR
    payload: str = PAYLOAD
    named: Mapping[str, str] | None = None

    @property
    def of_vectors(self) -> Collection[str]:
        """Return all columns of vectors."""
        return (self.vector,) if self.named is None else self.named.values()


def column_of(name: str) -> str:
    """Return the column in which an export has a named vector."""
    return f"{VECTOR}.{name}" if name in (ID, PAYLOAD) else name


def guessed_columns(wanted: GivenColumns, first: Mapping[str, Any], name: str) -> tuple[Columns, str]:
    """Return the columns of a file, and what was guessed in words, "" if nothing was. first: its first row, or with
    named vectors the first value of each column in the first rows, which may be JSON texts; name: of the file, for
    errors.

    Raises InvalidArgument that names the columns, if there is none or more than one that may hold the vectors.
    """
    named, guessed = _named_vectors(wanted, first, name) if wanted.dims else (None, {})
    vector = VECTOR if named is not None else wanted.vector or _vector(wanted, first, name)
    of_vectors = (vector,) if named is None else named.values()
    others = [each for each in first if each not in of_vectors]
    id_column = wanted.id or _named(_IDS, (each for each in others if _is_id(first[each])), others, ID)
    rest = [each for each in others if each != id_column]
    payload = wanted.payload
    if payload is None:
        payload = PAYLOAD if len(rest) != 1 else _named(_PAYLOADS, (each for each in rest if _is_object(first[each])), rest, PAYLOAD)
    found = Columns(id=id_column, vector=vector, payload=payload, named=named)
    guesses = [
        f"{column!r} as {what} (--{option} names another one)"
        for option, what, column, usual, said in (
            ("id", "ids", found.id, ID, wanted.id),
            ("vector", "vectors", found.vector, VECTOR, wanted.vector),
            ("payload", "payloads", found.payload, PAYLOAD, wanted.payload),
        )
        if said is None and column != usual
    ]
    guesses += [f"{column!r} as vector {each!r} (--vector-column names another one)" for each, column in guessed.items()]
    return found, f"{name}: taking column {' and '.join(guesses)}" if guesses else ""


def _named_vectors(wanted: GivenColumns, first: Mapping[str, Any], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the column of each named vector, and those of them that were guessed. A vector whose column is not in the
    first rows has that of its name, unless the user says that it has none.

    Raises InvalidArgument for a name that is none, and if no column of the first rows holds a vector.
    """
    unknown = next((each for each in wanted.vectors if each not in wanted.dims), None)
    if unknown is not None:
        raise _bad(f"--vector-column names the vector {unknown!r}, the collection has {', '.join(wanted.dims)}")
    found = {each: wanted.vectors.get(each) or column_of(each) for each in wanted.dims if wanted.vectors.get(each) != ""}
    columns = [*found.values(), *filter(None, (wanted.id, wanted.payload))]
    twice = next((column for at, column in enumerate(columns) if column in columns[:at]), None)
    if twice is not None:
        raise _bad(f"the column {twice!r} cannot hold two things: --vector-column, --id and --payload must name different ones")
    missing = next((each for each, column in wanted.vectors.items() if first and column and column not in first), None)
    if missing is not None:
        there = f"column {wanted.vectors[missing]!r} for the vector {missing!r} in its first rows (it has: {', '.join(first)})"
        raise _bad(f"{name} has no {there}; where a point lacks the vector, write null")
    open_names = [each for each, column in found.items() if each not in wanted.vectors and column not in first]
    taken = {*found.values(), ID if wanted.id is None else wanted.id, wanted.payload}
    left = {column: size for column, value in first.items() if column not in taken and (size := _size_of_vector(value))}
    guessed = _by_dim(open_names, wanted.dims, left, name)
    found |= guessed
    if first and not wanted.vectors and not any(column in first for column in found.values()):
        raise _bad(
            f"{name} has no column for any of the vectors {', '.join(wanted.dims)} (it has: {', '.join(first)}): "
            "--vector-column NAME=COLUMN says which column holds a vector"
        )
    return found, guessed


def _by_dim(names: list[str], dims: Mapping[str, int], left: Mapping[str, int], file: str) -> dict[str, str]:
    """Return the column of each of the named vectors that only one of the columns `left`, with their dimensions, may
    hold. Raises InvalidArgument if more than one may.
    """
    guessed: dict[str, str] = {}
    for each in names:
        fitting = [column for column, size in left.items() if size == dims[each] and column not in guessed.values()]
        rivals = [other for other in names if other not in (each, *guessed) and dims[other] == dims[each]]
        alike = [column for column in fitting if each.lower() in column.lower()] or ([] if rivals else fitting)
        if fitting and len(alike) != 1:
            said = f"{file}: {', '.join(map(repr, fitting))} may hold the vector {each!r}"
            raise _bad(f"{said}: --vector-column {each}=COLUMN names its column, --vector-column {each}= says that it has none")
        guessed |= {each: alike[0]} if alike else {}
    return guessed


def _vector(wanted: GivenColumns, first: Mapping[str, Any], name: str) -> str:
    if VECTOR in first:
        return VECTOR
    fitting = [each for each, value in first.items() if each not in (wanted.id, wanted.payload) and _is_vector(value)]
    found = _named(_VECTORS, fitting, (), "")
    if found or len(fitting) == 1:
        return found or fitting[0]
    if fitting:
        said = f"{name}: columns {', '.join(map(repr, fitting))} may hold the vectors"
        raise _bad(f"{said}: --vector names the one, --vector-column NAME=COLUMN several")
    # The reader says that it is missing, and which columns there are.
    return VECTOR


def _named(names: tuple[str, ...], fitting: Iterable[str], there: Iterable[str], otherwise: str) -> str:
    """Return the fitting column with the first of the names, in any case; the usual one if it is there at all."""
    if otherwise in there:
        return otherwise
    ranked = {each: names.index(each.lower()) for each in fitting if each.lower() in names}
    return min(ranked, key=ranked.__getitem__) if ranked else otherwise


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str, np.integer)) and not isinstance(value, bool) and value != ""


def _is_vector(value: Any) -> bool:
    return _size_of_vector(value) > 1


def _size_of_vector(value: Any) -> int:
    """Return the numbers of a value that may be a vector; 0 for another value."""
    listed = _read(value, "[")
    if isinstance(listed, np.ndarray):
        return listed.size if listed.ndim == 1 and listed.dtype.kind in "iuf" else 0
    is_vector = isinstance(listed, list) and all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in listed)
    return len(listed) if is_vector else 0


def _is_object(value: Any) -> bool:
    return isinstance(_read(value, "{"), Mapping)


def _read(value: Any, begin: str) -> Any:
    """Return the value of a JSON text that begins so; other values, and what is not JSON, as they are."""
    if not isinstance(value, str) or not value.lstrip().startswith(begin):
        return value
    try:
        return value_from_json(value)
    except ValueError:
        return value


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="file"))
