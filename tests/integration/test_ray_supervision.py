"""Test supervision on a Ray of three nodes and a head: any part of it is killed, acknowledged points stay, and no
person has to help.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import shoal
from shoal.core.errors import ShoalError, Unavailable
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.ray.session import end_session
from tests.support.cluster.ray_nodes import RayNodes, environment, short_folder
from tests.support.etcd.process import EtcdProcess

TIMEOUT_S = 60.0
WORKERS = 3
LONGEST_PAUSE_S = 2.0
"""Longest write and search while only Ray's head is away. They do not use the head. The time is for a busy machine."""


class Load:
    """Writes one point after the other and searches for it, until told to end."""

    def __init__(self, client: shoal.Client) -> None:
        self.acknowledged: set[int] = set()
        self.failures: list[str] = []
        self.longest_s = 0.0
        self._client, self._ended = client, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(TIMEOUT_S)

    def advance(self, by: int = 20) -> None:
        """Wait until `by` more points are acknowledged and found."""
        goal = len(self.acknowledged) + by
        eventually(lambda: len(self.acknowledged) >= goal)

    def _run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            began_s = time.monotonic()
            try:
                self._client.upsert("things", [number], [[float(number), 1.0]])
                (hit,) = self._client.search("things", [float(number), 1.0], k=1)
                if hit.id != number:
                    self.failures.append(f"searched {number}, found {hit.id}")
                self.acknowledged.add(number)
            except ShoalError as error:
                self.failures.append(str(error))
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)
            self._ended.wait(0.01)


class Hosted:
    """A cluster on these nodes, and the `shoal up` that supervises it."""

    def __init__(self, nodes: RayNodes, etcd: EtcdProcess, data: Path) -> None:
        self.nodes, self.data = nodes, data
        self.flags = (f"--etcd={etcd.endpoint}", f"--ray-address={nodes.address}", "--host=node", "--insecure=true", "--lease-ttl-s=3")
        self.up = ForegroundCluster(data=data, workers=WORKERS, flags=self.flags)
        self.up.launch()
        self.address = self.up.await_line("ready", TIMEOUT_S).split()[1]

    def supervise_again(self) -> None:
        self.up = ForegroundCluster(data=self.data, port=self.up.port, workers=WORKERS, flags=self.flags)
        self.up.launch()
        self.up.await_line("ready", TIMEOUT_S)


def eventually(holds: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def link_process(command: int) -> int:
    """Return the pid of the process through which `shoal up` speaks to Ray."""
    children = (int(pid) for pid in Path(f"/proc/{command}/task/{command}/children").read_text().split())
    (pid,) = (pid for pid in children if b"shoal.deploy.ray.link_process" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return pid


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    folder = short_folder()
    etcd = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder).items():
            patch.setenv(name, value)
        etcd.start()
        try:
            made = Hosted(RayNodes(folder, WORKERS), etcd, tmp_path_factory.mktemp("data"))
            yield made
            made.up.stop()
        finally:
            end_session(folder)
            etcd.stop()


@pytest.fixture
def client(hosted: Hosted) -> Iterator[shoal.Client]:
    with shoal.connect(hosted.address, timeout=TIMEOUT_S) as client:
        client.create_collection("things", dim=2, shards=WORKERS)
        yield client
        client.drop_collection("things")


def pids(client: shoal.Client) -> dict[str, int]:
    """Return the pid of each worker that is up, by the worker's id."""
    return {worker.id: worker.pid for worker in client.cluster().workers if worker.state == "up"}


def holds_all(client: shoal.Client, load: Load) -> None:
    """Check that no acknowledged point is lost. A point that was not acknowledged may be there, too."""
    assert load.acknowledged <= {point.id for point in client.scroll("things")}


@pytest.mark.timeout(200)
def test_each_worker_lives_on_the_node_with_its_label(hosted: Hosted, client: shoal.Client) -> None:
    homes = {parent(pid) for pid in pids(client).values()}
    assert homes == {hosted.nodes.raylet(number) for number in range(1, WORKERS + 1)}


@pytest.mark.timeout(100)
def test_a_missing_label_is_named_before_anything_starts(hosted: Hosted, tmp_path: Path) -> None:
    cluster = ForegroundCluster(data=tmp_path / "data", workers=WORKERS + 1, flags=(*hosted.flags, "--cluster-name=other"))
    with pytest.raises(Unavailable, match=r"carries the label shoal-worker-4; start the node .* --labels shoal-worker-4=true"):
        cluster.start()
    assert cluster.wait() == 1


@pytest.mark.timeout(100)
def test_a_killed_worker_is_back_with_its_points(hosted: Hosted, client: shoal.Client) -> None:
    with Load(client) as load:
        load.advance()
        (victim,) = (pid for pid in pids(client).values() if parent(pid) == hosted.nodes.raylet(2))
        os.kill(victim, signal.SIGKILL)
        hosted.up.await_line("worker-2 is back", TIMEOUT_S)
        load.advance()
    assert load.failures == []
    holds_all(client, load)
    assert len(pids(client)) == WORKERS


@pytest.mark.timeout(100)
def test_a_killed_node_comes_back_with_its_worker_and_its_points(hosted: Hosted, client: shoal.Client) -> None:
    with Load(client) as load:
        load.advance()
        before = pids(client)
        hosted.nodes.kill_node(3)
        hosted.up.await_line("worker-3 waits: no living node carries the label shoal-worker-3", TIMEOUT_S)
        hosted.nodes.start_node(3)
        hosted.up.await_line("worker-3 is back", TIMEOUT_S)
        load.advance()
    assert load.failures == []
    holds_all(client, load)
    after = pids(client)
    assert after.keys() == before.keys()
    assert len(after.items() & before.items()) == WORKERS - 1
    assert hosted.nodes.raylet(3) in {parent(pid) for pid in after.values()}


@pytest.mark.timeout(100)
def test_the_killed_command_finds_its_workers_again(hosted: Hosted, client: shoal.Client) -> None:
    before = pids(client)
    with Load(client) as load:
        hosted.up.signal(signal.SIGKILL)
        hosted.up.wait()
        load.advance()
        hosted.supervise_again()
        load.advance()
    assert load.failures == []
    assert pids(client) == before


@pytest.mark.timeout(100)
def test_when_ray_ends_the_process_that_speaks_to_it_another_finds_the_workers(hosted: Hosted, client: shoal.Client) -> None:
    before = pids(client)
    with Load(client) as load:
        os.kill(link_process(hosted.up.pid), signal.SIGKILL)
        hosted.up.await_line("Ray answers again", TIMEOUT_S)
        load.advance()
    assert load.failures == []
    assert pids(client) == before
    assert sum("trying again" in line for line in hosted.up.lines) == 1
    assert not any("ended" in line.replace("Ray ended", "") for line in hosted.up.lines)


@pytest.mark.timeout(150)
def test_without_the_head_writes_and_searches_go_on_and_with_it_supervision_resumes(hosted: Hosted, client: shoal.Client) -> None:
    with Load(client) as load:
        before = pids(client)
        hosted.nodes.kill_head()
        load.advance(100)
        assert load.longest_s < LONGEST_PAUSE_S
        assert pids(client) == before
        (victim,) = (pid for pid in before.values() if parent(pid) == hosted.nodes.raylet(3))
        os.kill(victim, signal.SIGKILL)
        hosted.nodes.start_head()
        hosted.up.await_line("worker-3 is back", TIMEOUT_S)
        load.advance()
    assert load.failures == []
    holds_all(client, load)
    after = pids(client)
    assert len(after.items() & before.items()) == WORKERS - 1
