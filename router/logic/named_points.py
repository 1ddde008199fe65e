"""Packs the named vectors of a call into the rows that shards keep, and unpacks those of an answer (ADR 36). Pure.

Callers know vectors by name, shards know packed rows. A collection with one vector passes through unchanged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import Limits
from shoal.core.named_vectors import VectorColumn, packed, unpacked
from shoal.core.point_change import PointChange, UpdateNamed, UpdatePacked
from shoal.core.points import IdArray, Matrix, PointColumns, StoredColumns, check_dim
from shoal.core.shown import shown
from shoal.core.topk import HitColumns
from shoal.router.logic.vector_checks import check_vectors

NAME_BYTES = 100
"""Most bytes of a named vector in an answer, beside its numbers and positions."""

POSITION_BYTES = 3
"""Most bytes of a position in an answer: below 2**21, far above the points of a page."""

_POINT_BYTES = 16
"""Most bytes of an integer id, or of the lengths and tags around a text, and around a payload, in a write."""


def check_named(named: Mapping[str, VectorColumn], count: int, spec: CollectionSpec) -> None:
    """Raise InvalidArgument unless the vectors of `count` points fit the collection, which has named vectors.

    It tells the name, and the position of a point whose vector is not finite, or zero under cosine.
    """
    for name, column in named.items():
        vector = spec.vector_of(name)
        column.check(name, count)
        if not len(column.vectors):
            # A caller that gives none does not always know the dimension.
            continue
        check_dim(column.vectors, vector.dim, field=f"vectors[{name!r}]", owner=f"vector {name!r}")
        check_vectors(column.vectors, vector.metric, field=f"vectors[{name!r}]", positions=column.positions)


def check_room(ids: IdArray, payloads: Sequence[bytes | None] | None, spec: CollectionSpec, limits: Limits) -> None:
    """Raise InvalidArgument if the packed rows of these points are larger than a message, however few vectors they
    have.

    Nothing is packed before, because a small message may name thousands of points with room for large vectors.
    """
    given = ids.tolist() if ids.dtype == object else ()
    texts = sum(len(each.encode()) for each in given if isinstance(each, str)) + sum(map(len, filter(None, payloads or ())))
    size = len(ids) * (4 * spec.point_dim + _POINT_BYTES) + texts
    if size > limits.message_bytes:
        fitting = max(1, limits.message_bytes * len(ids) // size)
        message = (
            f"{len(ids)} points take {size:,} bytes in shards, where each has room for all vectors of collection {spec.name!r}; "
            f"a message has {limits.message_bytes:,}: write at most {fitting} of them at once"
        )
        raise InvalidArgument(message, ErrorDetails(field="vectors", limit="message_bytes"))


def check_naming(named: Mapping[str, VectorColumn] | None, spec: CollectionSpec) -> None:
    """Raise InvalidArgument unless vectors have names exactly where those of the collection have. named: None if they
    have none.
    """
    if spec.vectors and named is None:
        _refuse(f"collection {spec.name!r} has several vectors, give them by name: {names_of(spec)}")
    if not spec.vectors and named is not None:
        given = f"not {shown(', '.join(named))}" if named else "for each point"
        _refuse(f"collection {spec.name!r} has one vector of {spec.dim} dimensions without a name: give this, {given}")


def names_of(spec: CollectionSpec) -> str:
    """Return the names of all vectors, for a message."""
    return ", ".join(each.name for each in spec.vectors)


def packed_points(points: PointColumns, spec: CollectionSpec) -> PointColumns:
    """Return checked points as shards keep them."""
    if points.named is None:
        return points
    return PointColumns(ids=points.ids, vectors=_packed(points.named, len(points), spec), payloads=points.payloads)


def packed_change(change: PointChange, ids: IdArray | None, spec: CollectionSpec) -> PointChange:
    """Return a checked change as shards apply it. ids: of the call; vectors are only changed with some."""
    if not isinstance(change, UpdateNamed):
        return change
    assert ids is not None, "vectors are given with ids"
    return UpdatePacked(_packed(change.vectors, len(ids), spec), tuple(each.dim for each in spec.vectors))


def unpacked_points(points: StoredColumns, spec: CollectionSpec) -> StoredColumns:
    """Return points as a caller gets them."""
    if not spec.vectors or points.vectors is None:
        return points
    return dataclasses.replace(points, vectors=None, named=_unpacked(points.vectors, spec))


def unpacked_hits(hits: HitColumns, spec: CollectionSpec) -> HitColumns:
    """Return hits as a caller gets them."""
    if not spec.vectors or hits.vectors is None:
        return hits
    return dataclasses.replace(hits, vectors=None, named=_unpacked(hits.vectors, spec))


def _packed(named: Mapping[str, VectorColumn], count: int, spec: CollectionSpec) -> Matrix:
    return packed([each.dim for each in spec.vectors], [named.get(each.name) for each in spec.vectors], count)


def _unpacked(rows: Matrix, spec: CollectionSpec) -> dict[str, VectorColumn]:
    """Return a column for each name, also for one that no point has: so an answer tells that vectors were asked for."""
    columns = unpacked([each.dim for each in spec.vectors], rows)
    return {each.name: column for each, column in zip(spec.vectors, columns, strict=True)}


def _refuse(message: str) -> None:
    raise InvalidArgument(message, ErrorDetails(field="vectors"))
