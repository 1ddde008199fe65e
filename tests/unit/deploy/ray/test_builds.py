"""Test builds as Ray tasks. Ray is replaced by a table in this process, which hangs, fails or waits when told to."""

from __future__ import annotations

import gc
import threading
import types
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import Unavailable
from shoal.core.metric import Metric
from shoal.deploy.ray import builds as ray_builds
from shoal.deploy.ray.builds import RayBuilds
from shoal.shard_worker.index.native.task import Material, NativeTask, unpacked

DIM, ROWS = 4, 60
VECTORS = np.random.default_rng(7).standard_normal((ROWS, DIM)).astype(np.float32)
TASK = NativeTask(index="HNSW4,Flat", dim=DIM, metric=Metric.L2, ef_construction=16, rows=ROWS)


class Box:
    """A reference to an object in the store."""

    def __init__(self, value: Any) -> None:
        self.value = value


class GetTimeoutError(Exception):
    """Has the name of the exception that Ray raises."""


class Answers:
    """The results of one task. `TableRay.wait` makes the task yield them."""

    def __init__(self, items: Generator[Any, None, None]) -> None:
        self.items, self.ready = items, list[Any]()

    def __next__(self) -> Box:
        return Box(self.ready.pop())


class TableRay:
    """Replaces Ray. open: set while `nodes` answers. starts: whether tasks begin. late: how many times `get` raises
    GetTimeoutError. error: message of the error that `wait` raises, if any.
    """

    exceptions = types.SimpleNamespace(GetTimeoutError=GetTimeoutError)

    def __init__(self) -> None:
        self.open, self.asked = threading.Event(), threading.Event()
        self.open.set()
        self.starts, self.late, self.error, self.cpus = True, 0, "", 4.0
        self.stored: weakref.WeakSet[Box] = weakref.WeakSet()
        self.most_stored = 0
        self.options_seen: list[dict[str, Any]] = []
        self.cancelled: list[Answers] = []

    def nodes(self) -> list[dict[str, Any]]:
        self.asked.set()
        self.open.wait()
        resources = {"CPU": self.cpus} if self.cpus else {}
        dead = {"NodeID": "dead", "Alive": False, "Resources": {}, "Labels": {"shoal-builds": "true"}}
        return [dead, *({"NodeID": name, "Alive": True, "Resources": resources, "Labels": {}} for name in ("own", "other"))]

    def get_runtime_context(self) -> Any:
        return types.SimpleNamespace(get_node_id=lambda: "own")

    def put(self, value: Any) -> Box:
        box = Box(value)
        self.stored.add(box)
        self.most_stored = max(self.most_stored, len(self.stored))
        return box

    def get(self, box: Box, timeout: float | None = None) -> Any:
        if timeout is not None and self.late:
            self.late -= 1
            raise GetTimeoutError
        return box.value

    def remote(self, **fixed: Any) -> Callable[[Any], Any]:
        def of(work: Callable[..., Generator[Any, None, None]]) -> Any:
            def options(**more: Any) -> Any:
                self.options_seen.append(fixed | more)
                return types.SimpleNamespace(remote=lambda *given: Answers(work(*given)))

            return types.SimpleNamespace(options=options)

        return of

    def wait(self, waited: list[Answers], *, timeout: float, fetch_local: bool) -> tuple[list[Answers], list[Answers]]:
        if self.error:
            raise ConnectionError(self.error)
        if not self.starts:
            return [], waited
        waited[0].ready.append(next(waited[0].items))
        return waited, []

    def cancel(self, answers: Answers, *, force: bool) -> None:
        self.cancelled.append(answers)
        answers.items.close()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[TableRay]:
    made = TableRay()
    monkeypatch.setattr(ray_builds, "ray", made)
    monkeypatch.setattr(ray_builds, "_POLL_S", 0.001)
    yield made
    made.open.set()


def material() -> Material:
    return Material(base=lambda: None, sample=lambda: None, blocks=lambda: iter(np.array_split(VECTORS, 3)))


def settled(builds: RayBuilds) -> None:
    assert builds._last is not None
    assert builds._last.over.wait(20)


def test_a_build_is_done_on_another_node_and_leaves_nothing_in_the_store(table: TableRay) -> None:
    table.late = 2
    builds = RayBuilds(threads=2)
    delivery = builds.run(TASK, material(), bool)
    assert delivery is not None
    assert np.array_equal(unpacked(TASK, delivery.built).vectors(), VECTORS)
    assert delivery.place == "Ray node own"
    (options,) = table.options_seen
    assert (options["num_cpus"], options["max_retries"], options["label_selector"]) == (2, 0, {"ray.io/node-id": "!own"})
    assert table.most_stored == 3
    gc.collect()
    assert len(table.stored) == 0


def test_a_failure_is_told_and_leaves_nothing_in_the_store(table: TableRay) -> None:
    table.error = "no route\nto host"
    builds = RayBuilds(threads=2)
    with pytest.raises(Unavailable, match=r"a Ray task to build an index failed: ConnectionError: no route$"):
        builds.run(TASK, material(), bool)
    assert len(table.cancelled) == 1
    gc.collect()
    assert len(table.stored) == 0
    table.error = ""
    assert builds.run(TASK, material(), bool) is not None


def test_a_ray_that_hangs_is_left_alone_until_it_comes_back(table: TableRay) -> None:
    table.open.clear()
    builds = RayBuilds(threads=2, patience_s=0.05)
    with pytest.raises(Unavailable, match="Ray did not list its nodes for 0 s"):
        builds.run(TASK, material(), bool)
    with pytest.raises(Unavailable, match="has not come back from an earlier build yet: it did not list its nodes"):
        builds.run(TASK, material(), bool)
    table.open.set()
    settled(builds)
    assert table.options_seen == [] or len(table.cancelled) == len(table.options_seen)
    assert RayBuilds(threads=2).run(TASK, material(), bool) is not None


def test_a_build_that_no_node_begins_is_taken_back(table: TableRay) -> None:
    table.starts = False
    builds = RayBuilds(threads=2, patience_s=0.05)
    with pytest.raises(Unavailable, match="Ray found no free node with 2 CPUs and the labels"):
        builds.run(TASK, material(), bool)
    settled(builds)
    assert len(table.cancelled) == 1


def test_a_build_that_is_stopped_is_taken_back(table: TableRay) -> None:
    table.starts = False
    builds = RayBuilds(threads=2)
    assert builds.run(TASK, material(), table.asked.is_set) is None
    settled(builds)
    assert len(table.cancelled) == len(table.options_seen)


def test_nodes_without_a_cpu_build_nothing(table: TableRay) -> None:
    table.cpus = 0.0
    with pytest.raises(Unavailable, match="no other node of the Ray cluster has a CPU for builds"):
        RayBuilds(threads=2).run(TASK, material(), bool)


def test_a_build_whose_last_node_is_lost_before_it_begins_does_not_wait(table: TableRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_builds, "_LOOK_S", 0.0)
    table.starts = False

    def lose_the_nodes() -> bool:
        if table.options_seen:
            table.cpus = 0.0
        return False

    with pytest.raises(Unavailable, match="no other node of the Ray cluster has a CPU for builds"):
        RayBuilds(threads=2).run(TASK, material(), lose_the_nodes)
    assert len(table.cancelled) == 1
