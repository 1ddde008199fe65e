from __future__ import annotations

import asyncio

from shoal.runtime.change_signal import ChangeSignal


def test_a_ring_between_listening_and_waiting_is_not_missed() -> None:
    async def scenario() -> None:
        changes = ChangeSignal()
        heard = changes.count
        changes.notify()
        assert await changes.wait(heard, timeout_s=60.0)

    asyncio.run(scenario())


def test_every_waiter_wakes_and_silence_is_false() -> None:
    async def scenario() -> None:
        changes = ChangeSignal()
        waiters = [asyncio.create_task(changes.wait(changes.count, timeout_s=60.0)) for _ in range(3)]
        await asyncio.sleep(0)
        changes.notify()
        assert await asyncio.gather(*waiters) == [True, True, True]
        assert not await changes.wait(changes.count, timeout_s=0.01)

    asyncio.run(scenario())


def test_until_asks_at_once_and_at_each_ring() -> None:
    async def scenario() -> None:
        changes = ChangeSignal()
        assert await changes.until(lambda: True, timeout_s=0.0)
        assert not await changes.until(lambda: False, timeout_s=0.0)
        waiter = asyncio.create_task(changes.until(lambda: changes.count == 2, timeout_s=60.0))
        await asyncio.sleep(0)
        changes.notify()
        await asyncio.sleep(0)
        assert not waiter.done()
        changes.notify()
        assert await waiter

    asyncio.run(scenario())
