"""Test coordinators as real processes over a real etcd. The test plays the workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shoal.core.cluster_map import LeaderEntry
from shoal.store.codecs import decode_leader
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.keys import Keys
from shoal.v1 import collections_pb2, coordinator_pb2_grpc
from tests.support.etcd.process import EtcdProcess
from tests.twins.coordinator.bare_coordinator import ModelWorkers

KEYS = Keys("it")
TTL_S = 2
CALL_S = 20.0
PATIENCE_S = 30.0


class Process:
    """One process `python -m coordinator`."""

    def __init__(self, endpoint: str, log: Path) -> None:
        self.log = log
        flags = [f"--etcd={endpoint}", f"--cluster-name={KEYS.cluster_name}", f"--lease-ttl-s={TTL_S}"]
        with log.open("wb") as stream:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "shoal.coordinator", *flags], stderr=stream, env=os.environ | {"PYTHONSAFEPATH": "1"}
            )

    @property
    def address(self) -> str | None:
        """Return the address from the process's log, None if it is not there yet."""
        words = self.log.read_text().split()
        return next((word.removeprefix("address=") for word in words if word.startswith("address=")), None)

    def said(self, what: str) -> int:
        return self.log.read_text().count(what)

    def end(self, number: int) -> int:
        """Send a signal and wait until the process ends. Return its exit code."""
        if self._child.poll() is None:
            self._child.send_signal(number)
        return self._child.wait(PATIENCE_S)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path / "etcd")
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def launch(etcd: EtcdProcess, tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    started: list[Process] = []

    def start(name: str) -> Process:
        started.append(Process(etcd.endpoint, tmp_path / f"{name}.log"))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.end(signal.SIGKILL)


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await met():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def healthy(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2.0)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def started(process: Process) -> str:
    """Wait until a process is healthy. Return its address."""

    async def is_healthy() -> bool:
        return process.address is not None and await healthy(process.address)

    await until(is_healthy)
    assert process.address is not None
    return process.address


async def leader_of(store: EtcdStore, *, other_than: str = "") -> LeaderEntry:
    found: list[LeaderEntry] = []

    async def leads() -> bool:
        entry = await store.get(KEYS.leader, 5.0)
        if entry is not None:
            found.append(decode_leader(entry.key, entry.value, entry.create_revision))
        return bool(found) and found[-1].address != other_than

    await until(leads)
    return found[-1]


async def create(address: str, name: str, request_id: str, shards: int = 3, dim: int = 4) -> str:
    spec = collections_pb2.CollectionSpec(name=name, dim=dim, shards=shards)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = coordinator_pb2_grpc.CoordinatorStub(channel)
        answer = await stub.CreateCollection(collections_pb2.CreateCollectionRequest(spec=spec, request_id=request_id), timeout=CALL_S)
        return str(answer.collection_id)


async def drop(address: str, name: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = coordinator_pb2_grpc.CoordinatorStub(channel)
        await stub.DropCollection(collections_pb2.DropCollectionRequest(name=name), timeout=CALL_S)


async def refused(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def test_two_processes_one_leads_the_other_takes_over(etcd: EtcdProcess, launch: Callable[[str], Process]) -> None:
    etcd.start()

    async def scenario() -> None:
        one = launch("one")
        first = await started(one)
        two = launch("two")
        second = await started(two)
        store = EtcdStore(EtcdSettings(endpoints=(etcd.endpoint,)))
        try:
            assert (await leader_of(store)).address == first
            error = await refused(create(first, "c", "r"))
            assert (error.code(), "no shard worker" in str(error.details())) == (grpc.StatusCode.UNAVAILABLE, True)
            error = await refused(create(second, "c", "r"))
            assert (error.code(), first in str(error.details())) == (grpc.StatusCode.UNAVAILABLE, True)
            async with ModelWorkers(store, "w0", "w1", keys=KEYS).running():
                await _live_through_the_leader(store, first)
                made = await create(first, "kept", "r2")
                one.end(signal.SIGKILL)
                assert (await leader_of(store, other_than=first)).address == second
                assert await create(second, "kept", "r2") == made
                three = launch("three")
                third = await started(three)
                assert two.end(signal.SIGTERM) == 0
                entry = await store.get(KEYS.leader, 5.0)
                assert entry is None or decode_leader(entry.key, entry.value, 0).address == third, "a clean end gives the key back"
                assert (await leader_of(store)).address == third
                await drop(third, "kept")
                assert three.end(signal.SIGINT) == 0
        finally:
            await store.close()
        assert one.said("leads since_revision") == two.said("leads since_revision") == 1

    asyncio.run(scenario())


async def _live_through_the_leader(store: EtcdStore, address: str) -> None:
    made = await create(address, "c", "r")
    assert await create(address, "c", "r") == made
    error = await refused(create(address, "c", "another"))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert (await refused(create(address, "d", "r", dim=0))).code() is grpc.StatusCode.INVALID_ARGUMENT
    await drop(address, "c")
    assert (await refused(drop(address, "c"))).code() is grpc.StatusCode.NOT_FOUND

    async def is_gone() -> bool:
        listing = await store.list(KEYS.prefix, 5.0)
        return not any(made in entry.key for entry in listing.entries)

    await until(is_gone)


def test_a_coordinator_may_start_before_etcd_and_outlive_its_absence(etcd: EtcdProcess, launch: Callable[[str], Process]) -> None:
    async def scenario() -> None:
        one = launch("one")

        async def complains() -> bool:
            return one.said("store_does_not_answer") == 1

        await until(complains)
        assert one.address is not None
        assert not await healthy(one.address)
        await asyncio.to_thread(etcd.start)
        address = await started(one)
        store = EtcdStore(EtcdSettings(endpoints=(etcd.endpoint,)))
        try:
            before = await leader_of(store)
            await asyncio.to_thread(etcd.kill)

            async def is_unwell() -> bool:
                return not await healthy(address)

            await until(is_unwell)
            await asyncio.to_thread(etcd.start)
            await started(one)
            async with ModelWorkers(store, "w0", keys=KEYS).running():
                await until(lambda: _creates(address))
            assert (await leader_of(store)).address == before.address
        finally:
            await store.close()
        assert one.end(signal.SIGTERM) == 0

    asyncio.run(scenario())


async def _creates(address: str) -> bool:
    try:
        await create(address, "c", "r")
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def test_a_taken_port_is_one_line_and_an_exit_code(etcd: EtcdProcess, tmp_path: Path) -> None:
    etcd.start()
    flags = [f"--etcd={etcd.endpoint}", f"--port={etcd.client_port}", "--log-level=ERROR"]
    ended = subprocess.run(
        [sys.executable, "-m", "shoal.coordinator", *flags], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"error: cannot listen on 127.0.0.1:{etcd.client_port}")


def test_bad_settings_are_one_line_and_an_exit_code() -> None:
    command = [sys.executable, "-m", "shoal.coordinator", "--lease-ttl-s=soon"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "error: --lease-ttl-s is 'soon', it must be of type int\n"
