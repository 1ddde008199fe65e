"""A replica that was elected keeps the calls for its primary until it serves: a caller that is refused would not learn
when to ask again, and waits longer each time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shoal.core.errors import Unavailable
from shoal.core.filter import In
from shoal.core.health import ReplicaRole
from shoal.core.points import StoredColumns, id_array
from shoal.core.shard_calls import Consistency, ReadTerms, ShardDeleteMatching, ShardGet
from shoal.shard_worker.replica import waiting
from tests.support.worker.fleet import SHARD, Fleet, Member, fleet, until

LONG_S = 60.0


async def starting(world: Fleet) -> Member:
    """Return the primary of two replicas, in a term whose first record waits for the other one."""
    a, b = await world.add("a"), await world.add("b")
    await world.place(a, b, min_isr=2)
    await world.until_isr(2)
    await until(lambda: a.replica is not None and a.replica.role is ReplicaRole.PRIMARY)
    await world.upsert(a, [1], 1.0, payloads=(b'{"n":1}',))
    world.cut.add(b.id)
    await world.elect(a, without=())
    await until(lambda: a.replica is not None and a.replica.role is ReplicaRole.STARTING)
    return a


def reading(member: Member, consistency: Consistency) -> asyncio.Task[StoredColumns]:
    call = ShardGet(shard=SHARD, ids=id_array([1]), terms=ReadTerms(consistency=consistency))
    return asyncio.create_task(member.host.get(call, LONG_S))


def test_calls_wait_for_an_elected_replica_and_are_answered_when_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STARTING_S", LONG_S)

    async def run() -> None:
        async with fleet(tmp_path) as world:
            primary = await starting(world)
            writes = [asyncio.create_task(world.upsert(primary, [2], 2.0))]
            call = ShardDeleteMatching(shard=SHARD, request_id=world._next(), filter=In(("n",), (1,)))
            writes.append(asyncio.create_task(primary.host.write(call, LONG_S)))
            read = reading(primary, Consistency.PRIMARY)
            assert len(await reading(primary, Consistency.ANY)) == 1, "a read of any replica is answered meanwhile"
            assert not any(each.done() for each in (*writes, read))
            world.cut.clear()
            assert [(await each).affected for each in writes] == [1, 1]
            await read

    asyncio.run(run())


def test_a_replica_that_does_not_serve_in_time_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STARTING_S", 0.01)

    async def run() -> None:
        async with fleet(tmp_path) as world:
            primary = await starting(world)
            with pytest.raises(Unavailable):
                await world.upsert(primary, [2], 2.0)
            with pytest.raises(Unavailable, match="not certainly the primary"):
                await reading(primary, Consistency.PRIMARY)

    asyncio.run(run())


def test_a_replica_that_was_not_elected_refuses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "STARTING_S", LONG_S)

    async def run() -> None:
        async with fleet(tmp_path) as world:
            a, b = await world.add("a"), await world.add("b")
            await world.place(a, b, min_isr=1)
            await world.until_isr(2)
            await until(lambda: b.replica is not None and b.replica.role is ReplicaRole.BACKUP)
            async with asyncio.timeout(LONG_S / 2):
                with pytest.raises(Unavailable):
                    await world.upsert(b, [2], 2.0)

    asyncio.run(run())
