from __future__ import annotations

from typing import Any

import pytest

from shoal.runtime.calls import CallTable, UnaryCall, calls_of
from shoal.v1 import search_pb2
from shoal.wire.services import ACCESS, CLUSTER, COLLECTIONS, COORDINATOR, OPERATIONS, POINTS, REPLICATION, SEARCH, WORKER


class Searcher:
    async def Search(self, request: Any, context: Any) -> Any:
        return search_pb2.SearchResponse()

    def search_at_once(self, request: Any, context: Any) -> Any:
        return None


def test_a_call_has_the_path_and_the_messages_of_its_rpc() -> None:
    service = Searcher()
    (call,) = calls_of(SEARCH, service)
    assert (call.path, call.request, call.response) == ("/shoal.v1.Search/Search", search_pb2.SearchRequest, search_pb2.SearchResponse)
    assert (call.handle, call.at_once) == (service.Search, None)
    (call,) = calls_of(SEARCH, service, {"Search": service.search_at_once})
    assert call.at_once == service.search_at_once


def test_only_the_methods_that_a_service_has_are_calls() -> None:
    class Counter:
        async def Count(self, request: Any, context: Any) -> Any: ...

    assert [each.path for each in calls_of(POINTS, Counter())] == ["/shoal.v1.Points/Count"]


@pytest.mark.parametrize("name", ["Find", "Count"])
def test_a_door_of_a_method_that_is_not_there_is_an_error(name: str) -> None:
    class Deleter:
        async def Delete(self, request: Any, context: Any) -> Any: ...

    with pytest.raises(KeyError, match=name):
        calls_of(POINTS, Deleter(), {name: lambda request, context: None})


def test_a_call_behind_other_functions_keeps_its_messages() -> None:
    (call,) = calls_of(SEARCH, Searcher())

    async def handle(request: Any, context: Any) -> Any: ...

    other = call.behind(handle, None)
    assert (other.path, other.request, other.handle, other.at_once) == (call.path, call.request, handle, None)


def test_a_table_finds_its_calls_by_path_and_takes_each_path_once() -> None:
    (call,) = calls_of(SEARCH, Searcher())
    table = CallTable([call])
    assert (table["/shoal.v1.Search/Search"], len(table), list(table)) == (call, 1, ["/shoal.v1.Search/Search"])
    assert table.get("/shoal.v1.Search/Find") is None
    with pytest.raises(ValueError, match="two calls"):
        CallTable([call, call])


def paths_of(calls: tuple[UnaryCall, ...]) -> set[str]:
    return {each.path for each in calls}


def test_every_rpc_of_every_service_is_served() -> None:
    from shoal.coordinator.service import CoordinatorService
    from shoal.router.rpc.access_service import AccessService
    from shoal.router.rpc.cluster_service import ClusterService
    from shoal.router.rpc.collections_service import CollectionsService
    from shoal.router.rpc.operations_service import OperationsService
    from shoal.router.rpc.points_service import PointsService
    from shoal.router.rpc.search_service import SearchService
    from shoal.shard_worker.rpc.replication_service import ReplicationServicer
    from shoal.shard_worker.rpc.worker_service import WorkerServicer

    served = (
        (SEARCH, SearchService),
        (POINTS, PointsService),
        (COLLECTIONS, CollectionsService),
        (CLUSTER, ClusterService),
        (OPERATIONS, OperationsService),
        (ACCESS, AccessService),
        (COORDINATOR, CoordinatorService),
        (WORKER, WorkerServicer),
        (REPLICATION, ReplicationServicer),
    )
    for described, kind in served:
        service = kind.__new__(kind)
        assert paths_of(service.calls()) == {f"/{described.full_name}/{each.name}" for each in described.methods}
