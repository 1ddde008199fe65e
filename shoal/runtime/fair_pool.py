"""Threads that work in turns: fair to collections and callers, and never for somebody who has left.

Whose turn it is is decided in `shoal.core.turns`. Work that waits when its caller leaves is not begun; work that runs
ends when it next looks at its turn. Refuses to interrupt work that does not look.
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
"""A turn lasts about so long while others wait: what a search that came later has to wait for."""

MOST_PUT_OFF = 16
"""Works that have begun and wait for another turn. Each keeps a thread and what it has computed so far."""

MOST_WORKS = 512


class UntilTurn:
    """A turn of work that nobody else waits behind.

    It ends with the deadline, or when its caller leaves; from any thread.
    """

    rested_s = 0.0

    def __init__(self, deadline: Deadline | None) -> None:
        self.deadline = deadline
        self._left = False

    def leave(self) -> None:
        """Nobody waits for the outcome any more."""
        self._left = True

    def check(self) -> None:
        """See Turn."""
        if self._left or (self.deadline is not None and self.deadline.passed):
            raise DeadlineExceeded("it did not end while somebody waited for it; ask for less, or give it longer")

    def pause(self) -> None:
        """See Turn."""
        self.check()


class _Job(UntilTurn):
    """One piece of work, and its turn."""

    def __init__(self, pool: FairPool, number: int, work: Callable[[Turn], Any], deadline: Deadline | None, clock: Clock) -> None:
        super().__init__(deadline)
        self.number, self.work = number, work
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Any] = self.loop.create_future()
        self.began_s = 0.0
        self.resumed: threading.Event | None = None
        """Set when a turn comes, where it was put off."""
        self._pool, self._clock = pool, clock

    def pause(self) -> None:
        """See Turn."""
        self.check()
        if self._clock() - self.began_s >= SLICE_S:
            self._pool.let_others(self)

    def end(self, value: Any, error: BaseException | None) -> None:
        """Tell the caller; from any thread."""
        self.loop.call_soon_threadsafe(self._told, value, error)

    def _told(self, value: Any, error: BaseException | None) -> None:
        # Frames in the error's traceback hold this turn, so the turn must not go on to hold the error.
        outcome = self.outcome
        del self.outcome
        if error is None:
            outcome.set_result(value)
        else:
            outcome.set_exception(error)


class FairPool:
    """`at_once` works go on at the same time. what: the works, in words.

    Used from event loops; `close` ends the threads.
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
        """limit: name of the bound on waiting works, for errors; initializer: prepares each thread."""
        self._what, self._limit, self._clock = what, limit, clock
        self._turns = Turns(at_once=at_once, most_put_off=MOST_PUT_OFF, slice_s=SLICE_S, most=MOST_WORKS)
        self._threads = ThreadPoolExecutor(self._turns.most_begun, thread_name_prefix=name, initializer=initializer)
        self._lock = threading.Lock()
        self._jobs: dict[int, _Job] = {}
        self._count = 0
        self._closed = False

    def __len__(self) -> int:
        """Works that run or wait."""
        return len(self._jobs)

    async def run(self, work: Callable[[Turn], T], asker: Asker, deadline: Deadline | None = None) -> T:
        """The outcome of work in a thread, when its turn comes. Cancelled, it returns as soon as the thread has ended
        the work.

        Raises ResourceExhausted when too many wait, DeadlineExceeded, and Unavailable once closed.
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
            del outcome  # Its error would hold this frame, this frame the outcome: as a cycle, with all that the work read.

    def deadline(self, timeout_s: float) -> Deadline:
        """Return the deadline timeout_s seconds from now, on the clock of the pool."""
        return Deadline.after(timeout_s, self._clock)

    async def aside(self, work: Callable[[Turn], T], asker: Asker, deadline: Deadline | None, *, long: bool) -> T:
        """The outcome of work: of long work as run, of short work at once."""
        return await self.run(work, asker, deadline) if long else work(FREE)

    def close(self) -> None:
        """Begin nothing more, end what runs at its next look, and the threads."""
        with self._lock:
            self._closed = True
            for job in list(self._jobs.values()):
                job.leave()
            for job in [self._jobs[number] for number in self._turns.waiting()]:
                if self._forgotten(job):
                    job.end(None, Unavailable(f"{self._what} are ending"))
        self._threads.shutdown()

    def let_others(self, job: _Job) -> None:
        """In the thread of a job whose turn has lasted long: wait for another turn, if others are to go first."""
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
        """Holds the lock."""
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
            job.check()
            value = job.work(job)
        except BaseException as raised:
            error = raised
        with self._lock:
            self._turns.end(job.number, self._clock() - job.began_s)
            self._jobs.pop(job.number, None)
            if not self._closed:
                self._give_turns()
        job.end(value, error)
        del value, error  # As above.

    def _given_up(self, job: _Job) -> bool:
        """Whether the job, whose caller has left, is not begun at all. One that was put off is woken, to end."""
        job.leave()
        with self._lock:
            return self._forgotten(job)

    def _forgotten(self, job: _Job) -> bool:
        """As _given_up. Holds the lock."""
        if not self._turns.give_up(job.number):
            return False
        if job.resumed is not None:
            job.resumed.set()
            return False
        del self._jobs[job.number]
        return True


async def _ended(outcome: asyncio.Future[Any]) -> None:
    """Wait for a thread that is about to end its work, whatever it comes to, and however often the waiting is
    cancelled.
    """
    while not outcome.done():
        try:
            await asyncio.wait((outcome,))
        except asyncio.CancelledError:
            continue
    outcome.exception()
