from __future__ import annotations

import asyncio

from shoal.runtime.change_signal import Bell


def test_a_ring_between_listening_and_waiting_is_not_missed() -> None:
    async def scenario() -> None:
        bell = Bell()
        heard = bell.rings
        bell.ring()
        assert await bell.wait(heard, timeout_s=60.0)

    asyncio.run(scenario())


def test_every_waiter_wakes_and_silence_is_false() -> None:
    async def scenario() -> None:
        bell = Bell()
        waiters = [asyncio.create_task(bell.wait(bell.rings, timeout_s=60.0)) for _ in range(3)]
        await asyncio.sleep(0)
        bell.ring()
        assert await asyncio.gather(*waiters) == [True, True, True]
        assert not await bell.wait(bell.rings, timeout_s=0.01)

    asyncio.run(scenario())


def test_until_asks_at_once_and_at_each_ring() -> None:
    async def scenario() -> None:
        bell = Bell()
        assert await bell.until(lambda: True, timeout_s=0.0)
        assert not await bell.until(lambda: False, timeout_s=0.0)
        waiter = asyncio.create_task(bell.until(lambda: bell.rings == 2, timeout_s=60.0))
        await asyncio.sleep(0)
        bell.ring()
        await asyncio.sleep(0)
        assert not waiter.done()
        bell.ring()
        assert await waiter

    asyncio.run(scenario())
