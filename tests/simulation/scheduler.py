"""Virtual time: a heap of events, processes that can die and pause, and tasks written as generators.

There is one source of randomness.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from random import Random
from typing import Any

from tests.simulation.violation import begin_notes

WALL_S, WALL_OFF_S = 1_700_000_000.0, 5.0

Work = Callable[[], None]
Resume = Callable[[Any], None]
Wait = Callable[[Resume], None]
"""Begins something. Calls resume once with its value, or with an exception, which is then raised in the task."""

Steps = Generator[Wait, Any, Any]


class Scheduler:
    """Events in order of time; events of the same time in the order of their requests."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self._heap: list[tuple[float, int, Process | None, int, Work]] = []
        self._serial = 0
        self._soon: deque[tuple[Process, int, Work]] = deque()
        self.noted = begin_notes()

    def at(self, when: float, work: Work, process: Process | None = None) -> None:
        """Do work at `when`, unless the life of `process` has ended. If the process is paused, do it when it wakes."""
        self._serial = serial = self._serial + 1
        now = self.now
        heappush(self._heap, (when if when > now else now, serial, process, 0 if process is None else process.life, work))

    def soon(self, work: Work, process: Process) -> None:
        """Do work in this life of a process, before the next event: cheaper than `at` for now."""
        self._soon.append((process, process.life, work))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> None:
        """Let time pass until `until`, or until stop() holds."""
        heap, soon, noted = self._heap, self._soon, self.noted
        process: Process | None
        while True:
            if soon:
                process, life, work = soon.popleft()
            elif heap and heap[0][0] <= until:
                self.now, _, process, life, work = heappop(heap)
            else:
                break
            if process is None:
                work()
            elif process.life == life:
                if process.paused:
                    process.held.append(work)
                else:
                    work()
            if noted:
                raise noted[0]
            if stop is not None and stop():
                return
        self.now = max(self.now, until)


class Process:
    """A process with a clock of its own rate. It can be killed, started again and paused. life: number of its lives."""

    def __init__(self, scheduler: Scheduler, name: str, *, rate: float = 1.0) -> None:
        self.scheduler, self.name = scheduler, name
        self.rate, self.offset = rate, scheduler.random.uniform(10.0, 1e5)
        self._wall_off_s = scheduler.random.uniform(-WALL_OFF_S, WALL_OFF_S)
        self.life, self.alive, self.paused = 0, False, False
        self.held: list[Work] = []

    def clock(self) -> float:
        """Return the seconds on its own clock, which goes on while it is paused or dead."""
        return self.offset + self.scheduler.now * self.rate

    def wall_ms(self) -> int:
        """Return its wall clock, which is wrong by a little."""
        return int((WALL_S + self._wall_off_s + self.scheduler.now) * 1000)

    def after(self, seconds: float, work: Work) -> None:
        """Do work after `seconds` on its clock, if it is still in this life then."""
        self.scheduler.at(self.scheduler.now + seconds / self.rate, work, self)

    def receive(self, work: Work) -> bool:
        """Do work that arrives from outside, now or when the process wakes. Return whether the process runs."""
        if not self.alive:
            return False
        if self.paused:
            self.held.append(work)
        else:
            work()
        return True

    def start(self) -> None:
        """Begin a new life."""
        assert not self.alive, f"{self.name} is alive"
        self.life, self.alive, self.paused, self.held = self.life + 1, True, False, []

    def kill(self) -> None:
        """End this life: nothing that was planned in it happens."""
        self.life, self.alive, self.paused, self.held = self.life + 1, False, False, []

    def pause(self) -> None:
        """Stop it as SIGSTOP does."""
        self.paused = True

    def wake(self) -> None:
        """Let it go on: work that became due meanwhile happens now, in order."""
        if not self.paused:
            return
        self.paused = False
        held, self.held = self.held, []
        for work in held:
            self.scheduler.at(self.scheduler.now, work, self)

    def spawn(self, steps: Steps, ended: Resume | None = None) -> None:
        """Run a task of this process. ended: called with its result or exception; without it, its exception is raised
        here.
        """
        _advance(steps, None, ended)

    def sleep(self, seconds: float) -> Wait:
        """Wait for seconds of its own clock."""
        return lambda resume: self.after(seconds, lambda: resume(None))


def _advance(steps: Steps, value: Any, ended: Resume | None) -> None:
    try:
        wait = steps.throw(value) if isinstance(value, Exception) else steps.send(value)
    except StopIteration as end:
        if ended is not None:
            ended(end.value)
    except Exception as error:
        if ended is None or isinstance(error, AssertionError):
            raise
        ended(error)
    else:
        wait(lambda result: _advance(steps, result, ended))
