"""How threads are prepared that run FAISS. OpenMP's number of threads and the nice value belong to the calling thread."""

from __future__ import annotations

import os
import threading

import faiss


def search_thread_init() -> None:
    """Prepare the calling thread for searches: FAISS runs in it alone. For a pool's initializer and the event loop's thread."""
    faiss.omp_set_num_threads(1)


def build_thread_init(*, threads: int, nice: int = 10) -> None:
    """Prepare the calling thread for builds: low priority, `threads` OpenMP threads.

    Call it before the thread's first build: the OpenMP threads are made then and inherit its nice value. The thread
    cannot be given back to other work, since an unprivileged process cannot lower a nice value again.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    faiss.omp_set_num_threads(threads)
