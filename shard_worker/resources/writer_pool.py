"""The threads in which the replicas of a worker write: a bounded number for all, and one at a time for each replica.

Each replica has a SerialExecutor. Its works run one after the other, in the order in which they came, each in any
thread of the pool. After a work the executor goes to the end of the pool's queue. So all replicas that have work take
turns, and a replica whose disk hangs keeps one thread and delays no other replica.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

WRITER_THREADS = 24
"""Most replicas that write at the same moment.

Nearly all of a write's time is a flush, and a journaling file system joins flushes that wait at the same time:
5 ms for one flush, 3 ms each for 32 in parallel were measured. From about 16 on, more threads gain little.
"""


class WriterPool:
    """The threads. `close` ends them; close the replicas before."""

    def __init__(self, threads: int = WRITER_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="writer")

    def executor(self) -> SerialExecutor:
        """Return an executor for one more replica."""
        return SerialExecutor(self._threads)

    def close(self) -> None:
        """End the threads when the work under way is done."""
        self._threads.shutdown()


class SerialExecutor(Executor):
    """Runs works one at a time, in order, in threads of a shared pool. Any thread may submit works."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: deque[_Work] = deque()
        self._running = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call after all calls that were submitted before. Raises RuntimeError after the pool was closed."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting.append(_Work(future, partial(fn, *args, **kwargs)))
            begins, self._running = not self._running, True
        if begins:
            self._threads.submit(self._run_next)
        return future

    def _run_next(self) -> None:
        with self._lock:
            work = self._waiting.popleft()
        _carry_out(work)
        # Free its data before a thread is free again.
        del work
        with self._lock:
            self._running = bool(self._waiting)
            again = self._running
        if again:
            self._threads.submit(self._run_next)


@dataclass(frozen=True, slots=True)
class _Work:
    """One call, and the future of its result."""

    future: Future[Any]
    call: Callable[[], Any]


def _carry_out(work: _Work) -> None:
    """Make the call, unless it was cancelled."""
    future = work.future
    try:
        if future.set_running_or_notify_cancel():
            future.set_result(work.call())
    except BaseException as error:
        future.set_exception(error)
    finally:
        # Otherwise an error, this frame and the future form a cycle that keeps the data of the work alive.
        del work, future
