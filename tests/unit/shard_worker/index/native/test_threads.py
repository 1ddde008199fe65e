"""Test the threads: FAISS runs alone in a search thread; a build thread and its OpenMP threads have a low priority."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import faiss
import numpy as np

from shoal.core.index_spec import parse_index
from shoal.core.metric import Metric
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.native.threads import alone, build_thread_init, search_thread_init


def _in_a_thread(task: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(task()))
    thread.start()
    thread.join()
    return found[0]


def _nice_values() -> dict[int, int]:
    return {int(task): os.getpriority(os.PRIO_PROCESS, int(task)) for task in os.listdir("/proc/self/task")}


def test_a_search_thread_runs_faiss_alone() -> None:
    def task() -> int:
        search_thread_init()
        return faiss.omp_get_max_threads()

    before = faiss.omp_get_max_threads()
    assert _in_a_thread(task) == 1
    assert faiss.omp_get_max_threads() == before


def test_a_thread_that_runs_alone_has_its_number_back_afterwards() -> None:
    def task() -> list[int]:
        faiss.omp_set_num_threads(2)
        found = []
        with suppress(ZeroDivisionError), alone():
            found.append(faiss.omp_get_max_threads())
            raise ZeroDivisionError
        return [*found, faiss.omp_get_max_threads()]

    assert _in_a_thread(task) == [1, 2]


def test_a_build_thread_and_the_openmp_threads_it_starts_are_nice() -> None:
    def task() -> tuple[int, int, list[int]]:
        build_thread_init(threads=2, nice=7)
        before = set(_nice_values())
        graph = NativeIndex.empty(parse_index("hnsw", 8), 8, Metric.L2)
        graph.add(np.random.default_rng(1).random((500, 8)).astype(np.float32))
        values = _nice_values()
        started = [nice for thread, nice in values.items() if thread not in before]
        return faiss.omp_get_max_threads(), values[threading.get_native_id()], started

    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    number, own, started = _in_a_thread(task)
    assert (number, own) == (2, 7)
    assert started
    assert set(started) == {7}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == usual
