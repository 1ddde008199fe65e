from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from shoal.coordinator.administer import Administrator
from shoal.core.alteration import Alteration
from shoal.core.collection import CollectionSpec, CollectionState
from shoal.core.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PreconditionFailed,
    ResourceExhausted,
    ShoalError,
    Unavailable,
)
from shoal.core.ids import CollectionId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.store.codecs import encode_worker
from shoal.store.interface import DeleteKey, Put, StoreUnavailable, Transaction
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock, ModelWorkers, eventually, running
from tests.twins.coordinator.world import KEYS, worker_entry
from tests.twins.store.client import CommitFault, MemoryStore
from tests.twins.store.cluster import MemoryCluster

SPEC = CollectionSpec(name="fashion", dim=4, shards=2)


class Office:
    """Runs a leading coordinator and its workers. With `acting=False` the coordinator runs no rounds, so no shard
    becomes ready.
    """

    def __init__(self, cluster: MemoryCluster, clock: ManualClock) -> None:
        self.cluster, self.clock = cluster, clock
        self.one = BareCoordinator(cluster, clock)

    @property
    def admin(self) -> Administrator:
        return self.one.administrator

    @asynccontextmanager
    async def open(self, *workers: str, acting: bool = True) -> AsyncIterator[None]:
        async with running(self.one, acting=acting), ModelWorkers(MemoryStore(self.cluster), *workers).running():
            await self.one.leading()
            await eventually(lambda: len(self.one.observer.map.workers) == len(workers))
            yield


def office(scenario: Callable[[Office], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = ManualClock()
        await scenario(Office(MemoryCluster(clock), clock))

    asyncio.run(run())


def test_creation_answers_when_the_collection_is_active() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            made = await it.admin.create(SPEC, "r", 10.0)
            assert it.one.observer.map.collection("fashion").id == made

    office(scenario)


def test_the_same_request_again_gets_the_same_collection_another_is_refused() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            first, again = await asyncio.gather(it.admin.create(SPEC, "r", 10.0), it.admin.create(SPEC, "r", 10.0))
            assert first == again == await it.admin.create(SPEC, "r", 10.0)
            for request_id in ("s", ""):
                with pytest.raises(AlreadyExists, match="'fashion'"):
                    await it.admin.create(SPEC, request_id, 10.0)

    office(scenario)


def test_calls_without_a_request_id_are_different_calls() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            ends = await asyncio.gather(it.admin.create(SPEC, "", 10.0), it.admin.create(SPEC, "", 10.0), return_exceptions=True)
            assert sorted(type(end).__name__ for end in ends) == ["AlreadyExists", "str"]

    office(scenario)


def test_without_a_worker_nothing_is_begun() -> None:
    async def scenario(it: Office) -> None:
        async with it.open():
            with pytest.raises(Unavailable, match="no shard worker"):
                await it.admin.create(SPEC, "r", 10.0)
            assert not it.one.observer.map.collections

    office(scenario)


def test_a_creation_that_takes_too_long_says_how_far_it_is_and_goes_on() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", acting=False):
            with pytest.raises(DeadlineExceeded, match=r"0 of 2 shards are active.*goes on"):
                await it.admin.create(SPEC, "r", 0.2)
            with pytest.raises(Unavailable, match="still being created"):
                it.one.observer.map.collection("fashion")
            rounds = asyncio.create_task(it.one.loop.run())
            await eventually(lambda: it.one.observer.map.by_name["fashion"].state is CollectionState.ACTIVE)
            rounds.cancel()
            assert await it.admin.create(SPEC, "r", 10.0) == it.one.observer.map.by_name["fashion"].id

    office(scenario)


def test_a_collection_dropped_while_it_is_created_is_told_to_its_creator() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", acting=False):
            creating = asyncio.create_task(it.admin.create(SPEC, "r", 10.0))
            await eventually(lambda: "fashion" in it.one.observer.map.by_name)
            await it.admin.drop("fashion", None, 10.0)
            with pytest.raises(NotFound, match="dropped while it was being created"):
                await creating

    office(scenario)


@pytest.mark.parametrize("fault", [CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER])
def test_lost_answers_of_a_creation_and_of_a_drop_are_looked_up(fault: CommitFault) -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", acting=False):
            it.one.store.fail_next_commit(fault)
            creating = asyncio.create_task(it.admin.create(SPEC, "", 10.0))
            await eventually(lambda: "fashion" in it.one.observer.map.by_name)
            rounds = asyncio.create_task(it.one.loop.run())
            made = await creating
            rounds.cancel()
            await asyncio.gather(rounds, return_exceptions=True)
            assert [each.id for each in it.one.observer.map.collections.values()] == [made]
            it.one.store.fail_next_commit(fault)
            await it.admin.drop("fashion", None, 10.0)
            assert await it.one.store.get(KEYS.name("fashion"), 1.0) is None
            with pytest.raises(NotFound):
                await it.admin.drop("fashion", None, 10.0)

    office(scenario)


@pytest.mark.parametrize("act", ["create", "drop"])
def test_a_store_that_keeps_losing_answers_ends_in_an_error_of_bounded_length(act: str) -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", acting=False):
            if act == "drop":
                with pytest.raises(DeadlineExceeded):
                    await it.admin.create(SPEC, "r", 0.2)
            for _ in range(100):
                it.one.store.fail_next_commit(CommitFault.LOST_BEFORE)
            with pytest.raises(Unavailable, match="kept changing"):
                await (it.admin.create(SPEC, "r", 60.0) if act == "create" else it.admin.drop("fashion", None, 60.0))
            with pytest.raises(DeadlineExceeded, match="no time was left"):
                await (it.admin.create(SPEC, "r", 0.15) if act == "create" else it.admin.drop("fashion", None, 0.15))

    office(scenario)


def test_a_store_that_does_not_answer_is_unavailable() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            it.one.store.cut()
            for call in (it.admin.create(SPEC, "r", 1.0), it.admin.drop("fashion", None, 1.0)):
                with pytest.raises(StoreUnavailable):
                    await call
            it.one.store.restore()

    office(scenario)


def test_a_drop_leaves_the_tombstone_and_frees_the_name_at_once() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", acting=False):
            for request_id in ("r1", "r2"):
                with pytest.raises(DeadlineExceeded):
                    await it.admin.create(SPEC, request_id, 0.2)
                await it.admin.drop("fashion", None, 10.0)
            listing = await it.one.store.list(KEYS.prefix, 1.0)
            await eventually(lambda: it.one.observer.map.revision >= listing.revision)
            states = [each.state for each in it.one.observer.map.collections.values()]
            assert states == [CollectionState.DROPPING, CollectionState.DROPPING]
            assert not [entry.key for entry in listing.entries if entry.key.startswith(KEYS.name(""))]

    office(scenario)


@pytest.mark.parametrize(("name", "kind"), [("nothing", NotFound), ("bad name", InvalidArgument), ("", InvalidArgument)])
def test_a_drop_of_what_cannot_be_is_refused(name: str, kind: type[ShoalError]) -> None:
    async def scenario(it: Office) -> None:
        async with it.open():
            with pytest.raises(kind):
                await it.admin.drop(name, None, 10.0)

    office(scenario)


def test_a_standby_names_the_leader_and_does_nothing() -> None:
    async def scenario(it: Office) -> None:
        two = BareCoordinator(it.cluster, it.clock, "two:1")
        async with it.open("w0"), running(two):
            await eventually(lambda: two.observer.map.leader is not None)
            for call in (two.administrator.create(SPEC, "r", 1.0), two.administrator.drop("fashion", None, 1.0)):
                with pytest.raises(Unavailable, match="does not lead, one:1 does"):
                    await call
            assert not two.observer.map.collections

    office(scenario)


def test_a_leader_that_does_not_know_of_its_end_creates_and_drops_nothing() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            made = await it.admin.create(SPEC, "r", 10.0)
            leadership = it.one.election.leadership()
            await it.one.store.commit(Transaction(then=(DeleteKey(key=KEYS.leader),)), 1.0)
            await eventually(lambda: it.one.election.leadership() not in {None, leadership})
            requests = dataclasses.replace(it.one.requests, leadership=lambda: leadership)
            stale = Administrator(requests=requests, keys=KEYS, new_id=lambda: "stale", limits=DEFAULT_LIMITS)
            for call in (stale.create(dataclasses.replace(SPEC, name="other"), "r", 10.0), stale.drop("fashion", None, 10.0)):
                with pytest.raises(Unavailable, match="kept changing"):
                    await call
            assert set(it.one.observer.map.collections) == {made}

    office(scenario)


def test_before_anyone_leads_nobody_is_named() -> None:
    async def scenario(it: Office) -> None:
        with pytest.raises(Unavailable, match="no coordinator leads now"):
            await it.admin.create(SPEC, "r", 1.0)

    office(scenario)


def test_a_drop_by_id_touches_no_other_collection_of_that_name() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            first = await it.admin.create(SPEC, "r1", 10.0)
            await it.admin.drop("fashion", first, 10.0)
            second = await it.admin.create(SPEC, "r2", 10.0)
            for gone in (first, CollectionId("never-was")):
                await it.admin.drop("fashion", gone, 10.0)
            assert it.one.observer.map.collection("fashion").id == second
            held = await it.one.store.get(KEYS.name("fashion"), 1.0)
            assert held is not None
            assert held.value == second.encode()
            with pytest.raises(InvalidArgument, match="'fashion', not 'other'"):
                await it.admin.drop("other", second, 10.0)
            await it.admin.drop("fashion", second, 10.0)
            assert await it.one.store.get(KEYS.name("fashion"), 1.0) is None

    office(scenario)


def test_an_alteration_is_committed_and_the_same_again_changes_nothing() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            made = await it.admin.create(SPEC, "r", 10.0)
            wanted = dataclasses.replace(SPEC, index="flat", recall=0.8)
            await it.admin.alter("fashion", Alteration(index="flat", recall=0.8), 10.0)
            await eventually(lambda: it.one.observer.map.collections[made].spec == wanted)
            before = it.one.observer.map.collections[made]
            assert before.state is CollectionState.ACTIVE
            await it.admin.alter("fashion", Alteration(recall=0.8), 10.0)
            held = await it.one.store.get(KEYS.collection(made), 1.0)
            assert held is not None
            assert held.mod_revision == before.revision

    office(scenario)


@pytest.mark.parametrize("fault", [CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER])
def test_a_lost_answer_of_an_alteration_is_looked_up(fault: CommitFault) -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            made = await it.admin.create(SPEC, "r", 10.0)
            it.one.store.fail_next_commit(fault)
            await it.admin.alter("fashion", Alteration(recall=0.8), 10.0)
            await eventually(lambda: it.one.observer.map.collections[made].spec.recall == 0.8)

    office(scenario)


def test_alterations_at_once_do_not_undo_each_other() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            made = await it.admin.create(SPEC, "r", 10.0)
            await asyncio.gather(
                it.admin.alter("fashion", Alteration(recall=0.8), 10.0), it.admin.alter("fashion", Alteration(index="flat"), 10.0)
            )
            wanted = dataclasses.replace(SPEC, index="flat", recall=0.8)
            await eventually(lambda: it.one.observer.map.collections[made].spec == wanted)

    office(scenario)


def test_what_cannot_be_altered_is_refused() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", acting=False):
            with pytest.raises(DeadlineExceeded):
                await it.admin.create(SPEC, "r", 0.2)
            with pytest.raises(Unavailable, match="still being created"):
                await it.admin.alter("fashion", Alteration(recall=0.8), 1.0)
            with pytest.raises(NotFound, match="'other'"):
                await it.admin.alter("other", Alteration(recall=0.8), 1.0)
            with pytest.raises(InvalidArgument):
                await it.admin.alter("bad name", Alteration(recall=0.8), 1.0)

    office(scenario)


def test_a_store_that_keeps_losing_alterations_ends_in_an_error() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            await it.admin.create(SPEC, "r", 10.0)
            for _ in range(100):
                it.one.store.fail_next_commit(CommitFault.LOST_BEFORE)
            with pytest.raises(Unavailable, match="could not be altered"):
                await it.admin.alter("fashion", Alteration(recall=0.8), 60.0)

    office(scenario)


def test_a_collection_that_cannot_fit_is_not_begun() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0"):
            small = dataclasses.replace(worker_entry("w0"), memory_budget_bytes=1)
            await it.one.store.commit(Transaction(then=(Put(key=KEYS.worker(small.id), value=encode_worker(small)),)), 1.0)
            await eventually(lambda: it.one.observer.map.workers[small.id].memory_budget_bytes == 1)
            with pytest.raises(ResourceExhausted, match="no memory for collection 'fashion'"):
                await it.admin.create(SPEC, "r", 10.0)
            assert await it.one.store.get(KEYS.name("fashion"), 1.0) is None

    office(scenario)


def test_a_collection_with_replicas_is_ready_when_enough_are_in_sync_and_altered_while_it_lives() -> None:
    async def scenario(it: Office) -> None:
        it.one.reports.all_open = True
        async with it.open("w0", "w1", "w2"):
            made = await it.admin.create(dataclasses.replace(SPEC, replicas=3), "r", 10.0)
            configs = [entry.config for entry in it.one.observer.map.shards_of(made)]
            assert all(len(config.isr) >= config.min_isr == 2 for config in configs)
            for replicas, min_isr in ((1, 1), (2, 1), (3, 2)):
                await it.admin.alter("fashion", Alteration(replicas=replicas), 10.0)
                await eventually(
                    lambda wanted=replicas, least=min_isr: all(  # type: ignore[misc]
                        (len(each.config.worker_of), len(each.config.isr), each.config.min_isr) == (wanted, wanted, least)
                        for each in it.one.observer.map.shards_of(made)
                    )
                )

    office(scenario)


def test_more_replicas_than_workers_are_refused_naming_both_numbers() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", "w1"):
            with pytest.raises(PreconditionFailed, match=r"cannot have 3 replicas.* 2 are live"):
                await it.admin.create(dataclasses.replace(SPEC, replicas=3), "r", 10.0)
            assert not it.one.observer.map.collections
            await it.admin.create(SPEC, "r", 10.0)
            with pytest.raises(PreconditionFailed, match=r"cannot have 3 replicas.* 2 are live"):
                await it.admin.alter("fashion", Alteration(replicas=3), 10.0)
            assert it.one.observer.map.by_name["fashion"].spec == SPEC

    office(scenario)


def test_a_creation_that_waits_for_copies_says_so() -> None:
    async def scenario(it: Office) -> None:
        async with it.open("w0", "w1", acting=False):
            with pytest.raises(DeadlineExceeded, match=r"0 of 2 shards are active, 0 of them with 2 replicas in sync"):
                await it.admin.create(dataclasses.replace(SPEC, replicas=2, min_isr_set=2), "r", 0.2)

    office(scenario)
