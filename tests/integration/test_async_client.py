"""Test the asyncio client with real processes: on both event loops, while calls are cancelled, and while its router
dies.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
import uvloop

import shoal
from shoal.client.transports.grpc_async import AsyncGrpcTransport
from shoal.core.errors import PreconditionFailed
from shoal.core.requests import DescribeCluster
from tests.support.network.ports import free_port

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
DIM = 8


@pytest.fixture(params=sorted(LOOPS))
def run(request):
    def on_loop(coroutine):
        async def whole():
            async with asyncio.timeout(90):
                result = await coroutine
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(whole())

    return on_loop


def points(count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, DIM)).astype(np.float32)


def test_a_collection_from_creation_to_drop(shared_cluster, run):
    vectors = points(30_000)

    async def check():
        async with shoal.connect_async(shared_cluster.address) as client:
            await client.create_collection("awaited", dim=DIM, shards=2)
            told: list[int] = []
            assert await client.upsert("awaited", range(30_000), vectors, progress=lambda rows, of: told.append(rows)) == 30_000
            assert told[-1] == 30_000
            found = await asyncio.gather(*(client.search("awaited", vectors[at], k=1, exact=True) for at in range(0, 30_000, 1_000)))
            assert [hits[0].id for hits in found] == list(range(0, 30_000, 1_000))
            assert [point.id async for point in client.scroll("awaited", batch=5_000)] == list(range(30_000))
            assert await client.delete("awaited", [1, 2]) == 2
            assert await client.count("awaited") == 29_998
            await client.drop_collection("awaited")
            with pytest.raises(shoal.NotFound, match="awaited"):
                await client.count("awaited")

    run(check())


def test_cancelled_calls_leave_the_client_usable(shared_cluster, run):
    async def check():
        async with shoal.connect_async(shared_cluster.address) as client:
            await client.create_collection("cancelled", dim=DIM)
            for delay_s in (0.0, 0.005, 0.02, 0.05):
                writing = asyncio.create_task(client.upsert("cancelled", range(60_000), np.ones((60_000, DIM))))
                await asyncio.sleep(delay_s)
                writing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await writing
            assert await client.upsert("cancelled", [7], np.zeros((1, DIM))) == 1
            assert (await client.get("cancelled", [7]))[0].vector.tolist() == [0.0] * DIM
            await client.drop_collection("cancelled")

    run(check())


def test_closing_during_a_call_and_another_loop_are_told(run):
    async def check(silent: socket.socket):
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        transport = AsyncGrpcTransport()
        asking = asyncio.create_task(transport.send(address, DescribeCluster(), 60.0))
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        await transport.close()
        connection.close()
        with pytest.raises(PreconditionFailed, match="closed"):
            await asking
        with pytest.raises(PreconditionFailed, match="closed"):
            await transport.send(address, DescribeCluster(), 1.0)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        run(check(silent))
    client = shoal.connect_async(f"127.0.0.1:{free_port()}", timeout=0.3)

    async def ask():
        with pytest.raises(shoal.ShoalError) as raised:
            await client.cluster()
        return raised.value

    for _ in range(2):
        assert isinstance(asyncio.run(ask()), (shoal.Unavailable, shoal.DeadlineExceeded))


NOBODY_CLOSES = """
import asyncio, gc, sys, uvloop, shoal

address, transport = sys.argv[1:]

async def used(client):
    asyncio.get_running_loop().slow_callback_duration = 60.0  # It is also a warning that the machine is busy.
    await asyncio.gather(*(client.cluster() for _ in range(8)))
    await client.cluster()

async def dropped():
    client = shoal.connect_async(address, transport=transport, timeout=60)
    await used(client)
    del client
    gc.collect()
    await asyncio.sleep(0.05)

client = shoal.connect_async(address, transport=transport, timeout=60)
asyncio.run(used(client))
asyncio.run(used(client))
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(used(client))
    runner.run(used(client))
asyncio.run(dropped())
del client
gc.collect()

# As in a notebook: the loop is open until the process ends, and so is the client.
loop = asyncio.new_event_loop()
kept = shoal.connect_async(address, transport=transport, timeout=60)
loop.run_until_complete(used(kept))
print("used")
"""


@pytest.mark.parametrize("transport", ["auto", "grpc", "http"])
def test_a_client_that_nobody_closes_ends_without_a_warning(shared_cluster, transport):
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", NOBODY_CLOSES, shared_cluster.address, transport]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "used\n")


def test_its_channels_have_the_options_of_all_channels(monkeypatch):
    opened = []
    monkeypatch.setattr(grpc.aio, "insecure_channel", lambda address, options: opened.append((address, options)))

    async def check():
        with pytest.raises(AttributeError):
            await AsyncGrpcTransport().send("a:1", DescribeCluster(), 1.0)

    asyncio.run(check())
    assert opened[0][0] == "a:1"
    assert ("grpc.max_reconnect_backoff_ms", 2_000) in opened[0][1]


@pytest.mark.parametrize("transport", ["auto", "grpc"])
def test_a_router_that_dies_and_returns_during_upserts_loses_and_doubles_nothing(make_cluster, transport):
    cluster = make_cluster(workers=1)
    dead = f"127.0.0.1:{free_port()}"
    size, rounds = 500, 60

    async def batches() -> AsyncIterator[tuple[range, np.ndarray]]:
        for number in range(rounds):
            yield range(number * size, (number + 1) * size), np.full((size, DIM), number, dtype=np.float32)

    async def harm(under_way: asyncio.Event, killed: asyncio.Event) -> None:
        await under_way.wait()
        cluster.router.kill()
        killed.set()
        await asyncio.sleep(0.5)
        cluster.router.start()

    async def check():
        under_way, killed = asyncio.Event(), asyncio.Event()
        async with shoal.connect_async([dead, cluster.address], transport=transport) as client, asyncio.TaskGroup() as tasks:
            await client.create_collection("through", dim=DIM, shards=2)
            tasks.create_task(harm(under_way, killed))
            written = during = 0
            async for ids, vectors in batches():
                written += await client.upsert("through", ids, vectors)
                during += killed.is_set()
                if written >= 10 * size:
                    under_way.set()
            assert (written, during > 0) == (size * rounds, True)
            # One call writes more messages at once, over both addresses.
            assert await client.upsert_batches("through", batches()) == size * rounds
            found = [(point.id, point.vector[0]) async for point in client.scroll("through", with_vectors=True)]
        assert found == [(at, at // size) for at in range(size * rounds)]
        assert cluster.router.running

    asyncio.run(check())
