"""Test callers that leave a real cluster in different ways: their calls end on the worker, not only at the router, and
no other call waits behind them.

Each call counts by a filter that takes minutes. So a bound of one minute holds on a slow machine, too.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.repository import ROOT

DIM, ROWS, CALLERS, PATIENCE_S, HOURS = 4, 1_000, 30, 60.0, 7_200.0
DEPTH = 40
"""Deeper than the index goes, so that every payload is read."""

PATH = ".".join(["a"] * DEPTH)
FILTER: Any = {"$or": [{PATH: {"$contains": f"absent {number}"}} for number in range(1_000)]}


def deep_payload() -> dict[str, Any]:
    value: Any = ["x"] * 1_000
    for _ in range(DEPTH):
        value = {"a": value}
    return dict(value)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleCluster]:
    with RoleCluster(tmp_path_factory.mktemp("left"), workers=1, metrics_port=-1) as cluster:
        with shoal.connect(cluster.address, timeout=PATIENCE_S) as client:
            fill(client, "heavy")
            client.create_collection("other", dim=DIM)
            client.upsert("other", range(500), np.ones((500, DIM)), [{"text": "y" * 200}] * 500)
        yield cluster


def fill(client: shoal.Client, name: str) -> None:
    client.create_collection(name, dim=DIM)
    client.upsert(name, range(ROWS), np.ones((ROWS, DIM)), [deep_payload()] * ROWS)


def under_way(cluster: RoleCluster) -> int:
    """Return the number of reads in the worker's pool."""
    address = re.findall(r"metrics_listening address=(\S+)", cluster.workers[0].log())[-1]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE_S) as answer:
        found = re.search(r"^shoal_reads_under_way (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def wait_for(cluster: RoleCluster, reads: int) -> None:
    wait_until(lambda: under_way(cluster) == reads, f"{reads} reads are under way in the worker", PATIENCE_S)


def search_of_another(cluster: RoleCluster) -> None:
    """Search another collection as another caller. The search needs the pool."""
    with shoal.connect(cluster.address, timeout=PATIENCE_S) as client:
        assert len(client.search("other", [1.0] * DIM, k=300, filter={"text": {"$contains": "yy"}})) == 300


async def begin(client: shoal.AsyncClient, collection: str = "heavy", timeout: float = HOURS) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(client.count(collection, FILTER, timeout=timeout)) for _ in range(CALLERS)]


async def kinds(tasks: list[asyncio.Task[int]]) -> set[type]:
    return {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)}


@pytest.mark.parametrize("transport", ["auto", "grpc"])
def test_calls_that_are_cancelled_end_on_the_worker_and_hold_up_nobody(cluster: RoleCluster, transport: Any) -> None:
    async def story() -> None:
        async with shoal.connect_async(cluster.address, transport=transport) as client:
            await client.count("other")
            tasks = await begin(client)
            await asyncio.to_thread(wait_for, cluster, CALLERS)
            await asyncio.to_thread(search_of_another, cluster)
            assert under_way(cluster) == CALLERS
            for task in tasks:
                task.cancel()
            assert await kinds(tasks) == {asyncio.CancelledError}
            await asyncio.to_thread(wait_for, cluster, 0)

    asyncio.run(story())
    search_of_another(cluster)


@pytest.mark.parametrize("transport", ["auto", "grpc"])
def test_calls_whose_deadline_is_over_end_on_the_worker(cluster: RoleCluster, transport: Any) -> None:
    async def story() -> None:
        async with shoal.connect_async(cluster.address, transport=transport) as client:
            await client.count("other")
            assert await kinds(await begin(client, timeout=1.0)) == {shoal.DeadlineExceeded}

    asyncio.run(story())
    wait_for(cluster, 0)


LEAVER = """
import json, sys, threading, shoal
address, collection, filter, callers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
client = shoal.connect(address, transport=sys.argv[5])
client.list_collections()
def count():
    client.count(collection, filter, timeout=7200.0)
for _ in range(callers - 1):
    threading.Thread(target=count, daemon=True).start()
try:
    count()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.stdin.read()
"""


@contextmanager
def leaver(cluster: RoleCluster, callers: int, transport: str = "auto") -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that waits for `callers` counts."""
    command = [sys.executable, "-c", LEAVER, cluster.address, "heavy", json.dumps(FILTER), str(callers), transport]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        wait_for(cluster, callers)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_calls_of_a_client_that_is_killed_end_on_the_worker(cluster: RoleCluster) -> None:
    with leaver(cluster, CALLERS) as process:
        process.kill()
        wait_for(cluster, 0)


@pytest.mark.parametrize("transport", ["auto", "grpc"])
def test_a_call_of_the_blocking_client_that_is_interrupted_ends_though_the_client_lives_on(cluster: RoleCluster, transport: str) -> None:
    with leaver(cluster, 1, transport) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == b"interrupted\n"
        wait_for(cluster, 0)
        assert process.poll() is None


def with_backlog(cluster: RoleCluster, collection: str, meanwhile: Callable[[], None]) -> set[type]:
    """Begin calls whose caller stays, do `meanwhile`, then cancel the calls. Return the kinds of their outcomes."""

    async def story() -> set[type]:
        async with shoal.connect_async(cluster.address) as client:
            tasks = await begin(client, collection)
            await asyncio.to_thread(wait_for, cluster, CALLERS)
            await asyncio.to_thread(meanwhile)
            for task in tasks:
                task.cancel()
            return await kinds(tasks)

    return asyncio.run(story())


def test_a_drop_does_not_wait_for_a_backlog(cluster: RoleCluster) -> None:
    with shoal.connect(cluster.address, timeout=PATIENCE_S) as client:
        fill(client, "dropped")
        with_backlog(cluster, "dropped", lambda: client.drop_collection("dropped"))
        wait_for(cluster, 0)


def test_a_stop_does_not_wait_for_a_backlog(cluster: RoleCluster) -> None:
    def stop() -> None:
        assert cluster.workers[0].stop() == 0

    try:
        with_backlog(cluster, "heavy", stop)
    finally:
        cluster.workers[0].start()
    cluster.wait_ready()
    search_of_another(cluster)
