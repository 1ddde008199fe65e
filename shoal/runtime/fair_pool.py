"""Threads that work in turns: fair to collections and callers, and only as long as the caller waits.

`shoal.core.turns` decides whose turn it is. When a caller leaves, its waiting work is not begun, and its running work
ends at the next check of its turn. Work that does not check is not interrupted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from shoal.core.deadline import Clock, Deadline
from shoal.core.errors import BUSY_RETRY_S, DeadlineExceeded, ErrorDetails, ResourceExhausted, Unavailable
from shoal.core.turns import FREE, Asker, Turn, Turns
from shoal.runtime.clock import boot_s

T = TypeVar("T")

SLICE_S = 0.02
"""Length of a turn in seconds while others wait. A search that comes later waits about this long."""

MOST_PUT_OFF = 16
"""Most works that have begun and wait for another turn. Each keeps a thread and its results so far."""

MOST_WORKS = 512


class UntilTurn:
    """The turn of a work that never has to let others go first.

    It ends at the deadline, or when its caller leaves. May be used from any thread.
    """

    rested_s = 0.0

    def __init__(self, deadline: Deadline | None) -> None:
        self.deadline = deadline
        self._left = False

    def leave(self) -> None:
        """Record that the caller does not wait any more."""
        self._left = True

    def check(self) -> None:
        """See Turn."""
        if self._left or (self.deadline is not None and self.deadline.passed):
            raise DeadlineExceeded("the work did not end in time; ask for less, or give it longer")

    def pause(self) -> None:
        """See Turn."""
        self.check()


class _Job(UntilTurn):
    """One piece of work, and its turn."""

    def __init__(self, pool: FairPool, number: int, work: Callable[[Turn], Any], deadline: Deadline | None, clock: Clock) -> None:
        super().__init__(deadline)
        self.number, self._work = number, [work]
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Any] = self.loop.create_future()
        self.began_s = 0.0
        self.resumed: threading.Event | None = None
        """Set when a work that was put off gets its next turn. None for a work that was not put off."""
        self._pool, self._clock = pool, clock

    def pause(self) -> None:
        """See Turn."""
        self.check()
        if self._clock() - self.began_s >= SLICE_S:
            self._pool.let_others(self)

    def carry_out(self) -> Any:
        """Do the work, unless its caller has left. Keeps nothing of it: its thread may drop the job much later."""
        work = self._work.pop()
        try:
            self.check()
            return work(self)
        finally:
            del work

    def end(self, value: Any, error: BaseException | None) -> None:
        """Give the outcome to the caller. May be called from any thread."""
        self.loop.call_soon_threadsafe(self._told, value, error)

    def _told(self, value: Any, error: BaseException | None) -> None:
        # The error's traceback refers to this turn, so the turn must not refer to the error: that would be a cycle.
        outcome = self.outcome
        del self.outcome
        if error is None:
            outcome.set_result(value)
        else:
            outcome.set_exception(error)


class FairPool:
    """Runs `at_once` works at the same time. what: name of the works, for errors.

    Used from event loops. `close` ends the threads.
    """

    def __init__(
        self,
        at_once: int,
        *,
        name: str,
        what: str,
        limit: str,
        initializer: Callable[[], None] | None = None,
        clock: Clock = boot_s,
    ) -> None:
        """limit: name of the bound on waiting works, for errors. initializer: prepares each thread."""
        self._what, self._limit, self._clock = what, limit, clock
        self._turns = Turns(at_once=at_once, most_put_off=MOST_PUT_OFF, slice_s=SLICE_S, most=MOST_WORKS)
        self._threads = ThreadPoolExecutor(self._turns.most_begun, thread_name_prefix=name, initializer=initializer)
        self._lock = threading.Lock()
        self._jobs: dict[int, _Job] = {}
        self._count = 0
        self._closed = False

    def __len__(self) -> int:
        """Return the number of works that run or wait."""
        return len(self._jobs)

    async def run(self, work: Callable[[Turn], T], asker: Asker, deadline: Deadline | None = None) -> T:
        """Run work in a thread when its turn comes, and return its outcome. If cancelled, wait until the thread has
        ended the work.

        Raises ResourceExhausted if too many wait, DeadlineExceeded, Unavailable if closed, and what the work raises.
        """
        with self._lock:
            job = self._taken(work, asker, deadline)
            outcome = job.outcome
            self._give_turns()
        try:
            await asyncio.wait((outcome,))
            result: T = outcome.result()
            return result
        except asyncio.CancelledError:
            if not self._given_up(job):
                await _ended(outcome)
            raise
        finally:
            del outcome  # Its error refers to this frame. This would be a cycle that keeps all data of the work.

    def deadline(self, timeout_s: float) -> Deadline:
        """Return the deadline timeout_s seconds from now, on the clock of the pool."""
        return Deadline.after(timeout_s, self._clock)

    async def aside(self, work: Callable[[Turn], T], asker: Asker, deadline: Deadline | None, *, long: bool) -> T:
        """Return the outcome of work. Long work runs as in `run`, short work at once in the caller's thread."""
        return await self.run(work, asker, deadline) if long else work(FREE)

    def close(self) -> None:
        """Begin no more work, end running work at its next check, and end the threads."""
        with self._lock:
            self._closed = True
            for job in list(self._jobs.values()):
                job.leave()
            for job in [self._jobs[number] for number in self._turns.waiting()]:
                if self._forgotten(job):
                    job.end(None, Unavailable(f"{self._what} are ending"))
        self._threads.shutdown()

    def let_others(self, job: _Job) -> None:
        """Wait for another turn if others have to go first. Called in the thread of a job whose turn was long."""
        now = self._clock()
        with self._lock:
            if self._turns.goes_on(job.number, now - job.began_s):
                job.began_s = now
                return
            job.resumed = threading.Event()
            self._give_turns()
        if not job.resumed.wait(None if job.deadline is None else job.deadline.left_s):
            with self._lock:
                self._turns.give_up(job.number)
        job.rested_s += self._clock() - now
        job.check()

    def _taken(self, work: Callable[[Turn], Any], asker: Asker, deadline: Deadline | None) -> _Job:
        if self._closed:
            raise Unavailable(f"{self._what} are ending")
        if not self._turns.has_room(asker):
            raise ResourceExhausted(
                f"{len(self._turns)} {self._what} are waiting, at most {MOST_WORKS} may; callers with less than their share may still ask",
                ErrorDetails(limit=self._limit, retry_after_s=BUSY_RETRY_S),
            )
        self._count += 1
        job = self._jobs[self._count] = _Job(self, self._count, work, deadline, self._clock)
        self._turns.ask(job.number, asker)
        return job

    def _give_turns(self) -> None:
        """Start all works that may run now. The caller holds the lock."""
        while (number := self._turns.next()) is not None:
            job = self._jobs[number]
            job.began_s = self._clock()
            if job.resumed is None:
                self._threads.submit(self._carry_out, job)
            else:
                job.resumed.set()

    def _carry_out(self, job: _Job) -> None:
        value, error = None, None
        try:
            value = job.carry_out()
        except BaseException as raised:
            error = raised
        with self._lock:
            self._turns.end(job.number, self._clock() - job.began_s)
            self._jobs.pop(job.number, None)
            if not self._closed:
                self._give_turns()
        job.end(value, error)
        del value, error  # See the cycle in `_Job._told`.

    def _given_up(self, job: _Job) -> bool:
        """Give up a job whose caller has left. Returns whether it was never begun; else it ends at its next check."""
        job.leave()
        with self._lock:
            return self._forgotten(job)

    def _forgotten(self, job: _Job) -> bool:
        """Remove a job that was not begun, and return True. Wake one that was put off, so that it ends.

        The caller holds the lock.
        """
        if not self._turns.give_up(job.number):
            return False
        if job.resumed is not None:
            job.resumed.set()
            return False
        del self._jobs[job.number]
        return True


async def _ended(outcome: asyncio.Future[Any]) -> None:
    """Wait until a thread has ended its work, with a value or an error. Goes on waiting if cancelled."""
    while not outcome.done():
        try:
            await asyncio.wait((outcome,))
        except asyncio.CancelledError:
            continue
    outcome.exception()
