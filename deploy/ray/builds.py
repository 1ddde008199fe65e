"""Index builds as Ray tasks. Ray objects stay in this file, and Ray's errors are re-typed here.

A call to Ray may block for as long as Ray's head is away. So each attempt runs in its own thread, and is abandoned if
the thread blocks for too long; until that thread returns, no other build is given to Ray. The vectors go into Ray's
object store in blocks, the task fetches one block at a time, and they are removed when the attempt ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray

from shoal.core.errors import ShoalError, Unavailable
from shoal.deploy.logic.build_placement import BUILDS_LABEL, BuildPlace, NodeFacts, place_build
from shoal.deploy.plans import WORKER_LABEL
from shoal.deploy.ray.cluster import LABEL_VALUE, first_line
from shoal.shard_worker.index.native.task import Material, NativeTask, PackedIndex, run_native_task
from shoal.shard_worker.index.native.threads import build_thread_init
from shoal.shard_worker.resources.builders import Delivery

PATIENCE_S = 30.0
"""Time in seconds for one answer of Ray, and for a free node to begin."""

_POLL_S = 0.1
_LOOK_S = 2.0
_FETCH_S = 2.0


class RayBuilds:
    """A Runner that runs builds in Ray, one at a time. Used in a process that has joined a Ray cluster."""

    def __init__(self, *, threads: int, patience_s: float = PATIENCE_S) -> None:
        """threads: of one build. The same number of CPUs is requested from Ray."""
        self._threads, self._patience_s = threads, patience_s
        self._last: _Attempt | None = None

    def run(self, task: NativeTask, material: Material, should_stop: Callable[[], bool]) -> Delivery | None:
        """See Runner."""
        if self._last is not None and not self._last.over.is_set():
            raise Unavailable(f"Ray has not come back from an earlier build yet: it {self._last.waits_for}")
        self._last = attempt = _Attempt(task, material, self._threads)
        attempt.start()
        try:
            while not attempt.over.wait(_POLL_S):
                if should_stop():
                    return None
                if attempt.quiet_s() > self._patience_s:
                    raise Unavailable(f"Ray {attempt.waits_for} for {self._patience_s:.0f} s")
            return attempt.take()
        finally:
            attempt.cancelled.set()


class _Attempt:
    """One attempt to build in Ray, in its own thread. over: set when it has ended. cancelled: set to end it."""

    def __init__(self, task: NativeTask, material: Material, threads: int) -> None:
        self.over, self.cancelled = threading.Event(), threading.Event()
        self.waits_for = "was not asked"
        self._task, self._threads = task, threads
        self._material: Material | None = material
        self._heard_s = time.monotonic()
        self._delivery: Delivery | None = None
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="ray-build", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def quiet_s(self) -> float:
        """Return the seconds since the last progress."""
        return time.monotonic() - self._heard_s

    def take(self) -> Delivery | None:
        """Return the result, the first time only; None if cancelled. Raises Unavailable if the attempt failed."""
        if self._failure:
            raise Unavailable(self._failure)
        delivery, self._delivery = self._delivery, None
        return delivery

    def _run(self) -> None:
        try:
            delivery = self._ask()
            if not self.cancelled.is_set():
                self._delivery = delivery
        except ShoalError as error:
            self._failure = error.message
        except Exception as error:
            # Keep only the text of the error: its traceback would keep the vectors in Ray's object store.
            self._failure = f"a Ray task to build an index failed: {type(error).__name__}: {first_line(error).partition('. ')[0]}"
        finally:
            self._material = None
            self.over.set()

    def _ask(self) -> Delivery | None:
        self._waiting("did not list its nodes")
        place = _place(self._threads)
        self._waiting("did not take the vectors")
        data = self._put()
        if data is None:
            return None
        self._waiting(f"found no free node with {place.cpus:g} CPUs and the labels {dict(place.labels)}")
        answers = (
            ray.remote(max_calls=1, max_retries=0, num_returns="streaming")(_build)
            .options(num_cpus=place.cpus, label_selector=dict(place.labels))
            .remote(self._task, place.threads, *data)
        )
        try:
            return self._await(answers)
        finally:
            ray.cancel(answers, force=True)

    def _put(self) -> tuple[list[Any], list[Any], list[Any]] | None:
        """Put base, sample and blocks into Ray's object store, and return the references; None if cancelled.

        They are in lists, because Ray fetches an argument that is a plain reference before the task begins.
        """
        material = self._material
        assert material is not None
        blocks = []
        base, sample = _put_one(material.base()), _put_one(material.sample())
        for block in material.blocks():
            if self.cancelled.is_set():
                return None
            blocks.append(ray.put(block))
            self._heard()
        return base, sample, blocks

    def _await(self, answers: Any) -> Delivery | None:
        """Wait for both answers of the task: the node on which the build has begun, then the index."""
        if not self._arrived(answers, begun=False):
            return None
        place = ray.get(next(answers))
        self._waiting(f"had no progress on node {place}")
        if not self._arrived(answers, begun=True):
            return None
        result = next(answers)
        while not self.cancelled.is_set():
            self._heard()
            try:
                return Delivery(built=ray.get(result, timeout=_FETCH_S), place=f"Ray node {place}")
            except ray.exceptions.GetTimeoutError:
                continue
        return None

    def _arrived(self, answers: Any, *, begun: bool) -> bool:
        """Wait for the next answer. Returns False if cancelled before.

        A build that has begun has no time limit, since Ray reports if it is lost.
        """
        look_s = time.monotonic() + _LOOK_S
        while not self.cancelled.is_set():
            ready, _ = ray.wait([answers], timeout=_POLL_S, fetch_local=False)
            if ready:
                return True
            if begun:
                self._heard()
            elif time.monotonic() > look_s:
                # Ray may have chosen a dead node before it noticed that the node is dead. Check that a place is left.
                _place(self._threads)
                look_s = time.monotonic() + _LOOK_S
        return False

    def _waiting(self, waits_for: str) -> None:
        self.waits_for = waits_for
        self._heard()

    def _heard(self) -> None:
        self._heard_s = time.monotonic()


def _put_one(value: Any) -> list[Any]:
    return [] if value is None else [ray.put(value)]


def _place(threads: int) -> BuildPlace:
    """Return the place to build. Raises Unavailable if only this process is left."""
    nodes = [_facts(node) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    place = place_build(nodes, own=ray.get_runtime_context().get_node_id(), threads=threads)
    if place is None:
        raise Unavailable("no other node of the Ray cluster has a CPU for builds")
    return place


def _facts(node: dict[str, Any]) -> NodeFacts:
    labels = node["Labels"]
    return NodeFacts(
        id=node["NodeID"],
        cpus=node["Resources"].get("CPU", 0.0),
        for_builds=labels.get(BUILDS_LABEL) == LABEL_VALUE,
        hosts=any(label.startswith(WORKER_LABEL) for label in labels),
    )


def _build(task: NativeTask, threads: int, base: list[Any], sample: list[Any], blocks: list[Any]) -> Iterator[str | PackedIndex]:
    """Run the build in the process of a Ray task. Yields the id of its node, then the index."""
    build_thread_init(threads=threads)
    yield ray.get_runtime_context().get_node_id()
    material = Material(
        base=lambda: ray.get(base[0]) if base else None,
        sample=lambda: ray.get(sample[0]) if sample else None,
        blocks=lambda: (ray.get(block) for block in blocks),
    )
    built = run_native_task(task, material, bool)
    assert built is not None, "nothing stops it but the end of its process"
    yield built
