"""Each event loop has a transport, which is closed with it; nobody has to close anything."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
import uvloop

from shoal.client.async_client import AsyncClient
from shoal.client.transports.loop_transports import LoopTransports
from shoal.core.errors import PreconditionFailed, Unavailable
from tests.twins.router_answers import AsyncMockTransport, DictCluster

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Made:
    """A client, and the transports that it made."""

    def __init__(self, answer: Any = None) -> None:
        self.transports: list[Any] = []
        self._answer = answer or DictCluster()
        self.of_loops = LoopTransports(self._make)
        # The transports of a cluster in a dictionary take no bytes.
        self.client = AsyncClient("one:1", transport=OnlySend(self.of_loops))

    def _make(self) -> Any:
        self.transports.append(AsyncMockTransport(self._answer))
        return self.transports[-1]


async def until_closed(transport: Any) -> None:
    while True:
        if transport.closed:
            return
        await asyncio.sleep(0)


class OnlySend:
    def __init__(self, inner: LoopTransports) -> None:
        self.send, self.close = inner.send, inner.close


@pytest.mark.parametrize("loop", LOOPS)
def test_each_loop_has_a_transport_that_is_closed_with_it(loop: Any) -> None:
    made = Made()

    async def twice() -> None:
        await asyncio.gather(made.client.list_collections(), made.client.list_collections())
        assert not made.transports[-1].closed

    for number in range(1, 4):
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(twice())
        assert len(made.transports) == number
        assert made.transports[-1].closed


def test_transports_of_loops_that_ended_are_not_kept() -> None:
    made = Made()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(made.client.list_collections())
        loop.close()
        assert len(made.of_loops) == 1
    gc.collect()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_is_no_longer_used_is_closed_in_a_running_loop(loop: Any) -> None:
    async def dropped() -> None:
        made = Made()
        await made.client.list_collections()
        (transport,) = made.transports
        del made
        gc.collect()
        await until_closed(transport)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(dropped(), 30))


def test_closing_ends_it_in_every_loop() -> None:
    asked = threading.Event()

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        asked.set()
        raise Unavailable("down")

    made = Made(answer)
    raised: list[BaseException] = []

    async def waiting() -> None:
        with pytest.raises(PreconditionFailed, match="this client is closed") as caught:
            await made.client.count("c", timeout=600)
        raised.append(caught.value)
        await until_closed(made.transports[0])

    other = threading.Thread(target=lambda: asyncio.run(waiting()))
    other.start()
    assert asked.wait(30)

    async def closing() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.client.count("c", timeout=600)
        await made.client.close()
        await made.client.close()
        assert made.transports[1].closed

    asyncio.run(closing())
    other.join(30)
    assert len(raised) == 1
    assert len(made.of_loops) == 0
    with pytest.raises(PreconditionFailed, match="this client is closed"):
        asyncio.run(made.of_loops.send("one:1", object(), 1.0))  # type: ignore[arg-type]
