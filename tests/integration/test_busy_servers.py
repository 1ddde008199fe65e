"""Test that a busy server says so and when to try again. SDK clients wait for it over real sockets, and they wait for
no other error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

import shoal
from shoal.core.errors import ErrorDetails
from shoal.core.ids import WorkerId
from shoal.core.shard_calls import ShardWrite, WriteAck
from shoal.router.server import RouterRole
from shoal.router.settings import RouterSettings
from shoal.shard_worker.logic.replication.refusals import MAX_PENDING_BYTES, queue_full
from shoal.store.codecs import encode_worker
from tests.integration.test_router_process import KEYS, entry_at, put, twin_workers
from tests.support.network.ports import free_port
from tests.twins.cluster import TwinCluster, TwinWorker
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

DIM, LOADERS, MESSAGES = 4, 8, 5


def busy(worker: TwinWorker) -> list[int]:
    """Let the worker take one write at a time. Return a list that counts the refused and the taken writes."""
    refused_and_taken, real, under_way = [0, 0], worker.write, [0]

    async def write(call: ShardWrite, timeout_s: float) -> WriteAck:
        if under_way[0]:
            refused_and_taken[0] += 1
            raise queue_full(1, MAX_PENDING_BYTES)
        under_way[0] += 1
        try:
            await asyncio.sleep(0.01)
            refused_and_taken[1] += 1
            return await real(call, timeout_s)
        finally:
            under_way[0] -= 1

    worker.write = write  # type: ignore[method-assign]
    return refused_and_taken


def with_router(check: Callable[[str, TwinCluster], Awaitable[None]]) -> None:
    async def life() -> None:
        store = MemoryStore(MemoryCluster(lambda: 0.0))
        async with twin_workers(store) as cluster:
            role = RouterRole(RouterSettings(port=0), local=cluster.workers, store=store)
            await role.start()
            for worker in cluster.workers:
                await put(store, KEYS.worker(worker), encode_worker(entry_at(worker, f"127.0.0.1:{free_port()}")))
            try:
                await check(role.address, cluster)
            finally:
                await role.stop()

    asyncio.run(life())


def test_many_loaders_of_a_worker_that_takes_one_write_at_a_time_are_all_served() -> None:
    async def check(address: str, cluster: TwinCluster) -> None:
        counts = [busy(worker) for worker in cluster.workers.values()]

        async def load(number: int) -> None:
            async with shoal.connect_async(address, timeout=60.0) as client:
                for first in range(number * 100, number * 100 + MESSAGES * 3, 3):
                    await client.upsert("a", range(first, first + 3), np.ones((3, DIM)))
                await client.delete("a", [number * 100])

        await asyncio.gather(*map(load, range(LOADERS)))
        async with shoal.connect_async(address) as client:
            assert await client.count("a") == LOADERS * (MESSAGES * 3 - 1)
        assert sum(refused for refused, _ in counts) > 0, "nothing was refused: this tests nothing"

    with_router(check)


def test_a_blocking_client_waits_too_and_what_waiting_does_not_mend_is_raised_at_once() -> None:
    async def check(address: str, cluster: TwinCluster) -> None:
        worker = cluster.workers[WorkerId("w0")]
        full = shoal.ResourceExhausted("no memory for 3 points", ErrorDetails(limit="memory"))

        def use() -> None:
            with shoal.connect(address, timeout=30.0) as client:
                worker.before = [queue_full(9, 9)] * 3
                assert client.search("a", np.ones(DIM), k=1) == []
                worker.before = [queue_full(9, 9)] * 3
                assert client.count("a") == 0
                calls = len(worker.calls)
                worker.before = [full] * 3
                with pytest.raises(shoal.ResourceExhausted, match="no memory"):
                    client.upsert("a", range(9), np.ones((9, DIM)))
                assert len(worker.calls) == calls + 1
                assert len(worker.before) == 2
                worker.before = []

        await asyncio.to_thread(use)

    with_router(check)
