"""Test what a worker hands over before it ends, and that it ends in time. Replicas and swaps are real; the workers
share a process.
"""

import asyncio

from shoal.shard_worker.hosting import handing_over
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.hosting.handing_over import HandingOver
from tests.support.worker.fleet import Member, fleet, until
from tests.unit.shard_worker.hosting.test_hand_over import leads, pair


def of(member: Member) -> HandingOver:
    return HandingOver(
        host=member.host,
        assignments=member.assignments,
        membership=member.membership,
        me=member.id,
        cluster=lambda: member.observer.map,
    )


def let_swaps_hang(monkeypatch, member: Member) -> asyncio.Event:
    """Let no swap of a member end any more. Return what is set once it tries one."""
    swap, tried = ConfigSwaps.swap, asyncio.Event()

    async def hanging(self, *given):
        if self is member.swaps:
            tried.set()
            await asyncio.Event().wait()
        return await swap(self, *given)

    monkeypatch.setattr(ConfigSwaps, "swap", hanging)
    return tried


def test_a_worker_that_ends_hands_over_and_returns_when_the_other_one_leads(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            before = await world.config()
            await of(a).run(asyncio.Event())
            after = await world.config()
            assert (after.term, after.worker_of[after.primary], after.isr) == (before.term + 1, b.id, before.isr)
            assert b.replica.log_end[0] == a.replica.log_end[0] == after.term
            await until(lambda: leads(b))
            await world.stop(a)
            ack = await world.upsert(b, [1], 3.0)
            assert (await world.content(b, ack.seq))[1] == 3.0

    asyncio.run(run())


def test_what_cannot_be_handed_over_does_not_hold_up_the_end(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a = await world.add("a")
            await world.place(a, min_isr=1)
            await until(lambda: leads(a))
            alone = await world.config()
            await of(a).run(asyncio.Event())
            assert await world.config() == alone
            assert leads(a)

    asyncio.run(run())


def test_a_worker_that_is_not_surely_registered_hands_over_nothing(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, _ = await pair(world)
            before = await world.config()
            await a.membership.close()
            await of(a).run(asyncio.Event())
            assert await world.config() == before

    asyncio.run(run())


def test_a_second_signal_ends_it_and_so_does_time(tmp_path, monkeypatch):
    async def run(how: str) -> None:
        async with fleet(tmp_path / how) as world:
            a, b = await pair(world)
            with monkeypatch.context() as patched:
                tried, hurried = let_swaps_hang(patched, a), asyncio.Event()
                if how == "time":
                    patched.setattr(handing_over, "MOST_S", 0.05)
                ending = asyncio.create_task(of(a).run(hurried))
                await tried.wait()
                if how == "signal":
                    assert not ending.done()
                    hurried.set()
                await ending
                assert not leads(b)
                for step in a.assignments._busy.values():
                    step.cancel()

    for how in ("signal", "time"):
        asyncio.run(run(how))
