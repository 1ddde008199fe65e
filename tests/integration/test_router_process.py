"""Test `python -m router` as a process of its own: etcd comes, goes and returns, and the workers are twins
in the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shoal.core.cluster_map import WorkerEntry
from shoal.core.errors import DataLoss, Unavailable
from shoal.core.ids import Revision, WorkerId
from shoal.core.points import id_array
from shoal.router.server import RouterRole
from shoal.router.settings import RouterSettings
from shoal.runtime.interceptors import call_table
from shoal.runtime.server import GrpcServer
from shoal.shard_worker.rpc.worker_service import WorkerServicer
from shoal.store.codecs import encode_collection, encode_shard, encode_worker
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.interface import Put, Store, Transaction
from shoal.store.keys import Keys
from shoal.v1 import points_pb2, points_pb2_grpc, search_pb2, search_pb2_grpc
from shoal.wire.columns import ids_to_message, vectors_to_message
from shoal.wire.status import error_from_exception
from tests.support.cluster.role_cluster import RoleProcess
from tests.support.etcd.process import EtcdProcess
from tests.support.network.ports import free_port
from tests.twins.cluster import TwinCluster, new_conversions
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = Keys("default")
WAIT_S = 30.0
VECTORS = np.arange(40, dtype=np.float32).reshape(10, 4)
MESSAGE_BYTES = 1_000_000


class Client:
    """Calls the router with plain gRPC, as any language does."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 100)])
        self._points, self._search = points_pb2_grpc.PointsStub(self.channel), search_pb2_grpc.SearchStub(self.channel)
        self._health = health_pb2_grpc.HealthStub(self.channel)

    async def upsert(self) -> None:
        points = {"ids": ids_to_message(id_array(range(10))), "vectors": vectors_to_message(VECTORS)}
        await self._points.Upsert(points_pb2.UpsertRequest(collection="a", points=points), timeout=WAIT_S)

    async def search(self, timeout_s: float = WAIT_S) -> list[int]:
        leg = search_pb2.SearchLeg(vectors=vectors_to_message(VECTORS[3:4]))
        response = await self._search.Search(search_pb2.SearchRequest(collection="a", legs=[leg], k=3), timeout=timeout_s)
        return list(response.hits.ids.integers)

    async def wait_known(self) -> None:
        """Wait until the router has taken in that the collection exists: it follows the store a moment behind."""
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    await self.search()
                    return
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:
                        raise
                await asyncio.sleep(0.02)

    async def serving(self) -> bool:
        request = health_pb2.HealthCheckRequest()
        answer = await self._health.Check(request, timeout=WAIT_S, wait_for_ready=True)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    async def wait_serving(self) -> None:
        """Wait until the stream of changes of grpc.health.v1 says SERVING."""
        changes = self._health.Watch(health_pb2.HealthCheckRequest(), timeout=WAIT_S, wait_for_ready=True)
        async for change in changes:
            if change.status == health_pb2.HealthCheckResponse.SERVING:
                changes.cancel()
                return


@contextlib.asynccontextmanager
async def twin_workers(store: Store) -> AsyncIterator[TwinCluster]:
    """Run two twins that serve gRPC and are registered in the store, with a collection "a" of two shards."""
    cluster = TwinCluster()
    collection = cluster.add("a")
    servers = {}
    for worker, twin in cluster.workers.items():
        servers[worker] = GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES)
        servers[worker].add(call_table(WorkerServicer(twin, new_conversions()).calls()))
        await put(store, KEYS.worker(worker), encode_worker(entry_at(worker, await servers[worker].start())))
    for shard, entry in cluster.view.current.shards.items():
        await put(store, KEYS.shard(shard), encode_shard(entry.config))
    await put(store, KEYS.name("a"), collection.id.encode())
    await put(store, KEYS.collection(collection.id), encode_collection(collection))
    yield cluster
    for server in servers.values():
        await server.stop(0)


def entry_at(worker: WorkerId, address: str) -> WorkerEntry:
    return WorkerEntry(id=worker, address=address, incarnation="i", pid=1, node="n", zone="z", registration=Revision(0))


async def put(store: Store, key: str, value: bytes) -> None:
    await store.commit(Transaction(then=(Put(key=key, value=value),)), WAIT_S)


@pytest.fixture
def etcd(tmp_path: Path):
    process = EtcdProcess(tmp_path / "etcd")
    yield process
    process.kill()


def test_a_router_waits_for_etcd_serves_without_it_and_ends_cleanly(etcd: EtcdProcess, tmp_path: Path) -> None:
    port = free_port()
    router = RoleProcess("router", tmp_path / "router.log", port=port, etcd=etcd.endpoint)
    router.start()

    async def life() -> None:
        client = Client(f"127.0.0.1:{port}")
        assert not await client.serving()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.search()
        assert isinstance(error_from_exception(caught.value), Unavailable)
        etcd.start()
        store = EtcdStore(EtcdSettings(endpoints=(etcd.endpoint,)))
        await client.wait_serving()
        async with twin_workers(store):
            await client.wait_known()
            await client.upsert()
            assert await client.search() == [3, 2, 4]
            etcd.kill()
            assert await client.search() == [3, 2, 4]
            await client.upsert()
            assert await client.serving()
        await store.close()
        await client.channel.close(None)

    try:
        asyncio.run(life())
        assert router.stop() == 0
    finally:
        router.kill()
    assert "Traceback" not in router.log()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        router = RoleProcess("router", tmp_path / "router.log", port=port, etcd=f"127.0.0.1:{free_port()}")
        router.start()
        assert router.wait() == 1
    assert f"error: cannot listen on 127.0.0.1:{port}: is the port in use?" in router.log()
    assert "Traceback" not in router.log()


def test_bad_settings_are_one_clear_line(tmp_path: Path) -> None:
    router = RoleProcess("router", tmp_path / "router.log", max_k=0)
    router.start()
    assert router.wait() == 2
    assert router.log().strip() == "error: max_k is 0, it must be above 0"


def test_a_worker_that_leaves_the_store_is_let_go_and_its_shard_named() -> None:
    async def life() -> None:
        store = MemoryStore(MemoryCluster(lambda: 0.0))
        role = RouterRole(RouterSettings(port=0, read_patience_s=0.2), store=store)
        async with twin_workers(store):
            await role.start()
            client = Client(role.address)
            await client.upsert()
            assert await client.search() == [3, 2, 4]
            await put(store, KEYS.worker(WorkerId("w1")), encode_worker(entry_at(WorkerId("w1"), f"127.0.0.1:{free_port()}")))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.search()
            error = error_from_exception(caught.value)
            assert (type(error), error.details.shard) == (Unavailable, "a/1")
            await client.channel.close(None)
            await role.stop()

    asyncio.run(life())


def test_workers_of_the_same_process_are_called_without_a_hop() -> None:
    async def life() -> None:
        store = MemoryStore(MemoryCluster(lambda: 0.0))
        async with twin_workers(store) as cluster:
            role = RouterRole(RouterSettings(port=0), local=cluster.workers, store=store)
            await role.start()
            for worker in cluster.workers:
                await put(store, KEYS.worker(worker), encode_worker(entry_at(worker, f"127.0.0.1:{free_port()}")))
            client = Client(role.address)
            await client.upsert()
            assert await client.search() == [3, 2, 4]
            await client.channel.close(None)
            await role.stop()

    asyncio.run(life())


def test_a_store_that_cannot_be_read_fails_the_role() -> None:
    async def life() -> None:
        store = MemoryStore(MemoryCluster(lambda: 0.0))
        role = RouterRole(RouterSettings(port=0), store=store)
        await role.start()
        await put(store, KEYS.worker(WorkerId("w")), b"{")
        with pytest.raises(DataLoss, match="workers/w"):
            await asyncio.wait_for(role.failed(), WAIT_S)
        await role.stop()

    asyncio.run(life())
