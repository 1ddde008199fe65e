"""Changes of points that exist: payloads and vectors, and the rule of what a point is afterwards.

Every replica applies this rule to its own points, so its result is part of the log format: the same change of the same
point gives the same bytes at each replica, in each version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoal.core.errors import DataLoss, ErrorDetails, InvalidArgument
from shoal.core.filter import Filter, Path
from shoal.core.filter_predicate import predicate_of
from shoal.core.limits import Limits
from shoal.core.named_vectors import VectorColumn, check_packed, replaced
from shoal.core.payload import check_payload, payload_from_json, payload_to_json, stored_value
from shoal.core.points import IdArray, Matrix, PointColumns, StoredColumns, check_dim, check_finite, check_ids, check_unique

CHANGED_PAYLOADS = Limits(payload_bytes=1024 * 1024, payload_depth=100, payload_integer_bits=8_192)
"""Bounds on a payload after a change. Part of the log format: replicas of all versions must agree on them."""


@dataclass(frozen=True, slots=True)
class SetPayload:
    """Set the keys of a JSON object, UTF-8; other keys of a payload stay. What a key held is replaced as a whole."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class ReplacePayload:
    """Make a JSON object, UTF-8, the whole payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class DeletePayload:
    """Remove the fields at these paths, keys from the root; lists are not entered. A missing field is no error."""

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, eq=False)
class UpdateVectors:
    """Replace the vectors: (n, dim), one for each of the ids that the update names."""

    vectors: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class UpdateNamed:
    """Replace the vectors of these names; those of other names stay. Positions are those of the ids that the update
    names. Only what a user asks for: replicas apply UpdatePacked."""

    vectors: Mapping[str, VectorColumn]


@dataclass(frozen=True, slots=True, eq=False)
class UpdatePacked:
    """Replace the vectors that the packed rows have; the others stay (ADR 36).

    rows: (n, 1 + sum(dims)), one for each of the ids that the update names; dims: of all named vectors of the
    collection, in its order.
    """

    rows: Matrix
    dims: tuple[int, ...]


PayloadChange = SetPayload | ReplacePayload | DeletePayload
VectorChange = UpdateVectors | UpdateNamed | UpdatePacked
PointChange = PayloadChange | VectorChange


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PointUpdate:
    """Change those of the points `ids`, (n,) unique, that exist and match the filter."""

    ids: IdArray
    change: PointChange
    filter: Filter | None = None


def check_change(change: PointChange, limits: Limits) -> None:
    """Raise InvalidArgument for a payload that is not legal, for no path or too many, and for vectors that are not
    finite."""
    match change:
        case SetPayload(payload) | ReplacePayload(payload):
            check_payload(payload, limits)
        case DeletePayload(paths):
            _check_paths(paths, limits)
        case UpdateVectors(vectors):
            check_finite(vectors)
        case UpdateNamed(named):
            for name, column in named.items():
                check_finite(column.vectors, field=name)
        case UpdatePacked(rows, dims):
            check_packed(dims, rows)


def check_update(update: PointUpdate, dim: int, limits: Limits) -> None:
    """Raise InvalidArgument for an update that no replica could apply. dim: of the vectors that are stored."""
    check_unique(update.ids)
    check_ids(update.ids, limits)
    match update.change:
        case UpdateVectors(vectors) | UpdatePacked(vectors, _):
            check_dim(vectors, dim)
            if len(vectors) != len(update.ids):
                raise InvalidArgument(f"{len(vectors)} vectors are given for {len(update.ids)} ids", ErrorDetails(field="vectors"))
        case UpdateNamed():
            raise InvalidArgument("an update of named vectors must be packed before it is written", ErrorDetails(field="vectors"))
    check_change(update.change, limits)


def _check_paths(paths: tuple[Path, ...], limits: Limits) -> None:
    if not 1 <= len(paths) <= limits.filter_conditions:
        message = f"{len(paths)} paths are given, 1-{limits.filter_conditions} are allowed"
        raise InvalidArgument(message, ErrorDetails(field="paths", limit="filter_conditions"))
    for index, path in enumerate(paths):
        if not 1 <= len(path) <= limits.filter_path_keys:
            message = f"paths[{index}] has {len(path)} keys, 1-{limits.filter_path_keys} are allowed"
            raise InvalidArgument(message, ErrorDetails(field="paths", index=index, limit="filter_path_keys"))


def changed_payload(payload: bytes | None, change: PayloadChange) -> bytes:
    """Return the payload, JSON in UTF-8, after a change. None counts as {}.

    A key keeps its place, new keys follow in the order of the change. Raises InvalidArgument if the payload would not
    be a legal one: too long, too deep, or it holds what an older version stored and this one would not; and if it is no
    JSON object, unless it is replaced.
    """
    return payload_changer(change)(payload)


def changed_points(current: StoredColumns, update: PointUpdate) -> PointColumns:
    """Return the points of an update that it changes, as they are afterwards, in the order of its ids.

    current: the points of its ids that exist, in that order, with vectors and payloads. A point whose payload would not
    be a legal one stays as it is.
    """
    assert current.vectors is not None, "an update needs vectors"
    assert current.payloads is not None, "an update needs payloads"
    matching = positions_matching(current, update.filter)
    ids, vectors = current.ids[matching], current.vectors[matching]
    payloads = [current.payloads[at] for at in matching]
    match update.change:
        case UpdateVectors(given):
            return PointColumns(ids=ids, vectors=given[_places(update.ids, ids)], payloads=tuple(payloads))
        case UpdatePacked(rows, dims):
            after = replaced(dims, vectors, rows[_places(update.ids, ids)])
            return PointColumns(ids=ids, vectors=after, payloads=tuple(payloads))
        case UpdateNamed():
            raise AssertionError("named vectors are packed before they are written")
        case change:
            changed = _changed_payloads(payloads, change)
    kept = np.array([at for at, payload in enumerate(changed) if payload is not None], dtype=np.intp)
    return PointColumns(ids=ids, vectors=vectors, payloads=tuple(changed)).take(kept)


def _places(ids: IdArray, some: IdArray) -> list[int]:
    """Return the position of each of `some` in `ids`."""
    place = {point_id: at for at, point_id in enumerate(ids.tolist())}
    return [place[point_id] for point_id in some.tolist()]


def positions_matching(points: StoredColumns, filter: Filter | None, between: Callable[[], None] | None = None) -> list[int]:
    """Return the positions of the points that match, ascending. None matches each. The points have payloads.

    between: called between two points, and as predicate_of says.
    """
    if filter is None:
        return list(range(len(points)))
    assert points.payloads is not None, "a filter needs payloads"
    holds = predicate_of(filter, between)
    matching = []
    for at, (payload, point_id) in enumerate(zip(points.payloads, points.ids.tolist(), strict=True)):
        if between is not None:
            between()
        value = None if payload is None else stored_value(payload)
        if holds(value if type(value) is dict else None, point_id):
            matching.append(at)
    return matching


def _changed_payloads(payloads: list[bytes | None], change: PayloadChange) -> list[bytes | None]:
    """Return the payloads after a change, None for one that would not be legal."""
    changed: list[bytes | None] = []
    apply = payload_changer(change)
    for payload in payloads:
        try:
            changed.append(apply(payload))
        except InvalidArgument:
            changed.append(None)
    return changed


def payload_changer(change: PayloadChange) -> Callable[[bytes | None], bytes]:
    """Return a function that changes payloads, one after the other, as changed_payload does."""
    match change:
        case ReplacePayload(payload):
            return lambda _: payload
        case SetPayload(payload):
            members = _object_of(payload)
            return lambda before: _written({**_object_of(before), **members})
        case DeletePayload(paths):
            return lambda before: _written(_without(_object_of(before), paths))


def _object_of(payload: bytes | None) -> dict[str, Any]:
    try:
        return payload_from_json(payload) or {}
    except DataLoss as error:
        raise InvalidArgument(f"payload cannot be changed: {error.message}", ErrorDetails(field="payload")) from None


def _written(value: dict[str, Any]) -> bytes:
    text = payload_to_json(value, None, CHANGED_PAYLOADS)
    assert text is not None, "an object has a text"
    return text


def _without(value: dict[str, Any], paths: tuple[Path, ...]) -> dict[str, Any]:
    """Remove the fields at the paths from a value that nobody else holds, and return it."""
    for path in paths:
        holder: Any = value
        for key in path[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
    return value
