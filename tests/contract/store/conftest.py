"""Runs each scenario of the contract in both worlds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.store.worlds import EtcdWorld, MemoryWorld, World
from tests.support.etcd.process import EtcdProcess

Scenario = Callable[[World], Awaitable[None]]
InWorld = Callable[[Scenario], None]

SCENARIO_S = 90.0


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """One etcd for all tests that do it no harm."""
    etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    etcd.start()
    yield etcd
    etcd.stop()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    """An etcd that the test may harm."""
    etcd = EtcdProcess(tmp_path / "etcd")
    etcd.start()
    yield etcd
    etcd.kill()


@pytest.fixture(params=["memory", "etcd"])
def in_world(request: pytest.FixtureRequest) -> InWorld:
    """Runs a scenario in an event loop of its own, in one of the worlds."""
    world = _world(request)

    def run(scenario: Scenario) -> None:
        asyncio.run(_bounded(world, scenario))

    return run


def _world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    return EtcdWorld(request.getfixturevalue("shared_etcd").client_port)


async def _bounded(world: World, scenario: Scenario) -> None:
    async with asyncio.timeout(SCENARIO_S):
        await world.start()
        try:
            await scenario(world)
        finally:
            await world.end()
