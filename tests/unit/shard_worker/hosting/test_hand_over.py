"""Test that a primary hands over to its successor: replicas, logs and swaps are real, the workers share a process."""

import asyncio
import dataclasses

import pytest

from shoal.core.errors import Unavailable
from shoal.core.ids import ReplicaId
from shoal.core.shard_calls import Consistency, ReadTerms, ShardCount
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.hosting.hand_over_times import MOST_S
from shoal.store.interface import DeleteKey, Transaction
from tests.support.worker.fleet import KEYS, SHARD, Fleet, Member, fleet, until
from tests.twins.store.client import CommitFault

AT_THE_PRIMARY = ShardCount(shard=SHARD, terms=ReadTerms(consistency=Consistency.PRIMARY))


async def pair(world: Fleet) -> tuple[Member, Member]:
    a, b = await world.add("a"), await world.add("b")
    await world.place(a, b, min_isr=1)
    await world.until_isr(2)
    await until(lambda: leads(a))
    await world.upsert(a, range(10), 1.0)
    return a, b


def leads(member: Member) -> bool:
    return member.replica is not None and member.replica.role == "primary"


def id_on(member: Member) -> ReplicaId:
    assert member.replica is not None
    return member.replica.id


async def ask(world: Fleet, successor: ReplicaId) -> None:
    """Ask for a hand-over, as a coordinator does."""
    await world.put(None, dataclasses.replace(await world.config(), successor=successor))


def test_a_primary_that_is_asked_to_hand_over_leads_no_more_and_its_successor_serves_everything(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            before = await world.config()
            await ask(world, id_on(b))
            await until(lambda: leads(b))
            after = await world.config()
            expected = {"term": before.term + 1, "primary": id_on(b), "primary_reg": b.membership.registration, "isr": before.isr}
            assert {name: getattr(after, name) for name in expected} == expected
            assert after.successor is None
            await until(lambda: str(SHARD) in a.host.hand_overs.newest())
            assert 0.0 < a.host.hand_overs.newest()[str(SHARD)].seconds < MOST_S
            assert not b.host.hand_overs.newest()
            ack = await world.upsert(b, range(5), 2.0)
            expected_points = {each: 2.0 if each < 5 else 1.0 for each in range(10)}
            for member in (a, b):
                assert await world.content(member, ack.seq) == expected_points
            with pytest.raises(Unavailable):
                await a.host.count(AT_THE_PRIMARY, 1.0)
            assert await b.host.count(AT_THE_PRIMARY, 1.0) == 10

    asyncio.run(run())


def test_the_old_primary_has_stepped_down_when_the_swap_is_sent(tmp_path, monkeypatch):
    sure_at_swap: list[object] = []

    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            swap = ConfigSwaps.swap

            async def watched(self, config, *rest):
                if self is a.swaps and config.primary == id_on(b):
                    sure_at_swap.append((a.replica.sure_term(), str(a.replica.role)))
                return await swap(self, config, *rest)

            monkeypatch.setattr(ConfigSwaps, "swap", watched)
            assert a.replica.sure_term() == 1
            await ask(world, id_on(b))
            await until(lambda: leads(b))

    asyncio.run(run())
    assert sure_at_swap == [(None, "backup")]


@pytest.mark.parametrize("fault", list(CommitFault))
def test_a_hand_over_whose_swap_has_no_answer_is_decided_again(tmp_path, fault):
    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            a.store.fail_next_commit(fault)
            await ask(world, id_on(b))
            await until(lambda: leads(b))
            assert (await world.config()).term == 2
            await world.upsert(b, range(3), 3.0)

    asyncio.run(run())


def test_a_primary_that_stepped_down_for_a_successor_whose_worker_has_gone_leads_again_in_a_new_term(tmp_path, monkeypatch):
    """The swap relies on the successor's registration. A rejected one says nothing about the epoch: the worker must
    look at the shard again.
    """

    async def run():
        async with fleet(tmp_path) as world:
            a, b = await pair(world)
            successor, swap = id_on(b), ConfigSwaps.swap

            async def unregistered_first(self, config, *rest):
                if self is a.swaps and config.primary == successor:
                    await world.stop(b)
                    await a.store.commit(Transaction(then=(DeleteKey(key=KEYS.worker(b.id)),)), 1.0)
                return await swap(self, config, *rest)

            monkeypatch.setattr(ConfigSwaps, "swap", unregistered_first)
            await ask(world, successor)
            await until(lambda: b.id not in world.members and leads(a))
            config = await world.config()
            assert (config.primary, config.term, config.successor) == (id_on(a), 2, None)

    asyncio.run(run())
