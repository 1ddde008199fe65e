"""Which replicas have their files open: never more than allowed, and none that is not used for long."""

from __future__ import annotations

import asyncio
import random

import pytest

from shoal.shard_worker.resources import open_stores
from shoal.shard_worker.resources.open_stores import OpenStores, StoreUse

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(open_stores, "LOOK_S", 0.01)


class Stores:
    """Open stores with files that are only counted. most_open: most files that were ever open at once."""

    def __init__(self, most: int, *, idle_s: float = 60.0, pressed: bool = False, most_fresh: int = 1_000) -> None:
        self.stores = OpenStores(most=most, idle_s=idle_s, pressed=lambda: pressed, most_fresh=most_fresh)
        self.open: set[StoreUse] = set()
        self.used: dict[StoreUse, int] = {}
        self.stuck: set[StoreUse] = set()
        self.most_open = 0
        self.rests: list[StoreUse] = []

    def add(self) -> StoreUse:
        use = self.stores.use()
        self.used[use] = 0

        async def rest() -> bool:
            assert not self.used[use], "it is closed while it is used"
            self.rests.append(use)
            await asyncio.sleep(0)
            if use in self.stuck:
                return False
            self.open.discard(use)
            return True

        use.begin(rest)
        return use

    async def use(self, use: StoreUse, steps: int = 1) -> None:
        async with use:
            self.used[use] += 1
            self.open.add(use)
            self.most_open = max(self.most_open, len(self.open))
            for _ in range(steps):
                await asyncio.sleep(0)
                assert use in self.open, "it was closed during a use"
            self.used[use] -= 1

    async def until(self, condition) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


def run(scene) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scene()

    asyncio.run(bounded())


def test_files_without_use_are_closed_and_opened_again_on_use():
    async def scene() -> None:
        world = Stores(8, idle_s=0.03)
        running = asyncio.create_task(world.stores.run())
        use = world.add()
        assert not use.is_open
        for _ in range(2):
            await world.use(use)
            assert use.is_open
            await world.until(lambda: not world.open)
            assert not use.is_open
            assert len(world.stores) == 0
        running.cancel()

    run(scene)


def test_a_use_keeps_them_open_however_long_it_lasts():
    async def scene() -> None:
        world = Stores(8, idle_s=0.001)
        running = asyncio.create_task(world.stores.run())
        use = world.add()
        async with use, use:
            await asyncio.sleep(0.1)
            assert use.is_open
        await world.until(lambda: not use.is_open)
        running.cancel()

    run(scene)


def test_the_least_recently_used_makes_room_and_others_stay_open():
    async def scene() -> None:
        world = Stores(3)
        uses = [world.add() for _ in range(4)]
        for each in uses[:3]:
            await world.use(each)
        uses[0].touch()
        await world.use(uses[3])
        assert world.rests == [uses[1]]
        assert world.open == {uses[0], uses[2], uses[3]}

    run(scene)


def test_while_all_are_in_use_others_wait_for_their_turn():
    async def scene() -> None:
        world = Stores(1)
        first, second, third = (world.add() for _ in range(3))
        order: list[int] = []

        async def later(number: int, use: StoreUse) -> None:
            async with use:
                order.append(number)

        async with first:
            waiting = [asyncio.create_task(later(number, use)) for number, use in ((2, second), (3, third))]
            await asyncio.sleep(0.05)
            assert order == []
        await asyncio.gather(*waiting)
        assert order == [2, 3]
        assert len(world.stores) == 1

    run(scene)


def test_who_leaves_while_waiting_holds_up_nobody():
    async def scene() -> None:
        world = Stores(1)
        first, second, third = (world.add() for _ in range(3))
        async with first:
            gone = asyncio.create_task(world.use(second))
            waiting = asyncio.create_task(world.use(third))
            await asyncio.sleep(0.02)
            gone.cancel()
            await asyncio.wait({gone})
        await waiting
        assert world.open == {third}

    run(scene)


def test_one_that_cannot_be_closed_does_not_hold_up_others():
    async def scene() -> None:
        world = Stores(2)
        stuck, free, new = (world.add() for _ in range(3))
        world.stuck.add(stuck)
        await world.use(stuck)
        await world.use(free)
        await world.use(new)
        assert world.open == {stuck, new}

    run(scene)


def test_a_rest_that_fails_leaves_them_open():
    async def scene() -> None:
        stores = OpenStores(most=1, idle_s=0.0)
        use, other = stores.use(), stores.use()

        async def fail() -> bool:
            raise RuntimeError("in vain")

        use.begin(fail)
        async with use:
            pass
        waiting = asyncio.create_task(other.__aenter__())
        await asyncio.sleep(0.05)
        assert use.is_open
        assert not waiting.done()
        use.end()
        await waiting
        assert other.is_open

    run(scene)


def test_files_closed_for_good_make_room():
    async def scene() -> None:
        world = Stores(1)
        first, second = world.add(), world.add()
        await world.use(first)
        first.end()
        first.end()
        world.open.discard(first)
        await world.use(second)
        assert world.rests == []

    run(scene)


def test_when_memory_is_short_unused_files_are_closed_soon(monkeypatch):
    monkeypatch.setattr(open_stores, "PRESSED_IDLE_S", 0.01)

    async def scene() -> None:
        world = Stores(8, idle_s=600.0, pressed=True)
        running = asyncio.create_task(world.stores.run())
        await world.use(world.add())
        await world.until(lambda: not world.open)
        running.cancel()

    run(scene)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_used_when_never_more_are_open_than_allowed_and_all_are_served(seed: int):
    async def scene() -> None:
        rng = random.Random(seed)
        world = Stores(rng.randint(1, 4), idle_s=0.0)
        running = asyncio.create_task(world.stores.run())
        uses = [world.add() for _ in range(9)]

        async def client() -> None:
            for _ in range(40):
                await world.use(rng.choice(uses), rng.randint(0, 4))
                if rng.random() < 0.2:
                    await asyncio.sleep(0)

        await asyncio.gather(*(client() for _ in range(6)))
        assert world.most_open <= world.stores._most
        running.cancel()
        await world.stores.close()

    run(scene)


def test_of_stores_opened_one_after_the_other_only_so_many_stay_open_and_each_rests_once_for_that():
    async def scene() -> None:
        world = Stores(100, most_fresh=3)
        uses = [world.add() for _ in range(10)]
        for each in uses:
            await world.use(each)
        assert world.most_open == 3
        assert world.rests == uses[:7]
        for _ in range(2):
            for each in uses:
                await world.use(each)
        assert world.rests == uses[:7], "those that were closed once stay open"
        assert world.open == set(uses)

    run(scene)


def test_a_fresh_store_that_waits_for_others_holds_up_no_store_that_was_closed_before(monkeypatch):
    monkeypatch.setattr(open_stores, "LOOK_S", 60.0)

    async def scene() -> None:
        world = Stores(100, most_fresh=2)
        known, first, second, waiting = (world.add() for _ in range(4))
        await world.use(known)
        async with first, second:
            assert world.rests == [known]
            opening = asyncio.create_task(world.use(waiting))
            await asyncio.sleep(0)
            await world.use(known)
            assert not waiting.is_open
        await opening
        assert world.rests in ([known, first], [known, second])

    run(scene)


def test_a_fresh_store_does_not_wait_for_long_for_stores_in_use():
    async def scene() -> None:
        world = Stores(100, most_fresh=2)
        first, second, third = (world.add() for _ in range(3))
        async with first, second:
            await world.use(third)
            assert world.rests == []

    run(scene)


def test_stores_that_cannot_be_closed_hold_up_no_fresh_store():
    async def scene() -> None:
        world = Stores(100, most_fresh=2)
        uses = [world.add() for _ in range(6)]
        world.stuck = set(uses)
        for each in uses:
            await world.use(each)
        assert world.open == set(uses)

    run(scene)
