"""Converts public writes and reads of points, and their answers, between values and messages."""

from __future__ import annotations

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.replies import Got, Page, Written
from shoal.core.requests import Count, Delete, DeleteMatching, Get, Scroll, Update, Upsert
from shoal.core.turns import FREE, Turn
from shoal.v1 import points_pb2
from shoal.wire.call_parts import (
    consistency_to_message,
    optional_filter,
    optional_request_id,
    read_from_message,
    request_id_to_message,
    telling_filter,
    tokens_from_messages,
    tokens_to_messages,
)
from shoal.wire.columns import id_from_message, id_to_message, ids_from_message, ids_to_message, points_to_message, stored_from_message
from shoal.wire.filters import filter_from_message, filter_to_message, optional_filter_to_message
from shoal.wire.method import Method, Methods, serialized
from shoal.wire.point_bytes import POINTS_OF_UPSERT, points_from_request, with_points
from shoal.wire.point_changes import change_from_message, change_to_message


def upsert_to_bytes(request: Upsert) -> bytes:
    """Return an upsert as the bytes of its message. The points are copied once."""
    message = points_pb2.UpsertRequest(collection=request.collection, request_id=request_id_to_message(request.request_id))
    return with_points(message, POINTS_OF_UPSERT, request.points)


def upsert_from_message(message: points_pb2.UpsertRequest) -> Upsert:
    """Return the upsert of a message. Raises InvalidArgument for columns that do not fit together, or a bad id."""
    points = points_from_request(message.points)
    return Upsert(collection=message.collection, points=points, request_id=optional_request_id(message))


def delete_to_message(request: Delete | DeleteMatching) -> points_pb2.DeleteRequest:
    """Return a delete as a message."""
    message = points_pb2.DeleteRequest(collection=request.collection, request_id=request_id_to_message(request.request_id))
    match request:
        case Delete(ids=ids):
            message.ids.CopyFrom(ids_to_message(ids))
        case DeleteMatching(filter=filter):
            message.filter.CopyFrom(filter_to_message(filter))
    return message


def delete_from_message(message: points_pb2.DeleteRequest, turn: Turn = FREE) -> Delete | DeleteMatching:
    """Return the delete of a message. Raises InvalidArgument if it has both ids and a filter."""
    ids, request_id = ids_from_message(message.ids), optional_request_id(message)
    if not message.HasField("filter"):
        return Delete(collection=message.collection, ids=ids, request_id=request_id)
    if len(ids):
        raise InvalidArgument("give ids or a filter, not both", ErrorDetails(field="filter"))
    return DeleteMatching(collection=message.collection, filter=filter_from_message(message.filter, turn), request_id=request_id)


def update_to_message(request: Update) -> points_pb2.UpdateRequest:
    """Return an update as a message."""
    return points_pb2.UpdateRequest(
        collection=request.collection,
        ids=None if request.ids is None else ids_to_message(request.ids),
        filter=optional_filter_to_message(request.filter),
        change=change_to_message(request.change),
        request_id=request_id_to_message(request.request_id),
    )


def update_from_message(message: points_pb2.UpdateRequest, turn: Turn = FREE) -> Update:
    """Return the update of a message. Raises InvalidArgument if it names no change, or one that cannot be read."""
    return Update(
        collection=message.collection,
        ids=ids_from_message(message.ids) if message.HasField("ids") else None,
        filter=optional_filter(message, turn),
        change=change_from_message(message.change),
        request_id=optional_request_id(message),
    )


def upserted_to_message(written: Written) -> points_pb2.UpsertResponse:
    """Return the answer to an upsert as a message."""
    return points_pb2.UpsertResponse(written=tokens_to_messages(written.tokens))


def upserted_from_message(message: points_pb2.UpsertResponse) -> Written:
    """Return the answer to an upsert. Its message has no number of points, so `affected` is 0."""
    return Written(tokens=tokens_from_messages(message.written), affected=0)


def deleted_to_message(written: Written) -> points_pb2.DeleteResponse:
    """Return the answer to a delete as a message."""
    return points_pb2.DeleteResponse(written=tokens_to_messages(written.tokens), deleted=written.affected)


def deleted_from_message(message: points_pb2.DeleteResponse) -> Written:
    """Return the answer to a delete."""
    return Written(tokens=tokens_from_messages(message.written), affected=message.deleted)


def updated_to_message(written: Written) -> points_pb2.UpdateResponse:
    """Return the answer to an update as a message."""
    return points_pb2.UpdateResponse(written=tokens_to_messages(written.tokens), updated=written.affected)


def updated_from_message(message: points_pb2.UpdateResponse) -> Written:
    """Return the answer to an update."""
    return Written(tokens=tokens_from_messages(message.written), affected=message.updated)


def get_to_message(request: Get) -> points_pb2.GetRequest:
    """Return a get as a message."""
    return points_pb2.GetRequest(
        collection=request.collection,
        in_parts=request.in_parts,
        ids=ids_to_message(request.ids),
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=tokens_to_messages(request.read.tokens),
    )


def get_from_message(message: points_pb2.GetRequest, caller: str = "") -> Get:
    """Return the get of a message. caller: see ReadAs. Raises InvalidArgument naming the field."""
    return Get(
        collection=message.collection,
        ids=ids_from_message(message.ids),
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        read=read_from_message(message, caller),
        in_parts=message.in_parts,
    )


def got_to_message(got: Got) -> points_pb2.GetResponse:
    """Return the answer to a get as a message."""
    return points_pb2.GetResponse(points=points_to_message(got.points), answered=got.answered)


def got_from_message(message: points_pb2.GetResponse) -> Got:
    """Return the answer to a get."""
    return Got(points=stored_from_message(message.points), answered=message.answered)


def count_to_message(request: Count) -> points_pb2.CountRequest:
    """Return a count as a message."""
    return points_pb2.CountRequest(
        collection=request.collection,
        filter=optional_filter_to_message(request.filter),
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=tokens_to_messages(request.read.tokens),
    )


def count_from_message(message: points_pb2.CountRequest, caller: str = "", turn: Turn = FREE) -> Count:
    """Return the count of a message. caller: see ReadAs. Raises InvalidArgument naming the field."""
    return Count(collection=message.collection, filter=telling_filter(message, turn), read=read_from_message(message, caller))


def counted_to_message(count: int) -> points_pb2.CountResponse:
    """Return the answer to a count as a message."""
    return points_pb2.CountResponse(count=count)


def counted_from_message(message: points_pb2.CountResponse) -> int:
    """Return the answer to a count."""
    return message.count


def scroll_to_message(request: Scroll) -> points_pb2.ScrollRequest:
    """Return a scroll as a message."""
    return points_pb2.ScrollRequest(
        collection=request.collection,
        after=id_to_message(request.after),
        limit=request.limit,
        filter=optional_filter_to_message(request.filter),
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=tokens_to_messages(request.read.tokens),
        collection_id=request.collection_id,
    )


def scroll_from_message(message: points_pb2.ScrollRequest, caller: str = "", turn: Turn = FREE) -> Scroll:
    """Return the scroll of a message. caller: see ReadAs. Raises InvalidArgument naming the field."""
    return Scroll(
        collection=message.collection,
        after=id_from_message(message.after, "after"),
        limit=message.limit,
        filter=telling_filter(message, turn),
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        read=read_from_message(message, caller),
        collection_id=message.collection_id,
    )


def page_to_message(page: Page) -> points_pb2.ScrollResponse:
    """Return a page as a message."""
    return points_pb2.ScrollResponse(points=points_to_message(page.points), more=page.more, collection_id=page.collection_id)


def page_from_message(message: points_pb2.ScrollResponse) -> Page:
    """Return the page of a message."""
    return Page(points=stored_from_message(message.points), more=message.more, collection_id=message.collection_id)


METHODS: Methods = {
    Upsert: Method(path="/shoal.v1.Points/Upsert", encode=upsert_to_bytes, answer=points_pb2.UpsertResponse, decode=upserted_from_message),
    Delete: Method(
        path="/shoal.v1.Points/Delete",
        encode=serialized(delete_to_message),
        answer=points_pb2.DeleteResponse,
        decode=deleted_from_message,
    ),
    DeleteMatching: Method(
        path="/shoal.v1.Points/Delete",
        encode=serialized(delete_to_message),
        answer=points_pb2.DeleteResponse,
        decode=deleted_from_message,
    ),
    Update: Method(
        path="/shoal.v1.Points/Update",
        encode=serialized(update_to_message),
        answer=points_pb2.UpdateResponse,
        decode=updated_from_message,
    ),
    Get: Method(path="/shoal.v1.Points/Get", encode=serialized(get_to_message), answer=points_pb2.GetResponse, decode=got_from_message),
    Count: Method(
        path="/shoal.v1.Points/Count", encode=serialized(count_to_message), answer=points_pb2.CountResponse, decode=counted_from_message
    ),
    Scroll: Method(
        path="/shoal.v1.Points/Scroll", encode=serialized(scroll_to_message), answer=points_pb2.ScrollResponse, decode=page_from_message
    ),
}
