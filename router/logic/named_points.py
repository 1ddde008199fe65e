"""Packs the named vectors of a call into the rows that shards keep, and unpacks those of an answer (ADR 36). Pure.

Callers know vectors by name, shards know packed rows. A collection with one vector passes through unchanged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ErrorDetails, InvalidArgument
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


def check_named(named: Mapping[str, VectorColumn], count: int, spec: CollectionSpec) -> None:
    """Raise InvalidArgument unless the vectors of `count` points fit the collection, which has named vectors.

    It tells the name, and the position of a point whose vector is not finite, or zero under cosine.
    """
    for name, column in named.items():
        vector = spec.vector_of(name)
        column.check(name, count)
        check_dim(column.vectors, vector.dim, field=f"vectors[{name!r}]", owner=f"vector {name!r}")
        check_vectors(column.vectors, vector.metric, field=f"vectors[{name!r}]", positions=column.positions)


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
