"""Run flows with a blocking transport, several at once with threads. It makes no decisions."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar, cast

from shoal.client.flow import Call, Flow, Reply, Sleep, Tried
from shoal.core.deadline import Clock
from shoal.core.errors import PreconditionFailed, ShoalError
from shoal.core.requests import Request

T = TypeVar("T")


class Transport(Protocol):
    """Sends requests. Thread-safe."""

    def send(self, address: str, request: Request, timeout_s: float) -> Any:
        """Send the request and return the answer that its class documents, within about timeout_s seconds.

        Raises a ShoalError.
        """
        ...

    def close(self) -> None:
        """End running calls and refuse new ones."""
        ...


class BytesTransport(Transport, Protocol):
    """A transport that also takes the bytes of a request."""

    def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Send the bytes of a request of this kind and return the bytes of the answer. Raises a ShoalError."""
        ...


class SyncDriver:
    """Runs flows in the calling thread. clock: monotonic, in seconds; chance: returns numbers in [0, 1)."""

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Any] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._transport, self._clock, self._chance = transport, clock, chance
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self.takes_bytes = hasattr(transport, "exchange")

    def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes | Tried:
        """Make the first attempt of a flow with the bytes of its request. Return the bytes of the answer.

        After a failure, return what `run` needs to carry on the flow after this attempt.
        """
        started = self._clock()
        self._check_open(None)
        try:
            return cast(BytesTransport, self._transport).exchange(address, kind, data, timeout_s)
        except ShoalError as error:
            return Tried(started, Reply(elapsed_s=self._clock() - started, chance=self._chance(), error=error))

    def run(self, flow: Flow[T], abandoned: threading.Event | None = None, tried: Tried | None = None) -> T:
        """Run the flow and return its result, or raise its error.

        abandoned: no further step begins once it is set. tried: the first step was carried out by `exchange`.
        """
        started = self._clock() if tried is None else tried.started
        try:
            step = next(flow)
            if tried is not None:
                step = flow.send(tried.reply)
            while True:
                self._check_open(abandoned)
                value, error = self._carry_out(step)
                step = flow.send(Reply(elapsed_s=self._clock() - started, chance=self._chance(), value=value, error=error))
        except StopIteration as end:
            result: T = end.value
            return result

    def run_all(self, flows: Iterable[Flow[T]], count: int, at_once: int, done: Callable[[int], None]) -> list[T | ShoalError | None]:
        """Run `count` flows, at most `at_once` at a time, and return their outcomes in order.

        After the first error no more flows are started; their outcomes are None. done: called with the position of each
        flow that succeeded, by one thread at a time.
        """
        work = _SyncWork(flows, count, done)
        if min(count, at_once) == 1:
            work.carry_on(self)
            return work.outcomes
        pool = ThreadPoolExecutor(min(count, at_once), thread_name_prefix="shoal-write")
        try:
            tasks = [pool.submit(work.carry_on, self) for _ in range(min(count, at_once))]
            for task in tasks:
                task.result()
        except BaseException:
            work.abandoned.set()
            raise
        finally:
            pool.shutdown(wait=not work.abandoned.is_set(), cancel_futures=True)
        return work.outcomes

    def close(self) -> None:
        """Wake sleepers and close the transport."""
        self._closed.set()
        self._transport.close()

    def _carry_out(self, step: Call | Sleep) -> tuple[Any, ShoalError | None]:
        match step:
            case Call():
                try:
                    return self._transport.send(step.address, step.request, step.timeout_s), None
                except ShoalError as error:
                    return None, error
            case Sleep():
                self._sleep(step.seconds)
                return None, None

    def _check_open(self, abandoned: threading.Event | None) -> None:
        if self._closed.is_set() or (abandoned is not None and abandoned.is_set()):
            raise PreconditionFailed("this client is closed, or the call was interrupted")


class _SyncWork(Generic[T]):
    """Flows that several threads take from one queue, and their outcomes."""

    def __init__(self, flows: Iterable[Flow[T]], count: int, done: Callable[[int], None]) -> None:
        self.outcomes: list[T | ShoalError | None] = [None] * count
        self.abandoned = threading.Event()
        self._waiting, self._done, self._lock, self._failed = iter(enumerate(flows)), done, threading.Lock(), False

    def carry_on(self, driver: SyncDriver) -> None:
        """Run flows until none is left or one has failed."""
        while not (self._failed or self.abandoned.is_set()):
            with self._lock:
                position, flow = next(self._waiting, (-1, None))
            if flow is None:
                return
            try:
                self.outcomes[position] = driver.run(flow, self.abandoned)
            except ShoalError as error:
                self.outcomes[position] = error
                self._failed = True
                return
            with self._lock:
                self._done(position)
