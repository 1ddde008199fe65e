"""An asyncio event loop and threads in virtual time: the product's own performers run on them, as they are.

Each process of the world has a loop for each of its lives. Callbacks are events of the scheduler, so a paused process
runs none and a dead one never again. A thread is a greenlet: a blocking call in it is a wait of virtual time.
Nothing here is faithful to real time, and everything is to the order in which a program does things.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from tests.simulation.scheduler import Process, Resume, Wait
from tests.simulation.violation import note

T = TypeVar("T")


class _Handle:
    """A callback to come. When it was cancelled it is skipped."""

    __slots__ = ("_args", "_callback", "_when", "gone")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], when: float = 0.0) -> None:
        self._callback, self._args, self._when, self.gone = callback, args, when, False

    def cancel(self) -> None:
        self.gone = True

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self._when

    def run(self) -> None:
        if not self.gone:
            self._callback(*self._args)


class VirtualLoop(asyncio.AbstractEventLoop):
    """The event loop of one life of a process. Its time is the clock of the process."""

    def __init__(self, process: Process) -> None:
        self._process, self._life = process, process.life
        self._ready: deque[_Handle] = deque()
        self._draining = self._planned = False
        self._lines: dict[Executor | None, _Line] = {}
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """Those that have not ended. To throw one away would run its last lines, so a life that ended keeps its own."""

    # What asyncio's tasks, futures and primitives ask of a loop

    def time(self) -> float:
        """Seconds on the clock of the process."""
        return self._process.clock()

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_closed(self) -> bool:
        """Whether the life has ended."""
        return self._process.life != self._life

    def is_running(self) -> bool:
        """Whether a callback runs now."""
        return self._draining

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, name: object = None, context: object = None
    ) -> asyncio.Task[T]:
        """See asyncio. An invariant that falls in it is noted even where the product catches it."""
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self)  # type: ignore[arg-type]
        self.tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def call_soon(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio."""
        handle = _Handle(callback, args)
        if self.is_closed():
            return handle
        self._ready.append(handle)
        if not self._draining and not self._planned:
            self._planned = True
            self._process.scheduler.at(self._process.scheduler.now, self._drain, self._process)
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio. All threads take turns here."""
        return self.call_soon(callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio."""
        handle = _Handle(callback, args, self.time() + delay)
        if not self.is_closed():
            self._process.after(delay, lambda: None if handle.gone else self._run_now(handle))
        return handle

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """See asyncio."""
        return self.call_later(max(0.0, when - self.time()), callback, *args)

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run it in a virtual thread; what is given to an executor of one thread waits for what is before it there."""
        future: asyncio.Future[T] = self.create_future()
        work = lambda: self._run_thread(func, args, future)  # noqa: E731
        if executor is None or getattr(executor, "_max_workers", 0) != 1:
            start_thread(self._process, work)
        else:
            self._lines.setdefault(executor, _Line(self._process)).add(work)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what nobody took."""
        error = context.get("exception")
        if isinstance(error, AssertionError):
            note(error)

    def _timer_handle_cancelled(self, handle: object) -> None:
        """See asyncio: it is skipped when it is due."""

    # Ours

    def spawn(self, work: Coroutine[Any, Any, Any], answer: Resume | None = None) -> None:
        """Run a task. answer: given its result, or what it raised; without it, what it raises ends the history."""
        task = self.create_task(work)
        task.add_done_callback(_note_failure if answer is None else lambda ended: _tell(ended, answer))

    def wait(self, wait: Wait) -> asyncio.Future[Any]:
        """A wait of the scheduler as something to await; an exception is raised."""
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

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)
        if not task.cancelled() and isinstance(task.exception(), AssertionError):
            error = task.exception()
            assert isinstance(error, AssertionError)
            note(error)

    def _run_now(self, handle: _Handle) -> None:
        self._ready.append(handle)
        self._drain()

    def _drain(self) -> None:
        self._planned = False
        self._draining = True
        asyncio._set_running_loop(self)
        ready = self._ready
        try:
            while ready:
                ready.popleft().run()
        finally:
            asyncio._set_running_loop(None)
            self._draining = False


class _Line:
    """Work for one thread, one after the other."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def add(self, work: Callable[[], None]) -> None:
        """Do it after what is before it."""
        self._waiting.append(work)
        if not self._busy:
            self._busy = True
            start_thread(self._process, self._run)

    def _run(self) -> None:
        while self._waiting:
            self._waiting.popleft()()
        self._busy = False


def start_thread(process: Process, work: Callable[[], None]) -> greenlet:
    """Run `work` in a virtual thread of this life, beginning now."""
    thread = greenlet(work)
    process.after(0.0, thread.switch)
    return thread


def block(wait: Wait) -> Any:
    """Wait in a virtual thread. Returns the value of the wait; an exception is raised."""
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
        self._waiting: list[Resume] = []

    def set(self) -> None:
        """See threading."""
        self._set = True
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume(True)

    def is_set(self) -> bool:
        """See threading."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """See threading."""
        if not self._set and timeout != 0.0:
            block(self._until_set(timeout))
        return self._set

    def _until_set(self, timeout: float | None) -> Wait:
        def begin(resume: Resume) -> None:
            once = _once(resume)
            # Later, not from within whoever sets it.
            self._waiting.append(lambda value: self._process.after(0.0, lambda: once(value)))
            if timeout is not None:
                self._process.after(timeout, lambda: once(False))

        return begin


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


def forget(loops: list[VirtualLoop]) -> None:
    """Throw away the tasks of lives that ended. That runs their last lines, whose complaints nobody should hear."""
    for loop in loops:
        for task in list(loop.tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            with contextlib.suppress(RuntimeError):
                coroutine.close()  # type: ignore[union-attr]
        loop.tasks.clear()


def _once(resume: Resume) -> Resume:
    done = False

    def once(value: Any) -> None:
        nonlocal done
        if not done:
            done = True
            resume(value)

    return once


def _note_failure(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        note(AssertionError(f"a task of the product ended: {type(error).__name__}: {error}"))


def _tell(task: asyncio.Task[Any], answer: Resume) -> None:
    if not task.cancelled():
        answer(task.exception() or task.result())


def _set_result(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
