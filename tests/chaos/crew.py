"""Threads that use a cluster, each with a client of its own: they run, pause on request, and report their figures."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import shoal

Job = Callable[[shoal.Client, random.Random], None]
"""One step of a member's work. A ShoalError that it raises is counted."""

_WAIT_S = 90.0
_MOST_MESSAGES = 20
_MOST_GAPS = 10_000
_GAP_S = 0.2


@dataclass
class Gauge:
    """The figures of one thread since `reset`.

    longest_s: longest time without a success; longest_call_s: of one step; gaps: long times without a success, each
    with its beginning and length; messages: the first errors in full.
    """

    since: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0
    longest_call_s: float = 0.0
    successes: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)
    gaps: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_GAPS))

    def reset(self) -> None:
        self.since = self.last = time.monotonic()
        self.longest_s, self.successes, self.failures, self.messages = 0.0, 0, Counter(), []
        self.gaps.clear()

    def succeed(self) -> None:
        now = time.monotonic()
        if now - self.last > _GAP_S:
            self.gaps.append((self.last, now - self.last))
        self.longest_s, self.last = max(self.longest_s, now - self.last), now
        self.successes += 1

    def fail(self, error: shoal.ShoalError) -> None:
        self.failures[type(error).__name__] += 1
        if len(self.messages) < _MOST_MESSAGES:
            self.messages.append(repr(error))

    def gap_s(self) -> float:
        """Return the longest time without a success, including the present one."""
        return max(self.longest_s, time.monotonic() - self.last)

    def gap_since(self, moment: float) -> float:
        """Return the longest noted time without a success that ended after `moment`; 0.0 if there was none."""
        return max((lasted for began, lasted in tuple(self.gaps) if began + lasted > moment), default=0.0)


@dataclass
class Member:
    """The work of one thread. pause_s: between two steps."""

    job: Job
    pause_s: float
    gauge: Gauge = field(default_factory=Gauge)
    at_rest: threading.Event = field(default_factory=threading.Event)


class Crew:
    """Members that work between `start` and `stop`."""

    def __init__(self, addresses: Sequence[str], members: Sequence[Member], *, seed: int = 0) -> None:
        self._addresses, self._members = list(addresses), members
        self._ending, self._running = threading.Event(), threading.Event()
        self._running.set()
        self._broken: list[BaseException] = []
        chances = [random.Random(seed * 1_000 + number) for number in range(len(members))]
        self._threads = [threading.Thread(target=self._work, args=pair, daemon=True) for pair in zip(members, chances, strict=True)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until every step has ended."""
        self._ending.set()
        self._running.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_WAIT_S)

    def reset(self) -> None:
        """Measure from now on."""
        for member in self._members:
            member.gauge.reset()

    def all_succeeded_since(self, moment: float) -> bool:
        """Return whether every thread had a success after that moment. Raises the error that ended a thread."""
        if self._broken:
            raise self._broken[0]
        return all(member.gauge.last > moment for member in self._members)

    def pause(self) -> None:
        """Wait until every running step has ended. No other step begins before `resume`."""
        self._running.clear()
        for member in self._members:
            assert member.at_rest.wait(_WAIT_S), "a call never ended"
        if self._broken:
            raise self._broken[0]

    def resume(self) -> None:
        """Go on after `pause`."""
        for member in self._members:
            member.gauge.last = time.monotonic()
            member.at_rest.clear()
        self._running.set()

    def _work(self, member: Member, chance: random.Random) -> None:
        try:
            with shoal.connect(self._addresses) as client:
                while not self._ending.is_set():
                    if not self._running.is_set():
                        member.at_rest.set()
                        self._running.wait()
                        continue
                    self._step(member, client, chance)
                    self._ending.wait(member.pause_s)
        except BaseException as error:
            self._broken.append(error)
            raise
        finally:
            member.at_rest.set()

    def _step(self, member: Member, client: shoal.Client, chance: random.Random) -> None:
        began = time.monotonic()
        try:
            member.job(client, chance)
            member.gauge.succeed()
        except shoal.ShoalError as error:
            member.gauge.fail(error)
        member.gauge.longest_call_s = max(member.gauge.longest_call_s, time.monotonic() - began)
