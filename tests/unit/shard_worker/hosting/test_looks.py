"""When a worker looks at a shard: when its step may have changed, and never on a map that its own swap outdates."""

import asyncio
import dataclasses

from shoal.core.ids import ShardId, Term, WorkerId
from shoal.core.shard_config import ShardState
from shoal.shard_worker.hosting import assignments, due_shards
from shoal.shard_worker.logic.hosting import HostStep, HostView, next_steps
from shoal.store.codecs import encode_shard
from shoal.store.interface import Put
from tests.twins.store.client import CommitFault
from tests.unit.shard_worker.hosting.one_worker import KEYS, REPLICA, SHARD, World, until, worker


def test_a_map_that_concerns_no_shard_here_is_not_looked_at(tmp_path, monkeypatch):
    looked = []

    def counted(view: HostView, due: set[ShardId]) -> list[HostStep]:
        looked.append(due)
        return next_steps(view, due)

    async def run():
        async with worker(tmp_path) as world:
            await world.place()
            await until(world.serves)
            told, entry = world.shard(), world.observer.map.shards[SHARD]
            await until(lambda: world.assignments._told[SHARD][0] == entry.epoch)
            monkeypatch.setattr(assignments, "next_steps", counted)
            monkeypatch.setattr(assignments, "LOOK_AT_ALL_S", 3_600.0)
            world.assignments.wake()
            await until(lambda: any(SHARD in due for due in looked))
            looked.clear()
            elsewhere = dataclasses.replace(told, shard=ShardId(SHARD.collection, 1), worker_of={REPLICA: WorkerId("other")})
            at = await world.put(Put(key=KEYS.shard(elsewhere.shard), value=encode_shard(elsewhere)))
            await until(lambda: world.observer.map.revision >= at)
            assert looked == []
            await world.put(Put(key=KEYS.shard(SHARD), value=encode_shard(dataclasses.replace(told, term=Term(2)))))
            await until(lambda: any(SHARD in due for due in looked))

    asyncio.run(run())


async def looked(world: World, times: int) -> None:
    """Wait until the worker has looked at all its shards so many times more."""
    left, look = times, world.assignments._look

    def counted() -> None:
        nonlocal left
        left -= world.assignments._due.are_all(world.membership.registration)
        look()

    world.assignments._look = counted  # type: ignore[method-assign]
    await until(lambda: left <= 0)
    world.assignments._look = look  # type: ignore[method-assign]


def test_after_a_swap_that_was_done_no_other_follows_until_the_map_shows_it(tmp_path, monkeypatch):
    """Else a worker whose map lags, since it is busy, would send one swap after the other, and lag the more."""
    monkeypatch.setattr(assignments, "LOOK_AT_ALL_S", 0.01)

    async def run():
        async with worker(tmp_path) as world:
            world.blind = True
            placed = await world.place()
            await until(lambda: world.observer.map.revision == placed)
            world.assignments.see_map(world.observer.map)
            await until(lambda: world.shard().state is ShardState.ACTIVE)
            revision = world.observer.map.revision
            await looked(world, 10)
            assert (world.store.rejected, world.observer.map.revision) == (0, revision)
            world.blind = False
            world.see()
            await until(world.serves)

    asyncio.run(run())


def test_a_swap_that_was_rejected_is_not_tried_again_on_the_same_map(tmp_path, monkeypatch):
    monkeypatch.setattr(assignments, "LOOK_AT_ALL_S", 0.01)

    async def run():
        async with worker(tmp_path) as world:
            world.blind = True
            stale = await world.place()
            await until(lambda: world.observer.map.revision == stale)
            old = world.observer.map
            await world.place(term=Term(2))
            world.assignments.see_map(old)
            await until(lambda: world.store.rejected > 0)
            await looked(world, 10)
            assert world.store.rejected == 1
            world.blind = False
            world.see()
            await until(world.serves)

    asyncio.run(run())


def test_a_swap_whose_outcome_is_not_known_is_decided_again_by_itself(tmp_path, monkeypatch):
    """Nothing else changes: neither the map nor the replica tells that the shard is due."""
    monkeypatch.setattr(assignments, "LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(due_shards, "TRUST_AGAIN_S", 0.05)
    monkeypatch.setattr(assignments, "LOOK_AT_ALL_S", 3_600.0)

    async def run():
        async with worker(tmp_path) as world:
            world.store.fail_next_commit(CommitFault.LOST_BEFORE)
            await world.place()
            await until(world.serves)

    asyncio.run(run())
