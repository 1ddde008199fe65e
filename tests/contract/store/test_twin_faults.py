"""What the twin can do and etcd cannot be made to: ordered faults and moved clocks.

The contract suite tests the rest.
"""

from __future__ import annotations

import asyncio

import pytest

from shoal.store.interface import Committed, LeaseNotFound, OutcomeUnknown, Put, StoreUnavailable, Transaction
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster


def _put(value: bytes) -> Transaction:
    return Transaction(then=(Put(key="k", value=value),))


def test_ordered_faults_are_met_one_a_commit_in_order() -> None:
    async def scenario() -> None:
        cluster = MemoryCluster(lambda: 0.0)
        store, other = MemoryStore(cluster), MemoryStore(cluster)
        for fault in (CommitFault.UNAVAILABLE, CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER):
            store.fail_next_commit(fault)
        for value, error, found in ((b"1", StoreUnavailable, None), (b"2", OutcomeUnknown, None), (b"3", OutcomeUnknown, b"3")):
            with pytest.raises(error):
                await store.commit(_put(value), 1.0)
            entry = await other.get("k", 1.0)
            assert (entry and entry.value) == found
        assert isinstance(await store.commit(_put(b"4"), 1.0), Committed)

    asyncio.run(scenario())


def test_a_fault_of_one_client_is_not_that_of_another() -> None:
    async def scenario() -> None:
        cluster = MemoryCluster(lambda: 0.0)
        cut, other = MemoryStore(cluster), MemoryStore(cluster)
        cut.cut()
        assert isinstance(await other.commit(_put(b"1"), 1.0), Committed)
        with pytest.raises(StoreUnavailable):
            await cut.get("k", 1.0)

    asyncio.run(scenario())


def test_watches_hear_of_an_expiry_even_when_it_is_found_by_a_call_that_fails() -> None:
    async def scenario() -> None:
        now = [0.0]
        store = MemoryStore(MemoryCluster(lambda: now[0]))
        lease = await store.grant_lease(2, 1.0)
        put = Transaction(then=(Put(key="k", value=b"", lease_id=lease.id),))
        await store.commit(put, 1.0)
        async with store.watch("k") as watch:
            await anext(watch)
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(0)
            now[0] = 2.0
            with pytest.raises(LeaseNotFound):
                await store.commit(put, 1.0)
            assert (await asyncio.wait_for(waiting, 5.0)).deleted == ("k",)  # type: ignore[union-attr]

    asyncio.run(scenario())
