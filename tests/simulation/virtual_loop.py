"""An asyncio event loop and threads in virtual time, on which the product's own performers run unchanged.

Each process of the world has a loop for each of its lives. Callbacks are events of the scheduler, so a paused process
runs none, and a dead one never runs any again. A thread is a greenlet: a blocking call in it is a wait of virtual time.
Real durations are not simulated faithfully; the order of a program's steps is.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

from greenlet import GreenletExit, getcurrent, greenlet

from shoal.shard_worker.resources.writer_pool import SerialExecutor
from tests.simulation.scheduler import Process, Resume, Wait
from tests.simulation.violation import note

T = TypeVar("T")

TICKS_PER_TTL = 4
"""Ticks for the keepers of leases: fewer than in the product, whose ticks would be a quarter of all events."""

TASKS_KEPT = 512


class _Handle(list[Any]):
    """A pending callback and its arguments. It is skipped if it was cancelled."""

    def cancel(self) -> None:
        self[:] = (_do_nothing, ())


class _Timer:
    """A callback for later."""

    __slots__ = ("_args", "_callback", "_loop")

    def __init__(self, loop: VirtualLoop, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._loop, self._args = loop, args
        self._callback: Callable[..., object] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        if self._callback is not None:
            self._loop.run_now(self._callback, self._args)


def _do_nothing() -> None:
    pass


class VirtualLoop:
    """The event loop of one life of a process. Its time is the clock of the process."""

    def __init__(self, process: Process) -> None:
        self._process, self._life = process, process.life
        self._scheduler = process.scheduler
        self._ready: deque[_Handle] = deque()
        self._awake = False
        """Whether callbacks run now, or soon."""

        self._lines: dict[Executor | None, _Line] = {}
        self.tasks: list[asyncio.Task[Any]] = []
        """Tasks that may not have ended. Deleting one would run its last lines, so a life that ended keeps its
        own."""

    @property
    def process_name(self) -> str:
        """Return the name of the process."""
        return self._process.name

    # What asyncio's tasks, futures and primitives ask of a loop

    get_debug = bool
    """See asyncio. This is the cheapest call that returns False; each future makes it."""

    def time(self) -> float:
        """Return seconds on the clock of the process."""
        process = self._process
        return process.offset + self._scheduler.now * process.rate

    def is_closed(self) -> bool:
        """Return whether the life has ended."""
        return self._process.life != self._life

    def is_running(self) -> bool:
        """Return whether a callback runs now, or soon."""
        return self._awake

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return asyncio.Future(loop=cast("asyncio.AbstractEventLoop", self))

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, name: object = None, context: object = None
    ) -> asyncio.Task[T]:
        """See asyncio."""
        assert self._awake, "a task is begun outside of its loop"
        return self._begin(coro)

    def _begin(self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(cast("Coroutine[Any, Any, T]", coro), loop=cast("asyncio.AbstractEventLoop", self))
        self.tasks.append(task)
        if len(self.tasks) > TASKS_KEPT:
            self.tasks = [each for each in self.tasks if not each.done()]
        return task

    def call_soon(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio."""
        handle = _Handle((callback, args))
        process = self._process
        if process.life == self._life:
            self._ready.append(handle)
            if not self._awake:
                self._awake = True
                self._scheduler.soon(self._drain, process)
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio. All threads take turns here."""
        return self.call_soon(callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio."""
        timer, process, scheduler = _Timer(self, callback, args), self._process, self._scheduler
        if process.life == self._life:
            scheduler.at(scheduler.now + delay / process.rate, timer.fire, process)
        return timer

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio."""
        timer, process = _Timer(self, callback, args), self._process
        if process.life == self._life:
            self._scheduler.at((when - process.offset) / process.rate, timer.fire, process)
        return timer

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run it in a virtual thread. Work for a SerialExecutor waits for its earlier work."""
        future: asyncio.Future[T] = self.create_future()
        work = partial(self._run_thread, func, args, future)
        if not isinstance(executor, SerialExecutor):
            start_thread(self._process, work)
        else:
            self._lines.setdefault(executor, _Line(self._process)).add(work)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note an exception that was never retrieved."""
        error = context.get("exception")
        if isinstance(error, AssertionError):
            note(error)

    def _timer_handle_cancelled(self, handle: object) -> None:
        """See asyncio: the timer is skipped when it is due."""

    # Ours

    def spawn(self, work: Coroutine[Any, Any, Any], answer: Resume | None = None) -> None:
        """Run a task. answer: called with its result or exception; without it, an exception is a defect."""
        self._begin(work).add_done_callback(_note_failure if answer is None else partial(_tell, answer))

    def run_now(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Run a callback as part of this event."""
        self._ready.append(_Handle((callback, args)))
        self._drain()

    def wait(self, wait: Wait) -> asyncio.Future[Any]:
        """Return a wait of the scheduler as an awaitable; its exception is raised."""
        future = self.create_future()

        def resume(value: Any) -> None:
            if not future.done():
                if isinstance(value, BaseException):
                    future.set_exception(value)
                else:
                    future.set_result(value)

        wait(resume)
        return future

    def _run_thread(self, func: Callable[..., T], args: tuple[Any, ...], future: asyncio.Future[T]) -> None:
        try:
            result = func(*args)
        except GreenletExit:
            raise
        except BaseException as error:
            self.call_soon(_set_exception, future, error)
        else:
            self.call_soon(_set_result, future, result)

    def _drain(self) -> None:
        self._awake = True
        if _running[0] is not self:
            _set_running(self)
        ready, process, life = self._ready, self._process, self._life
        try:
            while ready and process.life == life:
                callback, args = ready.popleft()
                callback(*args)
        finally:
            self._awake = False


_running: list[VirtualLoop | None] = [None]


def _set_running(loop: VirtualLoop | None) -> None:
    """Make it asyncio's running loop. It stays so until another one runs, since telling asyncio is slow."""
    _running[0] = loop
    asyncio._set_running_loop(cast("asyncio.AbstractEventLoop | None", loop))


class _Line:
    """One virtual thread and the work that waits for it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: deque[Callable[[], None]] = deque()
        self._thread: greenlet | None = None
        self._busy = False

    def add(self, work: Callable[[], None]) -> None:
        """Do the work after all earlier work."""
        self._waiting.append(work)
        if self._thread is None:
            self._thread = start_thread(self._process, self._run)
        elif not self._busy:
            self._process.scheduler.soon(self._thread.switch, self._process)
        self._busy = True

    def _run(self) -> None:
        thread = getcurrent()
        while True:
            while self._waiting:
                self._waiting.popleft()()
            self._busy = False
            assert thread.parent is not None
            thread.parent.switch()


def start_thread(process: Process, work: Callable[[], None]) -> greenlet:
    """Run `work` in a virtual thread of this life, beginning now."""
    thread = greenlet(work)
    process.scheduler.soon(thread.switch, process)
    return thread


def block(wait: Wait) -> Any:
    """Wait in a virtual thread. Return the value of the wait, or raise its exception."""
    thread = getcurrent()
    parent = thread.parent
    assert parent is not None, "only a virtual thread may block"
    value: Any = None
    began = False

    def resume(result: Any) -> None:
        nonlocal value, began
        value = result
        if began:
            thread.switch()
        else:
            began = True

    wait(resume)
    if not began:
        began = True
        parent.switch()
    if isinstance(value, BaseException):
        raise value
    return value


class VirtualEvent:
    """threading.Event for virtual threads of one process."""

    def __init__(self, process: Process) -> None:
        self._process, self._set = process, False
        self._waiting: dict[greenlet, None] = {}

    def set(self) -> None:
        """See threading."""
        self._set = True
        waiting, self._waiting = self._waiting, {}
        for thread in waiting:
            self._process.scheduler.soon(partial(self._wake, waiting, thread), self._process)

    def is_set(self) -> bool:
        """See threading."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """See threading."""
        if not self._set:
            thread, waiting = getcurrent(), self._waiting
            assert thread.parent is not None, "only a virtual thread may block"
            waiting[thread] = None
            if timeout is not None:
                self._process.after(timeout, partial(self._wake, waiting, thread))
            thread.parent.switch()
        return self._set

    @staticmethod
    def _wake(waiting: dict[greenlet, None], thread: greenlet) -> None:
        if waiting.pop(thread, thread) is None:
            thread.switch()


class VirtualThreads:
    """`Threads` of one process in one life: see shoal.store.leases."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def event(self) -> VirtualEvent:
        """See Threads."""
        return VirtualEvent(self._process)

    def start(self, work: Callable[[], None], name: str) -> VirtualThread:
        """See Threads."""
        return VirtualThread(self._process, work)


class VirtualThread:
    """A running virtual thread."""

    def __init__(self, process: Process, work: Callable[[], None]) -> None:
        self._ended = VirtualEvent(process)
        self._work = work
        start_thread(process, self._run)

    def _run(self) -> None:
        self._work()
        self._ended.set()

    def join(self, timeout: float | None = None) -> None:
        """See threading."""
        self._ended.wait(timeout)

    def is_alive(self) -> bool:
        """See threading."""
        return not self._ended.is_set()


def running_process() -> str:
    """Return the name of the process whose loop runs now; it is unknown for a virtual thread."""
    loop = _running[0]
    return "a thread" if loop is None or getcurrent().parent is not None else loop.process_name


@contextmanager
def unlisted_tasks() -> Iterator[None]:
    """Keep new tasks out of the list of asyncio.all_tasks. The list is not used, and a weak reference is slow."""
    listed: Any = asyncio.tasks._all_tasks  # type: ignore[attr-defined]
    listed.add = lambda task: None
    try:
        yield
    finally:
        del listed.add


def forget(loops: list[VirtualLoop]) -> None:
    """Delete the tasks of lives that ended. That runs their last lines, whose complaints are not logged."""
    _set_running(None)
    for loop in loops:
        for task in list(loop.tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            with contextlib.suppress(RuntimeError):
                coroutine.close()
        loop.tasks.clear()


def _tell(answer: Resume, task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, AssertionError):
        note(error)
    answer(error or task.result())


def _note_failure(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        note(error if isinstance(error, AssertionError) else AssertionError(f"a task ended with {type(error).__name__}: {error}"))


def _set_result(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
