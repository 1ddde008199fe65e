"""Test index builds as Ray tasks: they run on the node that hosts no worker, while searches go on. If that node is
lost, the worker builds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import shoal
from shoal.core.errors import ShoalError
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.ray.session import end_session
from tests.support.cluster.ray_nodes import RayNodes, environment, short_folder
from tests.support.etcd.process import EtcdProcess

TIMEOUT_S = 60.0
DIM, ROWS = 48, 25_000
BUILD_NODE = 2


class Searches:
    """Searches again and again until told to end."""

    def __init__(self, client: shoal.Client) -> None:
        self.answered, self.failures = 0, list[str]()
        self._client, self._query, self._ended = client, vectors()[7], threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Searches:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        while not self._ended.wait(0.005):
            try:
                hits = self._client.search("things", self._query, k=10)
                self.answered += 1
                if len(hits) != 10:
                    self.failures.append(f"found {len(hits)} points")
            except ShoalError as error:
                self.failures.append(str(error))


def vectors() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((ROWS, DIM)).astype(np.float32)


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def finds_most(client: shoal.Client) -> bool:
    """Return whether the graph finds at least four points in five. Vectors without any structure are the
    hardest case.
    """
    found = client.search_many("things", vectors()[::250], k=1)
    return sum(hits[0].id == 250 * number for number, hits in enumerate(found)) >= 80


class Hosted:
    """A cluster with worker 1 on node 1. Builds run on node 2."""

    def __init__(self, nodes: RayNodes, etcd: EtcdProcess, data: Path) -> None:
        self.nodes, self.log = nodes, data / "logs" / "worker-1.log"
        flags = (f"--etcd={etcd.endpoint}", f"--ray-address={nodes.address}", "--builds=ray")
        self.up = ForegroundCluster(data=data, flags=flags)
        self.up.start(TIMEOUT_S)

    def said(self, what: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if what in line]

    def building(self) -> bool:
        """Return whether a task runs on the node for builds."""
        children = Path(f"/proc/{self.nodes.raylet(BUILD_NODE)}/task/{self.nodes.raylet(BUILD_NODE)}/children").read_text().split()
        return any(b"ray::_build" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    folder = short_folder()
    etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder).items():
            patch.setenv(name, value)
        etcd.start()
        try:
            made = Hosted(RayNodes(folder, 2), etcd, tmp_path_factory.mktemp("data"))
            yield made
            made.up.stop()
        finally:
            end_session(folder)
            etcd.stop()


@pytest.fixture
def client(hosted: Hosted) -> Iterator[shoal.Client]:
    with shoal.connect(hosted.up.address, timeout=TIMEOUT_S) as client:
        client.create_collection("things", dim=DIM, index="hnsw")
        yield client
        client.drop_collection("things")


@pytest.mark.timeout(150)
def test_indexes_are_built_on_the_other_node_while_searches_go_on(hosted: Hosted, client: shoal.Client) -> None:
    client.upsert("things", range(100), vectors()[:100])
    with Searches(client) as searches:
        client.upsert("things", range(100, ROWS), vectors()[100:])
        client.optimize("things")
    assert searches.failures == []
    assert searches.answered > 10
    built = hosted.said("built_elsewhere")
    assert built
    assert all(f"Ray node {hosted.nodes.id(BUILD_NODE)}" in line for line in built)
    assert hosted.said("build_elsewhere_failed") == []
    assert finds_most(client)


@pytest.mark.timeout(150)
def test_when_that_node_is_lost_the_build_ends_at_home(hosted: Hosted, client: shoal.Client) -> None:
    client.upsert("things", range(100), vectors()[:100])
    with Searches(client) as searches:
        client.upsert("things", range(100, ROWS), vectors()[100:])
        eventually(hosted.building)
        hosted.nodes.kill_node(BUILD_NODE)
        client.optimize("things")
    assert searches.failures == []
    assert any("NodeDiedError" in line for line in hosted.said("build_elsewhere_failed"))
    assert client.count("things") == ROWS
    assert finds_most(client)
