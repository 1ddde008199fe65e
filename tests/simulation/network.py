"""The network between processes: delay, loss, reordering, partitions in one direction or both.

A call is answered at most once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tests.simulation.scheduler import Process, Resume, Scheduler, Wait

Handler = Callable[[Resume], None]
"""Handles a call. Its argument answers the call; it may be called later, or never."""


class NoAnswer(Exception):
    """No answer came in time: the call may have been done, or may still be done."""


class NobodyThere(Exception):
    """The process does not run: the call was certainly not done."""


class Mishap(Enum):
    """A fault of one call."""

    REQUEST_LOST = auto()
    ANSWER_LOST = auto()
    LATE = auto()


@dataclass
class Weather:
    """The state of the network. loss: part of messages lost; slow: part of messages that take up to slow_s."""

    loss: float = 0.0
    slow: float = 0.0
    slow_s: float = 0.0


CALM = Weather()
FASTEST_S, SPREAD_S = 0.0002, 0.0015
LATE_S = (1.0, 9.0)


class Network:
    """Carries calls between processes. cut: pairs (from, to) of names between which no message arrives."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.weather = CALM
        self.cut: set[tuple[str, str]] = set()

    def sever(self, one: str, other: str, *, both_ways: bool = True) -> None:
        """Stop messages from one process to the other, and, unless both_ways is False, in the other direction."""
        self.cut.add((one, other))
        if both_ways:
            self.cut.add((other, one))

    def heal(self) -> None:
        """End every partition and the bad weather."""
        self.cut.clear()
        self.weather = CALM

    def reaches(self, source: str, target: str) -> bool:
        """Return whether messages arrive, apart from loss."""
        return (source, target) not in self.cut

    def call(self, source: Process, target: Process, handler: Handler, timeout_s: float, mishap: Mishap | None = None) -> Wait:
        """Call target. The result is the answer, NoAnswer after timeout_s of the source's clock, or NobodyThere."""

        def begin(resume: Resume) -> None:
            life, done = source.life, False

            def finish(value: Any) -> None:
                nonlocal done
                if not done:
                    done = True
                    resume(value)

            def answer(value: Any) -> None:
                if source.life == life and mishap is not Mishap.ANSWER_LOST:
                    self._carry(target, source, lambda: source.life == life and source.receive(lambda: finish(value)))

            def arrive() -> None:
                if not target.receive(lambda: handler(answer)):
                    answer(NobodyThere(f"{target.name} is not there"))

            source.after(timeout_s, lambda: finish(NoAnswer(f"{target.name} did not answer {source.name}")))
            if mishap is not Mishap.REQUEST_LOST:
                late_s = self._scheduler.random.uniform(*LATE_S) if mishap is Mishap.LATE else 0.0
                self._carry(source, target, arrive, late_s)

        return begin

    def _carry(self, source: Process, target: Process, arrive: Callable[[], Any], late_s: float = 0.0) -> None:
        random, weather = self._scheduler.random, self.weather
        if weather.loss and random.random() < weather.loss:
            return
        delay_s = FASTEST_S + SPREAD_S * random.random() + late_s
        if weather.slow and random.random() < weather.slow:
            delay_s += random.random() * weather.slow_s

        def deliver() -> None:
            if not self.cut or (source.name, target.name) not in self.cut:
                arrive()

        self._scheduler.at(self._scheduler.now + delay_s, deliver)
