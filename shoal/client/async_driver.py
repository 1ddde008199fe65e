"""Run flows on an asyncio event loop, several at once with tasks. No task outlives the call that started it.

It makes no decisions.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

from shoal.client.flow import Call, Flow, Reply, Sleep, Tried
from shoal.core.deadline import Clock
from shoal.core.errors import PreconditionFailed, ShoalError
from shoal.core.requests import Request

T = TypeVar("T")


class AsyncTransport(Protocol):
    """Sends requests."""

    async def send(self, address: str, request: Request, timeout_s: float) -> Any:
        """Send the request and return the answer that its class documents, within about timeout_s seconds.

        Raises a ShoalError. Cancelling the task ends the call.
        """
        ...

    async def close(self) -> None:
        """End running calls and refuse new ones."""
        ...


class AsyncBytesTransport(AsyncTransport, Protocol):
    """A transport that also takes the bytes of a request."""

    async def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Send the bytes of a request of this kind and return the bytes of the answer. Raises a ShoalError."""
        ...


class AsyncDriver:
    """Runs flows in the calling task. clock: monotonic, in seconds; chance: returns numbers in [0, 1)."""

    def __init__(
        self,
        transport: AsyncTransport,
        *,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._transport, self._clock, self._chance = transport, clock, chance
        self._closed = False
        self._sleepers: set[asyncio.Future[None]] = set()
        self._sleep = sleep or self._pause
        self.takes_bytes = hasattr(transport, "exchange")

    async def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes | Tried:
        """Make the first attempt of a flow with the bytes of its request. Return the bytes of the answer.

        After a failure, return what `run` needs to carry on the flow after this attempt.
        """
        started = self._clock()
        self._check_open()
        try:
            return await cast(AsyncBytesTransport, self._transport).exchange(address, kind, data, timeout_s)
        except ShoalError as error:
            return Tried(started, Reply(elapsed_s=self._clock() - started, chance=self._chance(), error=error))

    async def run(self, flow: Flow[T], tried: Tried | None = None) -> T:
        """Run the flow and return its result, or raise its error. Cancelling the task ends the current call and the
        flow. tried: the first step was carried out by `exchange`.
        """
        started = self._clock() if tried is None else tried.started
        try:
            step = next(flow)
            if tried is not None:
                step = flow.send(tried.reply)
            while True:
                self._check_open()
                value, error = await self._carry_out(step)
                step = flow.send(Reply(elapsed_s=self._clock() - started, chance=self._chance(), value=value, error=error))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def run_all(self, flows: Iterable[Flow[T]], count: int, at_once: int, done: Callable[[int], None]) -> list[T | ShoalError | None]:
        """Run `count` flows, at most `at_once` at a time, and return their outcomes in order.

        After the first error no more flows are started; their outcomes are None. done: called with the position of each
        flow that succeeded. If it raises, all flows end and its error is raised.
        """
        work = _AsyncWork(flows, count, done)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(count, at_once)):
                    tasks.create_task(work.carry_on(self))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return work.outcomes

    async def close(self) -> None:
        """Wake sleepers of all loops and close the transport."""
        self._closed = True
        for sleeper in tuple(self._sleepers):
            if not sleeper.get_loop().is_closed():
                sleeper.get_loop().call_soon_threadsafe(_wake, sleeper)
        await self._transport.close()

    async def _carry_out(self, step: Call | Sleep) -> tuple[Any, ShoalError | None]:
        match step:
            case Call():
                try:
                    return await self._transport.send(step.address, step.request, step.timeout_s), None
                except ShoalError as error:
                    return None, error
            case Sleep():
                await self._sleep(step.seconds)
                return None, None

    async def _pause(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.add(woken)
        try:
            async with asyncio.timeout(seconds):
                await woken
        except TimeoutError:
            return
        finally:
            self._sleepers.discard(woken)

    def _check_open(self) -> None:
        if self._closed:
            raise PreconditionFailed("this client is closed")


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


class _AsyncWork(Generic[T]):
    """Flows that several tasks take from one queue, and their outcomes."""

    def __init__(self, flows: Iterable[Flow[T]], count: int, done: Callable[[int], None]) -> None:
        self.outcomes: list[T | ShoalError | None] = [None] * count
        self._waiting, self._done, self._failed = iter(enumerate(flows)), done, False

    async def carry_on(self, driver: AsyncDriver) -> None:
        """Run flows until none is left or one has failed."""
        while not self._failed:
            position, flow = next(self._waiting, (-1, None))
            if flow is None:
                return
            try:
                self.outcomes[position] = await driver.run(flow)
            except ShoalError as error:
                self.outcomes[position] = error
                self._failed = True
                return
            self._done(position)
