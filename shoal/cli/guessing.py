"""Which columns of a file hold ids, vectors and payloads, if the user does not say: by names and first values. Pure.

What is guessed beyond the usual names is told, so that a wrong guess is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    """Names of columns as the user says them; None: to be guessed. payload: "" for none."""

    id: str | None = None
    vector: str | None = None
    payload: str | None = None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns of a file of points.

    payload: "" for none; then all other columns form the payload.
    """

    id: str = ID
    vector: str = VECTOR
    payload: str = PAYLOAD


def guessed_columns(wanted: GivenColumns, first: Mapping[str, Any], name: str) -> tuple[Columns, str]:
    """Return the columns of a file, and what was guessed in words, "" if nothing was. first: its first row, values that
    may be JSON texts; name: of the file, for errors.

    Raises InvalidArgument that names the columns, if there is none or more than one that may hold the vectors.
    """
    vector = wanted.vector or _vector(wanted, first, name)
    others = [each for each in first if each != vector]
    id_column = wanted.id or _named(_IDS, (each for each in others if _is_id(first[each])), others, ID)
    rest = [each for each in others if each != id_column]
    payload = wanted.payload
    if payload is None:
        payload = PAYLOAD if len(rest) != 1 else _named(_PAYLOADS, (each for each in rest if _is_object(first[each])), rest, PAYLOAD)
    found = Columns(id=id_column, vector=vector, payload=payload)
    guesses = [
        f"{column!r} as {what} (--{option} names another one)"
        for option, what, column, usual, said in (
            ("id", "ids", found.id, ID, wanted.id),
            ("vector", "vectors", found.vector, VECTOR, wanted.vector),
            ("payload", "payloads", found.payload, PAYLOAD, wanted.payload),
        )
        if said is None and column != usual
    ]
    return found, f"{name}: taking column {' and '.join(guesses)}" if guesses else ""


def _vector(wanted: GivenColumns, first: Mapping[str, Any], name: str) -> str:
    if VECTOR in first:
        return VECTOR
    fitting = [each for each, value in first.items() if each not in (wanted.id, wanted.payload) and _is_vector(value)]
    found = _named(_VECTORS, fitting, (), "")
    if found or len(fitting) == 1:
        return found or fitting[0]
    if fitting:
        said = f"{name}: columns {', '.join(map(repr, fitting))} may hold the vectors: --vector names the one"
        raise InvalidArgument(said, ErrorDetails(field="file"))
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
    listed = _read(value, "[")
    if isinstance(listed, np.ndarray):
        return listed.ndim == 1 and listed.size > 1 and listed.dtype.kind in "iuf"
    return (
        isinstance(listed, list)
        and len(listed) > 1
        and all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in listed)
    )


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
