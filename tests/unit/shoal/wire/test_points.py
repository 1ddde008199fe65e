"""Test that public writes and reads of points, and their answers, are equal after a way through messages."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.filter import And, Filter, HasId, filter_key
from shoal.core.ids import RequestId
from shoal.core.point_change import PointChange, ReplacePayload
from shoal.core.points import PointColumns, StoredColumns, id_array
from shoal.core.replies import Got, Page, Written
from shoal.core.requests import Count, Delete, DeleteMatching, Get, ReadAs, Scroll, ShardToken, Update, Upsert
from shoal.v1 import points_pb2
from shoal.wire import points as wire
from tests.support.examples.filters import filters
from tests.unit.shoal.wire.strategies import (
    changes,
    id_lists,
    named_points,
    over_the_wire,
    point_columns,
    point_ids,
    reads,
    same_change,
    same_ids,
    same_matrix,
    same_named,
    same_payloads,
    stored_columns,
    tokens,
)

uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
names = st.text(max_size=5)
request_ids = st.none() | st.builds(RequestId, st.text(min_size=1, max_size=8), st.integers(0, 2**63 - 1))
flags = st.booleans()


def but(value: Any, *without: str) -> dict[str, Any]:
    """Return the fields of a request, without those named."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name not in without}


def key(filter: Filter | None) -> str | None:
    return None if filter is None else repr(filter_key(filter))


@settings(deadline=None)
@given(point_columns() | named_points(), names, request_ids)
def test_an_upsert_comes_back(points: PointColumns, collection: str, request_id: RequestId | None) -> None:
    request = Upsert(collection=collection, points=points, request_id=request_id)
    got = wire.upsert_from_message(points_pb2.UpsertRequest.FromString(wire.upsert_to_bytes(request)))
    assert but(got, "points") == but(request, "points")
    assert same_ids(got.points.ids, points.ids)
    assert same_named(got.points.named, points.named)
    assert same_matrix(got.points.vectors, points.vectors)
    assert same_payloads(got.points.payloads, points.payloads)


@settings(deadline=None)
@given(id_lists, filters(), names, request_ids)
def test_a_delete_comes_back(ids: list[Any], filter: Filter, collection: str, request_id: RequestId | None) -> None:
    by_id = Delete(collection=collection, ids=id_array(ids), request_id=request_id)
    got = wire.delete_from_message(over_the_wire(wire.delete_to_message(by_id)))
    assert isinstance(got, Delete)
    assert same_ids(got.ids, by_id.ids)
    assert but(got, "ids") == but(by_id, "ids")
    matching = DeleteMatching(collection=collection, filter=filter, request_id=request_id)
    found = wire.delete_from_message(over_the_wire(wire.delete_to_message(matching)))
    assert isinstance(found, DeleteMatching)
    assert (key(found.filter), but(found, "filter")) == (key(filter), but(matching, "filter"))


@settings(deadline=None)
@given(st.none() | id_lists, st.none() | filters(), changes, names, request_ids)
def test_an_update_comes_back(
    ids: list[Any] | None, filter: Filter | None, change: PointChange, collection: str, request_id: RequestId | None
) -> None:
    columns = None if ids is None else id_array(ids)
    request = Update(collection=collection, ids=columns, filter=filter, change=change, request_id=request_id)
    got = wire.update_from_message(over_the_wire(wire.update_to_message(request)))
    assert got.ids is columns is None or (got.ids is not None and columns is not None and same_ids(got.ids, columns))
    assert same_change(got.change, change)
    assert key(got.filter) == key(filter)
    assert but(got, "ids", "filter", "change") == but(request, "ids", "filter", "change")


@settings(deadline=None)
@given(id_lists, names, flags, flags, flags, reads, names)
def test_a_get_comes_back(
    ids: list[Any], collection: str, with_payload: bool, with_vectors: bool, in_parts: bool, read: ReadAs, caller: str
) -> None:
    request = Get(
        collection=collection, ids=id_array(ids), with_payload=with_payload, with_vectors=with_vectors, read=read, in_parts=in_parts
    )
    got = wire.get_from_message(over_the_wire(wire.get_to_message(request)), caller)
    assert same_ids(got.ids, request.ids)
    assert but(got, "ids") == {**but(request, "ids"), "read": dataclasses.replace(read, caller=caller)}


@settings(deadline=None)
@given(st.none() | filters(), names, reads, st.none() | point_ids, uint32, flags, flags, names)
def test_a_count_and_a_scroll_come_back(
    filter: Filter | None, collection: str, read: ReadAs, after: Any, limit: int, with_payload: bool, with_vectors: bool, owner: str
) -> None:
    count = Count(collection=collection, filter=filter, read=read)
    scroll = Scroll(
        collection=collection,
        after=after,
        limit=limit,
        filter=filter,
        with_payload=with_payload,
        with_vectors=with_vectors,
        read=read,
        collection_id=owner,
    )
    counted = wire.count_from_message(over_the_wire(wire.count_to_message(count)))
    scrolled = wire.scroll_from_message(over_the_wire(wire.scroll_to_message(scroll)))
    assert but(counted, "filter") == but(count, "filter")
    assert but(scrolled, "filter") == but(scroll, "filter")
    # A filter that matches every point is not sent.
    assert {key(counted.filter), key(scrolled.filter)} <= {key(filter), None}


def test_a_filter_that_says_nothing_is_none() -> None:
    request = Count(collection="c", filter=And(()))
    assert wire.count_from_message(over_the_wire(wire.count_to_message(request))).filter is None


@settings(deadline=None)
@given(stored_columns(), tokens, uint32, flags, names)
def test_answers_come_back(points: StoredColumns, written: tuple[ShardToken, ...], number: int, more: bool, owner: str) -> None:
    got = wire.got_from_message(over_the_wire(wire.got_to_message(Got(points=points, answered=number))))
    page = wire.page_from_message(over_the_wire(wire.page_to_message(Page(points=points, more=more, collection_id=owner))))
    for columns in (got.points, page.points):
        assert same_ids(columns.ids, points.ids)
        assert same_matrix(columns.vectors, points.vectors)
        assert same_payloads(columns.payloads, points.payloads)
    assert (got.answered, page.more, page.collection_id) == (number, more, owner)
    assert wire.counted_from_message(over_the_wire(wire.counted_to_message(number))) == number
    deleted = Written(tokens=written, affected=number)
    assert wire.deleted_from_message(over_the_wire(wire.deleted_to_message(deleted))) == deleted
    assert wire.updated_from_message(over_the_wire(wire.updated_to_message(deleted))) == deleted
    assert wire.upserted_from_message(over_the_wire(wire.upserted_to_message(deleted))).tokens == written


def test_ids_beside_a_filter_are_refused() -> None:
    message = wire.delete_to_message(DeleteMatching(collection="c", filter=HasId((1,))))
    message.ids.integers.append(7)
    with pytest.raises(InvalidArgument, match="ids or a filter, not both"):
        wire.delete_from_message(message)


def test_an_update_without_a_change_or_with_an_empty_list_of_ids_is_told_apart() -> None:
    message = wire.update_to_message(Update(collection="c", ids=id_array([]), change=ReplacePayload(b"")))
    got = wire.update_from_message(over_the_wire(message))
    assert (got.ids is not None and len(got.ids), got.change) == (0, ReplacePayload(b""))
    message.ClearField("change")
    with pytest.raises(InvalidArgument, match="an update needs one of set_payload, replace_payload, delete_payload, vectors"):
        wire.update_from_message(message)


def test_the_vectors_of_an_upsert_are_not_changed_by_their_layout() -> None:
    rows = np.arange(24, dtype=np.float32).reshape(4, 6)
    for vectors in (rows, rows[:, ::2], rows[::-1], np.asfortranarray(rows)):
        points = PointColumns(ids=np.arange(4), vectors=vectors, payloads=None)
        message = points_pb2.UpsertRequest.FromString(wire.upsert_to_bytes(Upsert(collection="c", points=points)))
        assert np.array_equal(wire.upsert_from_message(message).points.vectors, vectors)
