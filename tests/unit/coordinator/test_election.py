from __future__ import annotations

import asyncio

import pytest

from shoal.core.cluster_map import LeaderEntry
from shoal.store.codecs import encode_leader
from shoal.store.interface import DeleteKey, Put, Transaction
from tests.twins.coordinator.bare_coordinator import TTL_S, BareCoordinator, ManualClock, eventually, running
from tests.twins.coordinator.world import KEYS
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster


def test_the_first_leads_the_second_stands_by_and_takes_over_at_once_from_a_clean_stop() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one, two = BareCoordinator(cluster, clock, "one:1"), BareCoordinator(cluster, clock, "two:1")
        one.start(acting=False)
        await one.leading()
        leadership = one.election.leadership()
        assert leadership is not None
        async with running(two, acting=False):
            await eventually(lambda: two.observer.map.leader == LeaderEntry(address="one:1", created=leadership))
            assert not two.leads
            await one.stop()
            # The clock did not move: `one` gave its lease back, so `two` did not wait for its end.
            await two.leading()
            assert (two.election.leadership() or 0) > leadership

    asyncio.run(scenario())


def test_a_leader_that_is_cut_off_stops_at_once_and_is_replaced_when_its_lease_ends() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one, two = BareCoordinator(cluster, clock, "one:1"), BareCoordinator(cluster, clock, "two:1")
        async with running(one, two, acting=False):
            await eventually(lambda: one.leads or two.leads)
            first, second = (one, two) if one.leads else (two, one)
            await eventually(lambda: first.observer.map.leader is not None)
            first.store.cut()
            clock.advance(0.96 * TTL_S)
            assert not first.leads, "the lease was not surely held any more"
            assert not second.leads, "etcd still held the key"
            clock.advance(0.05 * TTL_S)
            cluster.expire()
            await eventually(lambda: second.leads or second.observer.map.leader is None)
            await second.leading()
            first.store.restore()
            await eventually(lambda: first.observer.map.leader == second.observer.map.leader)
            assert second.leads
            assert not first.leads

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", list(CommitFault))
def test_a_campaign_in_doubt_ends_in_leading(fault: CommitFault) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        one.store.fail_next_commit(fault)
        async with running(one, acting=False):
            await one.leading()
            found = await one.store.get(KEYS.leader, 1.0)
            assert found is not None
            assert found.create_revision == one.election.leadership()

    asyncio.run(scenario())


def test_a_key_of_the_same_address_under_another_lease_is_a_predecessor_and_waited_for() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        before = MemoryStore(cluster)
        lease = await before.grant_lease(TTL_S, 1.0)
        put = Put(key=KEYS.leader, value=encode_leader("one:1"), lease_id=lease.id)
        await before.commit(Transaction(then=(put,)), 1.0)
        one = BareCoordinator(cluster, clock, "one:1")
        async with running(one, acting=False):
            await eventually(lambda: one.observer.map.leader is not None)
            heard = one.changes.count
            await one.changes.wait(heard, 0.2)
            assert not one.leads
            await before.revoke_lease(lease.id, 1.0)
            await one.leading()

    asyncio.run(scenario())


def test_a_deleted_key_ends_the_leadership_and_the_next_one_is_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        async with running(one, acting=False):
            await one.leading()
            first = one.election.leadership()
            assert first is not None
            await one.store.commit(Transaction(then=(DeleteKey(key=KEYS.leader),)), 1.0)
            await eventually(lambda: one.election.leadership() not in {None, first})
            assert (one.election.leadership() or 0) > first

    asyncio.run(scenario())
    lines = [record.getMessage().split()[0] for record in caplog.records if record.name == "shoal.coordinator.election"]
    assert lines == ["leads", "leads_no_more", "leads", "leads_no_more"], "one line for each change of leadership"


def test_a_lost_lease_is_replaced_and_leadership_won_again() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cluster = MemoryCluster(clock)
        one = BareCoordinator(cluster, clock)
        async with running(one, acting=False):
            await one.leading()
            first = one.election.leadership()
            clock.advance(1.01 * TTL_S)
            cluster.expire()
            assert not one.leads
            await eventually(lambda: one.leads and one.election.leadership() != first)

    asyncio.run(scenario())
