"""Changes of points that exist, as a user gives them: checked, converted, and cut into messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.client import inputs
from shoal.client.cutting import MESSAGE_BYTES, cut, id_sizes, last_of_each
from shoal.client.flow import Flow
from shoal.client.named_columns import bytes_of_row, within
from shoal.client.writes import Sender, Write, checked_against_collection, in_parts
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Filter, Path
from shoal.core.filter_check import FilterPlace, check_key, check_path_length, constant_truth
from shoal.core.filter_input import path_from_text
from shoal.core.frames import plain_column
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.payload import payload_to_json
from shoal.core.point_change import DeletePayload, PayloadChange, PointChange, ReplacePayload, SetPayload, UpdateNamed, UpdateVectors
from shoal.core.points import IdArray, check_unique
from shoal.core.replies import Written
from shoal.core.requests import Update
from shoal.core.shown import shown

Prepared = tuple[Write, Flow[None] | None]
"""A write, and the flow to run before it, if any."""

CHANGED_POINTS = 1_000
"""Most points whose payload one message changes: each of them is written as a whole, with its vector."""

PAYLOAD_BYTES = 64 * 1024 * 1024
"""Most bytes of the given payload, once for each id, that one message makes the shards write."""


def set_payload(payload: Any) -> SetPayload:
    """Return the change that sets the keys of a payload, a dict as upsert takes it. Raises InvalidArgument."""
    return SetPayload(_payload(payload))


def replace_payload(payload: Any) -> ReplacePayload:
    """Return the change that makes a payload the whole one, a dict as upsert takes it. Raises InvalidArgument."""
    return ReplacePayload(_payload(payload))


def delete_payload(keys: Any) -> DeletePayload:
    """Return the change that removes fields. keys: a path as filters write it, or several, of which each may also be a
    list of keys. Raises InvalidArgument naming a bad one.
    """
    listed = plain_column([keys] if isinstance(keys, str) else keys)
    if isinstance(listed, (bytes, Mapping)) or not isinstance(listed, Iterable):
        raise _bad_keys(f"keys is {shown(keys)}, it must be a path such as 'author.name', or a list of paths")
    paths = tuple(dict.fromkeys(_path(key, index) for index, key in enumerate(listed)))
    if not paths:
        raise _bad_keys("keys is empty, at least one is needed")
    return DeletePayload(paths)


def update(collection: str, change: PayloadChange, ids: Any, filter: Any, sender: Sender) -> Prepared:
    """Return the write that changes payloads of ids, of the points that match, or of the ids that match, and the flow
    to run before it: none. An id that is given twice is changed once. Raises InvalidArgument.
    """
    if ids is None and filter is None:
        raise InvalidArgument("give ids, a filter or both: which points are to be changed", ErrorDetails(field="ids"))
    matching = inputs.filter_or_none(filter)
    if ids is None:
        return _of_matching(collection, change, matching, sender), None
    columns = inputs.ids_of_call(ids)
    positions = last_of_each(columns)
    kept = columns if positions is None else columns[positions]
    return _of_ids(collection, change, kept, positions, matching, sender), None


def update_vectors(collection: str, ids: Any, vectors: Any, sender: Sender) -> Prepared:
    """Return the write that replaces vectors, and the flow to run before it, if any. ids, vectors: as upsert takes
    them. Raises InvalidArgument, also for an id that is given twice, and for names of which no id has a vector.
    """
    points = inputs.points_from_input(ids, vectors, None, integers_stay=True)
    check_unique(points.ids)
    if points.named is not None and not any(len(column.vectors) for column in points.named.values()):
        raise InvalidArgument("vectors has no vector for any id: give at least one, by its name", ErrorDetails(field="vectors"))
    change = UpdateVectors(points.vectors) if points.named is None else UpdateNamed(points.named)
    write = _of_ids(collection, change, points.ids, None, None, sender)
    if len(write.pieces) == 1:
        return write, None
    return write, checked_against_collection(collection, points, timeout_s=sender.timeout_s, routers=sender.routers)


def _of_matching(collection: str, change: PayloadChange, filter: Filter | None, sender: Sender) -> Write:
    """Return the write of every point that matches, in one message."""
    if filter is None or constant_truth(filter) is True:
        raise InvalidArgument("filter would change every point: name the points by a field or by $id", ErrorDetails(field="filter"))

    def make(start: int, end: int) -> Flow[Written]:
        return sender.sent(collection, Update(collection=collection, change=change, filter=filter, request_id=sender.request_ids.next()))

    return Write(collection=collection, pieces=((0, 1),), positions=None, make=make)


def _of_ids(
    collection: str, change: PointChange, ids: IdArray, positions: npt.NDArray[np.intp] | None, filter: Filter | None, sender: Sender
) -> Write:
    """Return the write of these ids, each once. positions: of the ids in the user's input, None if none was left out.

    Integer vectors are converted to float32 for each message.
    """

    def send(start: int, end: int) -> Flow[Written]:
        part = Update(
            collection=collection,
            change=_of_piece(change, start, end),
            ids=ids[start:end],
            filter=filter,
            request_id=sender.request_ids.next(),
        )
        return sender.sent(collection, part)

    def make(start: int, end: int) -> Flow[Written]:
        return in_parts(collection, send, start, end)

    sizes, most = id_sizes(ids), CHANGED_POINTS
    match change:
        case UpdateVectors(vectors):
            sizes, most = sizes + 4 * vectors.shape[1], DEFAULT_LIMITS.upsert_points
        case UpdateNamed(columns):
            sizes, most = sizes + bytes_of_row(columns), DEFAULT_LIMITS.upsert_points
        case SetPayload(payload) | ReplacePayload(payload):
            most = min(most, max(1, PAYLOAD_BYTES // len(payload)))
        case DeletePayload():
            pass
    pieces = cut(sizes, max_bytes=MESSAGE_BYTES, max_count=most)
    return Write(collection=collection, pieces=tuple(pieces), positions=positions, make=make)


def _of_piece(change: PointChange, start: int, end: int) -> PointChange:
    if isinstance(change, UpdateVectors):
        return UpdateVectors(change.vectors[start:end].astype(np.float32, copy=False))
    if isinstance(change, UpdateNamed):
        return UpdateNamed(within(change.vectors, start, end))
    return change


def _payload(payload: Any) -> bytes:
    if not isinstance(payload, Mapping):
        raise InvalidArgument(f"payload is {shown(payload)}, it must be a dict", ErrorDetails(field="payload"))
    text = payload_to_json(payload, None)
    assert text is not None, "a dict has a text"
    return text


def _path(key: Any, index: int) -> Path:
    if not isinstance(key, str) and not _is_list_of_keys(key):
        raise _bad_keys(f"keys[{index}] is {shown(key)}, it must be a text such as 'author.name', or a list of keys", index)
    try:
        return path_from_text(str.__str__(key), FilterPlace(), DEFAULT_LIMITS) if isinstance(key, str) else _path_of_keys(key)
    except InvalidArgument as error:
        raise _bad_keys(f"keys[{index}] is {shown(key)}: {error.message.removeprefix('filter: ')}", index, error.details.limit) from None


def _is_list_of_keys(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(key, str) for key in value)


def _path_of_keys(keys: Sequence[str]) -> Path:
    check_path_length(len(keys), FilterPlace(), DEFAULT_LIMITS)
    for key in keys:
        check_key(key, FilterPlace(), DEFAULT_LIMITS)
    return tuple(map(str.__str__, keys))


def _bad_keys(message: str, index: int | None = None, limit: str | None = None) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="keys", index=index, limit=limit))
