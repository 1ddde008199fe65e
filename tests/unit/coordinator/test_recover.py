"""Test the recovery of a shard that lost every replica that may lead: it happens once and with its audit entry, or not
at all.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from shoal.coordinator.recover import MOST_REASON_CHARACTERS
from shoal.core.collection import CollectionState
from shoal.core.errors import DeadlineExceeded, InvalidArgument, NotFound, PreconditionFailed, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import ACCEPT_DATA_LOSS, LogEnd, RecoveryRequest
from shoal.core.shard_config import ShardConfig
from shoal.store.codecs import encode_collection, encode_shard, encode_worker
from shoal.store.interface import DeleteKey, Put, Transaction
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock, eventually, running
from tests.twins.coordinator.world import KEYS, collection_of, shard_config, worker_entry
from tests.twins.store.client import CommitFault
from tests.twins.store.cluster import MemoryCluster

COLLECTION = collection_of("c", state=CollectionState.ACTIVE, replicas=3)
SHARD = ShardId(COLLECTION.id, 0)
LOST = shard_config(SHARD, {"r0": "w0", "r1": "w1", "r2": "w2"}, isr=["r0"], learners=["r1", "r2"], min_isr=2, rf=3, term=4)
ENDS = {ReplicaId("r1"): LogEnd(term=Term(3), seq=Seq(8)), ReplicaId("r2"): LogEnd(term=Term(4), seq=Seq(1))}
ASKED = RecoveryRequest(name="c", number=0, worker=None, accept_data_loss=True, reason="disks died", asked_by="me", request_id="q1")


class Shore:
    """A leading coordinator that runs no rounds, and a shard whose only replica in sync was on w0, a worker that is
    gone.
    """

    def __init__(self, one: BareCoordinator) -> None:
        self.one = one

    async def put(self, *operations: Put | DeleteKey) -> None:
        await self.one.store.commit(Transaction(then=operations), 1.0)
        listing = await self.one.store.list(KEYS.prefix, 1.0)
        await eventually(lambda: self.one.observer.map.revision >= listing.revision)

    async def register(self, name: str) -> None:
        await self.put(Put(key=KEYS.worker(WorkerId(name)), value=encode_worker(worker_entry(name))))

    @property
    def config(self) -> ShardConfig:
        return self.one.observer.map.shards[SHARD].config

    async def entries(self) -> list[str]:
        return [each.request_id for each in (await self.one.recoverer.audit(100, "", 1.0))[0]]


def shore(scenario: Callable[[Shore], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        async with running(one, acting=False):
            await one.leading()
            it = Shore(one)
            name = Put(key=KEYS.name("c"), value=COLLECTION.id.encode())
            collection = Put(key=KEYS.collection(COLLECTION.id), value=encode_collection(COLLECTION))
            await it.put(name, collection, Put(key=KEYS.shard(SHARD), value=encode_shard(LOST)))
            for worker in ("w1", "w2", "w3"):
                await it.register(worker)
            one.reports.ends = dict(ENDS)
            await scenario(it)

    asyncio.run(run())


def test_without_the_flag_it_is_only_told_what_would_be_done() -> None:
    async def scenario(it: Shore) -> None:
        recovery, done = await it.one.recoverer.recover(dataclasses.replace(ASKED, accept_data_loss=False), 5.0)
        assert not done
        assert (recovery.chosen.replica, recovery.chosen.worker, recovery.term) == ("r2", "w2", 5)
        assert [each.replica for each in recovery.given_up] == ["r0", "r1"]
        assert await it.entries() == []
        assert it.config == LOST

    shore(scenario)


def test_with_it_the_longest_log_leads_and_the_audit_says_who_asked_and_what_was_given_up() -> None:
    async def scenario(it: Shore) -> None:
        recovery, done = await it.one.recoverer.recover(ASKED, 5.0)
        assert done
        await eventually(lambda: it.config != LOST)
        assert (it.config.primary, it.config.term, it.config.isr, dict(it.config.worker_of)) == ("r2", 5, ("r2",), {"r2": "w2"})
        assert it.config.primary_reg == it.one.observer.map.workers[WorkerId("w2")].registration
        (entry,), following = await it.one.recoverer.audit(100, "", 1.0)
        assert (entry.action, entry.collection, entry.reason, entry.asked_by, entry.request_id, following) == (
            ACCEPT_DATA_LOSS,
            "c",
            "disks died",
            "me",
            "q1",
            "",
        )
        assert entry.recovery == recovery
        listing = await it.one.store.list(KEYS.audits, 1.0)
        assert [each.key.removeprefix(KEYS.audits)[:15] for each in listing.entries] == ["20231114T221320"]

    shore(scenario)


@pytest.mark.parametrize("fault", [CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER])
def test_a_lost_answer_is_looked_up_and_a_retry_is_the_same_call(fault: CommitFault) -> None:
    async def scenario(it: Shore) -> None:
        it.one.store.fail_next_commit(fault)
        recovery, done = await it.one.recoverer.recover(ASKED, 5.0)
        assert done
        assert await it.one.recoverer.recover(ASKED, 5.0) == (recovery, True)
        assert await it.entries() == ["q1"]
        await eventually(lambda: it.config.term == 5)

    shore(scenario)


def test_another_request_finds_that_nothing_is_lost_any_more() -> None:
    async def scenario(it: Shore) -> None:
        await it.one.recoverer.recover(ASKED, 5.0)
        await eventually(lambda: it.config.term == 5)
        with pytest.raises(PreconditionFailed, match="the one on worker w2 is there"):
            await it.one.recoverer.recover(dataclasses.replace(ASKED, request_id="q2"), 5.0)
        assert await it.entries() == ["q1"]

    shore(scenario)


def test_a_replica_that_comes_back_in_the_last_moment_is_not_given_up() -> None:
    async def scenario(it: Shore) -> None:
        commit, coming = it.one.store.commit, [True]

        async def late(transaction: Transaction, timeout_s: float) -> object:
            if coming.pop() if coming else False:
                entry = worker_entry("w0")
                await commit(Transaction(then=(Put(key=KEYS.worker(entry.id), value=encode_worker(entry)),)), 1.0)
            return await commit(transaction, timeout_s)

        it.one.store.commit = late  # type: ignore[method-assign, assignment]
        with pytest.raises(PreconditionFailed, match="the one on worker w0 is being opened"):
            await it.one.recoverer.recover(ASKED, 5.0)
        assert it.config == LOST
        assert await it.entries() == []

    shore(scenario)


def test_a_live_replica_that_may_lead_is_in_the_way_unless_its_worker_says_that_it_does_not_work() -> None:
    async def scenario(it: Shore) -> None:
        await it.register("w0")
        with pytest.raises(PreconditionFailed, match="w0 is being opened, or its worker does not answer"):
            await it.one.recoverer.recover(ASKED, 5.0)
        it.one.reports.failed = {WorkerId("w0"): frozenset({str(SHARD)})}
        _, done = await it.one.recoverer.recover(ASKED, 5.0)
        assert done

    shore(scenario)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"name": "other"}, NotFound),
        ({"number": 7}, NotFound),
        ({"worker": WorkerId("w3")}, PreconditionFailed),
        ({"reason": "x" * (MOST_REASON_CHARACTERS + 1)}, InvalidArgument),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(changes: dict[str, object], kind: type[ShoalError]) -> None:
    async def scenario(it: Shore) -> None:
        with pytest.raises(kind):
            await it.one.recoverer.recover(dataclasses.replace(ASKED, **changes), 5.0)  # type: ignore[arg-type]
        assert it.config == LOST
        assert await it.entries() == []

    shore(scenario)


def test_a_store_that_keeps_losing_answers_ends_in_an_error_and_so_does_a_call_without_time() -> None:
    async def scenario(it: Shore) -> None:
        for _ in range(100):
            it.one.store.fail_next_commit(CommitFault.LOST_BEFORE)
        with pytest.raises(Unavailable, match="could not be recovered"):
            await it.one.recoverer.recover(ASKED, 60.0)
        with pytest.raises(DeadlineExceeded):
            await it.one.recoverer.recover(ASKED, 0.0)

    shore(scenario)


def test_who_does_not_lead_refuses() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        try:
            for call in (one.recoverer.recover(ASKED, 1.0), one.recoverer.audit(1, "", 1.0)):
                with pytest.raises(Unavailable, match="no coordinator leads now"):
                    await call
        finally:
            await one.stop()

    asyncio.run(scenario())


def test_pages_of_the_audit_are_newest_first_and_complete() -> None:
    async def scenario(it: Shore) -> None:
        for number in range(5):
            await it.put(Put(key=KEYS.shard(SHARD), value=encode_shard(LOST)))
            await it.one.recoverer.recover(dataclasses.replace(ASKED, request_id=f"q{number}"), 5.0)
        found, before, pages = [], "", 0
        while pages == 0 or before:
            entries, before = await it.one.recoverer.audit(2, before, 1.0)
            found += [each.request_id for each in entries]
            pages += 1
        assert (found, pages) == (["q4", "q3", "q2", "q1", "q0"], 3)

    shore(scenario)
