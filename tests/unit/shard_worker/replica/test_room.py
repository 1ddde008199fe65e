"""Test the room that is promised to writes whose callers left: it is kept while a write may still be applied, and given
back once its outcome is known.
"""

import asyncio

import pytest

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DeadlineExceeded, Unavailable
from tests.support.worker.fleet import SHARD, Fleet, Member, fleet, until


async def pair(world: Fleet) -> tuple[Member, Member]:
    """Place a primary and a backup. The primary commits nothing without the backup."""
    a, b = await world.add("a"), await world.add("b")
    await world.place(a, b, min_isr=2)
    await world.until_isr(2)
    await until(lambda: a.replica is not None and a.replica.role == "primary")
    return a, b


def promised(member: Member) -> int:
    return member.host.memory.promised_bytes


async def given_up_at_its_deadline(world: Fleet, primary: Member, ids) -> None:
    with pytest.raises(DeadlineExceeded):
        await world.upsert(primary, ids, 2.0, timeout_s=0.05)


async def cancelled(world: Fleet, primary: Member, ids) -> None:
    end = primary.replica.log_end
    write = asyncio.create_task(world.upsert(primary, ids, 2.0))
    await until(lambda: primary.replica.log_end > end)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write


@pytest.mark.parametrize("leave", [given_up_at_its_deadline, cancelled])
def test_what_a_caller_who_left_was_promised_is_kept_until_its_record_is_committed_and_applied(tmp_path, leave):
    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            world.cut.add(b.id)
            await leave(world, a, range(100))
            one = promised(a)
            assert one > 0
            await leave(world, a, range(100, 200))
            assert promised(a) > one
            world.cut.clear()
            await until(lambda: a.replica.status.applied_seq == a.replica.log_end[1])
            assert await world.content(a) == dict.fromkeys(range(200), 2.0)
            assert promised(a) == 0

    asyncio.run(run())


def test_what_callers_who_still_wait_were_promised_is_given_back_with_the_answer_that_their_primary_stepped_down(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            old, end = a.replica.id, a.replica.log_end
            world.cut.add(a.id)
            write = asyncio.create_task(world.upsert(a, range(100), 2.0))
            await until(lambda: a.replica.log_end > end)
            assert promised(a) > 0
            await world.elect(b, without=(old,))
            with pytest.raises(Unavailable, match="stepped down"):
                await write
            assert promised(a) == 0

    asyncio.run(run())


def test_what_callers_who_left_were_promised_is_given_back_when_their_records_are_cut_off(tmp_path):
    """The old primary's log is longer than all that the new one writes. So no record with the seq of a lost record is
    ever applied.
    """

    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            old = a.replica.id
            world.cut.add(a.id)
            for number in range(5):
                await given_up_at_its_deadline(world, a, [number])
            lost = a.replica.log_end[1]
            assert promised(a) > 0
            config = await world.config()
            await world.elect(b, without=(old,))
            world.cut.clear()
            await until(lambda: a.replica.role != "primary")
            await until(lambda: a.replica.log_end[0] > config.term)
            assert a.replica.log_end[1] < lost
            assert promised(a) == 0

    asyncio.run(run())


def test_what_callers_who_left_were_promised_is_given_back_when_the_replica_closes(tmp_path, monkeypatch):
    """A closed replica is not in the account. Room that it did not give back would count again when it is opened."""

    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            world.cut.add(b.id)
            await given_up_at_its_deadline(world, a, range(100))
            assert promised(a) > 0
            closed, see_map = a.replica, a.assignments.see_map
            monkeypatch.setattr(a.assignments, "see_map", lambda cluster_map: None)
            see_map(ClusterMap())
            await until(lambda: a.replica is not closed)
            monkeypatch.undo()
            see_map(a.observer.map)
            await until(lambda: a.replica is not None)
            assert SHARD in a.host.memory.replica_bytes()
            assert promised(a) == 0

    asyncio.run(run())
