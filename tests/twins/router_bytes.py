"""The byte level of a router: the answer function of a MockTransport, reached through the bytes of messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message_factory import GetMessageClass

from shoal.core import requests as calls
from shoal.core.fused_search import FusedFound
from shoal.core.replies import Found
from shoal.core.requests import Request
from shoal.v1 import cluster_pb2, collections_pb2, points_pb2, search_pb2
from shoal.wire import access, cluster, collections, fused_searches, operations, points, recall, recovery, searches
from shoal.wire.public_calls import METHODS
from shoal.wire.services import ACCESS, OPERATIONS
from tests.twins.router_answers import AsyncMockTransport, MockedAsyncClient, MockedClient, MockTransport, PausingClock

AnswerFunction = Callable[[str, Request, float], Any]
"""(address, request, timeout_s) -> answer, or raises a ShoalError."""


@dataclass(frozen=True)
class PublicMessages:
    """The messages of one RPC as a router reads and writes them."""

    message: Any
    read: Callable[[Any], Request]
    write: Callable[[Any], Any]


def _search_from_message(message: search_pb2.SearchRequest) -> Request:
    return fused_searches.fused_from_message(message) if fused_searches.is_fused(message) else searches.search_from_message(message)


def _found_to_message(found: Found | FusedFound) -> search_pb2.SearchResponse:
    return fused_searches.fused_found_to_message(found) if isinstance(found, FusedFound) else searches.found_to_message(found)


_COLLECTIONS, _POINTS = "/shoal.v1.Collections/", "/shoal.v1.Points/"

EXCHANGES = {
    "/shoal.v1.Search/Search": PublicMessages(search_pb2.SearchRequest, _search_from_message, _found_to_message),
    f"{_POINTS}Upsert": PublicMessages(points_pb2.UpsertRequest, points.upsert_from_message, points.upserted_to_message),
    f"{_POINTS}Delete": PublicMessages(points_pb2.DeleteRequest, points.delete_from_message, points.deleted_to_message),
    f"{_POINTS}Update": PublicMessages(points_pb2.UpdateRequest, points.update_from_message, points.updated_to_message),
    f"{_POINTS}Get": PublicMessages(points_pb2.GetRequest, points.get_from_message, points.got_to_message),
    f"{_POINTS}Count": PublicMessages(points_pb2.CountRequest, points.count_from_message, points.counted_to_message),
    f"{_POINTS}Scroll": PublicMessages(points_pb2.ScrollRequest, points.scroll_from_message, points.page_to_message),
    f"{_COLLECTIONS}Create": PublicMessages(
        collections_pb2.CreateCollectionRequest, collections.create_from_message, collections.created_to_message
    ),
    f"{_COLLECTIONS}Alter": PublicMessages(
        collections_pb2.AlterCollectionRequest, collections.alter_from_message, lambda _: collections.altered_to_message()
    ),
    f"{_COLLECTIONS}Drop": PublicMessages(
        collections_pb2.DropCollectionRequest, collections.drop_from_message, lambda _: collections.dropped_to_message()
    ),
    f"{_COLLECTIONS}List": PublicMessages(
        collections_pb2.ListCollectionsRequest, lambda _: calls.ListCollections(), collections.listed_to_message
    ),
    f"{_COLLECTIONS}Describe": PublicMessages(
        collections_pb2.DescribeCollectionRequest,
        lambda message: calls.DescribeCollection(name=message.name),
        collections.info_to_message,
    ),
    f"{_COLLECTIONS}Optimize": PublicMessages(
        collections_pb2.OptimizeCollectionRequest,
        lambda message: calls.OptimizeCollection(name=message.name),
        lambda _: collections.optimized_to_message(),
    ),
    f"{_COLLECTIONS}Tune": PublicMessages(collections_pb2.TuneCollectionRequest, recall.tune_from_message, recall.tuned_to_message),
    f"{_COLLECTIONS}MeasureRecall": PublicMessages(
        collections_pb2.MeasureRecallRequest, recall.measure_from_message, recall.measured_to_message
    ),
    f"{_COLLECTIONS}RecoverShard": PublicMessages(
        collections_pb2.RecoverShardRequest, recovery.recover_from_message, recovery.recovered_to_message
    ),
    f"{_COLLECTIONS}ListAudit": PublicMessages(
        collections_pb2.ListAuditRequest, recovery.audit_request_from_message, recovery.audit_page_to_message
    ),
    "/shoal.v1.Cluster/Describe": PublicMessages(
        cluster_pb2.DescribeClusterRequest, lambda _: calls.DescribeCluster(), cluster.cluster_to_message
    ),
    **{
        f"/{service.full_name}/{call.name}": PublicMessages(
            GetMessageClass(service.methods_by_name[call.name].input_type), call.read, call.written
        )
        for service, calls_of_service in ((OPERATIONS, operations.CALLS), (ACCESS, access.CALLS))
        for call in calls_of_service.values()
    },
}
"""By path."""


def answered_in_bytes(answer: AnswerFunction, address: str, path: str, data: bytes, timeout_s: float) -> bytes:
    """Return the bytes of the answer to the bytes of a request. Raises what `answer` raises."""
    exchange = EXCHANGES[path]
    value = answer(address, exchange.read(exchange.message.FromString(data)), timeout_s)
    return bytes(exchange.write(value).SerializeToString())


class BytesMockTransport(MockTransport):
    """A MockTransport that also takes the bytes of requests. in_bytes: kinds of those requests."""

    def __init__(self, answer: AnswerFunction) -> None:
        super().__init__(answer)
        self.in_bytes: list[type[Request]] = []

    def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        self.in_bytes.append(kind)
        return answered_in_bytes(self.answered, address, METHODS[kind].path, data, timeout_s)


class AsyncBytesMockTransport(AsyncMockTransport):
    """The same for an async client."""

    async def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        return answered_in_bytes(self.answered, address, METHODS[kind].path, data, timeout_s)


def bytes_client_with(
    answer: AnswerFunction, *, address: Any = "one:1", clock: PausingClock | None = None, timeout: float | None = None
) -> MockedClient:
    """Return a client whose requests are answered by `answer`, and whose usual searches are sent as bytes."""
    return MockedClient(BytesMockTransport(answer), address, clock, timeout)


def async_bytes_client_with(
    answer: AnswerFunction, *, address: Any = "one:1", clock: PausingClock | None = None, timeout: float | None = None
) -> MockedAsyncClient:
    """Return an async client whose requests are answered by `answer`, and whose usual searches are sent as bytes."""
    return MockedAsyncClient(AsyncBytesMockTransport(answer), address, clock, timeout)
