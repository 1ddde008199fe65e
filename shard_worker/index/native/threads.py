"""Prepare threads that run FAISS.

OpenMP's number of threads and the nice value belong to the calling thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np

_SIDE = 512


def search_thread_init() -> None:
    """Prepare the calling thread for searches: FAISS uses no other thread.

    For the initializer of a thread pool, and for the thread of the event loop.
    """
    faiss.omp_set_num_threads(1)


@contextmanager
def alone() -> Iterator[None]:
    """Let FAISS use only the calling thread within this context, as in a search thread."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def settle_linear_algebra(threads: int) -> None:
    """Make the linear algebra libraries of numpy and FAISS allocate their buffers for `threads` threads at a time now.

    Each library takes about 30 MiB of address space for every thread that multiplies at the same time, and ends the
    process when it gets none. So call this before the memory budget is measured; otherwise it happens in the middle of
    a search.
    """
    square = np.ones((_SIDE, _SIDE), dtype=np.float32)
    flat = faiss.IndexFlatL2(_SIDE)
    flat.add(square)
    together = threading.Barrier(threads)

    def work() -> None:
        search_thread_init()
        together.wait()
        for _ in range(3):
            square @ square
            flat.search(square, 1)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def build_thread_init(*, threads: int, nice: int = 10) -> None:
    """Prepare the calling thread for builds: low priority, `threads` OpenMP threads.

    Call it before the thread's first build: its OpenMP threads are created then and inherit its nice value. Do not use
    the thread for other work later, since an unprivileged process cannot lower a nice value again.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    faiss.omp_set_num_threads(threads)
