"""The short way of a search of several shards at a worker answers as the handler does, or leaves the search to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.errors import Unavailable
from shoal.core.metric import Metric
from shoal.core.points import PointColumns, id_array
from shoal.core.requests import Upsert
from shoal.core.shard_calls import QueryGroup, ShardsSearch
from shoal.runtime.calls import UnaryCall
from shoal.runtime.interceptors import call_table, reader_of
from shoal.shard_worker.replica.express import ReplicasSearch
from shoal.shard_worker.rpc import worker_service
from shoal.shard_worker.rpc.worker_service import WorkerServicer
from shoal.v1 import worker_pb2
from shoal.wire.searches import shards_search_to_message
from tests.support.worker.hop import CallerContext, answer_in_bytes
from tests.support.worker.local_shards import LocalShards, local_shards
from tests.twins.cluster import TwinWorker, new_conversions

DIM, SHARDS = 4, 3


def with_shards(folder: Path, work: Callable[[LocalShards, UnaryCall], Awaitable[None]]) -> None:
    async def run() -> None:
        async with local_shards(folder, CollectionSpec(name="a", dim=DIM, metric=Metric.L2, shards=SHARDS)) as shards:
            vectors = np.random.default_rng(2).normal(size=(60, DIM)).astype(np.float32)
            points = PointColumns(ids=id_array(range(60)), vectors=vectors, payloads=(b'{"at":1}',) * 60)
            await shards.router.writes.upsert(Upsert(collection="a", points=points), 10.0)
            await work(shards, search_call(shards.host))

    asyncio.run(run())


def search_call(host: Any) -> UnaryCall:
    return call_table(WorkerServicer(host, new_conversions()).calls())["/shoal.v1.Worker/SearchShards"]


def asked(shards: LocalShards, queries: int = 2) -> bytes:
    vectors = np.random.default_rng(queries).normal(size=(queries, DIM)).astype(np.float32)
    call = ShardsSearch(shards=tuple(shards.benches), queries=vectors, groups=(QueryGroup(k=4),), caller="me")
    written: bytes = shards_search_to_message(call).SerializeToString()
    return written


async def handled(call: UnaryCall, data: bytes) -> bytes:
    written: bytes = (await call.handle(reader_of(call)(data), CallerContext())).SerializeToString()
    return written


@pytest.mark.parametrize("on_loop_us", [0.0, 1e9], ids=["in the pool", "on the loop"])
def test_it_answers_as_the_handler(on_loop_us: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(shards: LocalShards, call: UnaryCall) -> None:
        for queries in (1, 1, 2, 9):
            data = asked(shards, queries)
            assert await answer_in_bytes(call, data, CallerContext()) == (await handled(call, data), True)

    monkeypatch.setattr(worker_service, "ON_LOOP_US", on_loop_us)
    with_shards(tmp_path, work)


def test_what_a_replica_cannot_answer_is_left_to_the_handler_which_says_why(tmp_path: Path) -> None:
    async def work(shards: LocalShards, call: UnaryCall) -> None:
        data = asked(shards)
        del shards.host.open[next(iter(shards.benches))]
        answer, shortly = await answer_in_bytes(call, data, CallerContext())
        found = worker_pb2.SearchShardsResponse.FromString(answer)
        assert (shortly, list(found.answered), [each.status for each in found.failed]) == (False, [1, 2], ["UNAVAILABLE"])

    with_shards(tmp_path, work)


@pytest.mark.parametrize("outcome", [None, Unavailable("not now")])
@pytest.mark.parametrize("on_loop_us", [0.0, 1e9], ids=["in the pool", "on the loop"])
def test_a_search_that_does_not_come_to_an_end_is_carried_out_by_each_replica(
    outcome: Unavailable | None, on_loop_us: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        if outcome is not None:
            raise outcome

    async def ended_in_pool(*_: object) -> None:
        ended()

    async def work(shards: LocalShards, call: UnaryCall) -> None:
        data = asked(shards)
        right = await handled(call, data)
        monkeypatch.setattr(ReplicasSearch, "run", ended)
        monkeypatch.setattr(ReplicasSearch, "run_in_pool", ended_in_pool)
        answer, shortly = await answer_in_bytes(call, data, CallerContext())
        assert (answer, shortly) == (right, on_loop_us == 0.0)

    monkeypatch.setattr(worker_service, "ON_LOOP_US", on_loop_us)
    with_shards(tmp_path, work)


def test_a_call_without_time_is_left_to_the_handler(tmp_path: Path) -> None:
    class Late(CallerContext):
        def time_remaining(self) -> float:
            return 0.0

    async def work(shards: LocalShards, call: UnaryCall) -> None:
        assert call.at_once is not None
        assert call.at_once(asked(shards), Late()) is None

    with_shards(tmp_path, work)


def test_shards_without_an_express_search_are_left_to_the_handler() -> None:
    call = search_call(TwinWorker())
    assert call.at_once is not None
    assert call.at_once(worker_pb2.SearchShardsRequest(shards=[0]).SerializeToString(), CallerContext()) is None
