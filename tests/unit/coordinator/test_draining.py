"""Workers that are drained, taken back or forgotten: once or not at all, and never so that the rest cannot do without
them.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from shoal.coordinator import draining
from shoal.core.collection import CollectionState
from shoal.core.errors import DeadlineExceeded, InvalidArgument, NotFound, PreconditionFailed, ShoalError, Unavailable
from shoal.core.health import WorkerCondition
from shoal.core.ids import WorkerId
from shoal.core.operations import DrainWorker, ForgetWorker, ListWorkers, SetBalance, UndrainWorker
from shoal.core.rebalance import BalanceSettings, Drain
from shoal.store.codecs import encode_collection
from shoal.store.interface import DeleteKey, Put, Transaction
from shoal.store.rebalance_codecs import encode_forgotten
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock
from tests.twins.coordinator.bare_operator import MIB, BareOperator, status_of
from tests.twins.coordinator.operated import BOOKS_0, BOOKS_1, RAW_0, Operated, able_worker, operated
from tests.twins.coordinator.world import KEYS, REPLACE_AFTER_S, collection_of
from tests.twins.store.client import CommitFault
from tests.twins.store.cluster import MemoryCluster

W0, W1, W2 = (WorkerId(f"w{number}") for number in range(3))


def test_workers_are_listed_with_what_they_hold() -> None:
    async def scenario(it: Operated) -> None:
        it.op.calls.told[W1] = status_of({BOOKS_0: (2, 20), BOOKS_1: (3, 30), RAW_0: (4, 40)})
        listed = await it.operator.workers(ListWorkers(), 5.0)
        assert [standing.worker for standing in listed.workers] == ["w0", "w1", "w2"]
        w1 = listed.workers[1]
        assert (w1.state, w1.zone, w1.drain, w1.replicas, w1.primaries, w1.left) == (WorkerCondition.UP, "z", None, 3, 2, 0)
        assert (w1.memory_bytes, w1.disk_bytes, w1.memory_budget_bytes, w1.started_ms) == (9, 90, 100 * MIB, 77)
        assert (w1.down_s, w1.replaced_in_s, listed.balance) == (0.0, None, BalanceSettings())

    operated(scenario)


def test_a_worker_that_is_down_is_listed_while_it_holds_something() -> None:
    async def scenario(it: Operated) -> None:
        await it.vanish("w1")
        await it.vanish("w2")
        await it.one.loop.round()
        it.one.loop_clock.advance(240.0)
        (w0, w1) = (await it.operator.workers(ListWorkers(), 5.0)).workers
        assert (w0.worker, w1.worker, w1.state, w1.started_ms) == ("w0", "w1", WorkerCondition.DOWN, 0)
        assert (w1.down_s, w1.replaced_in_s) == (240.0, REPLACE_AFTER_S - 240.0)
        it.one.loop_clock.advance(REPLACE_AFTER_S)
        assert (await it.operator.workers(ListWorkers(), 5.0)).workers[1].replaced_in_s is None

    operated(scenario)


def test_a_drained_worker_is_told_with_what_is_left_and_the_audit_says_who_asked() -> None:
    async def scenario(it: Operated) -> None:
        standing = await it.operator.drain(DrainWorker(worker="w0", asked_by="me"), 5.0)
        assert standing.drain == Drain(primaries_only=False, asked_by="me", since_ms=it.op.now_ms(), revision=it.map.drains[W0].revision)
        assert (standing.replicas, standing.left, it.map.drains.keys()) == (2, 2, {W0})
        again = await it.operator.drain(DrainWorker(worker="w0", asked_by="you"), 5.0)
        assert again == standing
        assert await it.actions() == [("drain-worker", "w0", "me")]

    operated(scenario)


def test_a_drain_of_the_primaries_leaves_the_replicas_and_becomes_a_whole_one() -> None:
    async def scenario(it: Operated) -> None:
        standing = await it.operator.drain(DrainWorker(worker="w1", primaries_only=True), 5.0)
        assert (standing.left, standing.drain is not None and standing.drain.primaries_only) == (0, True)
        standing = await it.operator.drain(DrainWorker(worker="w1"), 5.0)
        assert (standing.left, standing.drain is not None and standing.drain.primaries_only) == (3, False)
        standing = await it.operator.drain(DrainWorker(worker="w1", primaries_only=True), 5.0)
        assert standing.left == 0
        assert len(await it.actions()) == 3

    operated(scenario)


def test_an_undrained_worker_holds_and_leads_again() -> None:
    async def scenario(it: Operated) -> None:
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        for _ in range(2):
            standing = await it.operator.undrain(UndrainWorker(worker="w0", asked_by="me"), 5.0)
            assert (standing.drain, standing.left, dict(it.map.drains)) == (None, 0, {})
        assert [action for action, *_ in await it.actions()] == ["drain-worker", "undrain-worker"]

    operated(scenario)


@pytest.mark.parametrize("fault", [CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER])
def test_lost_answers_are_looked_up(fault: CommitFault) -> None:
    async def scenario(it: Operated) -> None:
        it.one.store.fail_next_commit(fault)
        assert (await it.operator.drain(DrainWorker(worker="w0"), 5.0)).drain is not None
        it.one.store.fail_next_commit(fault)
        assert (await it.operator.undrain(UndrainWorker(worker="w0"), 5.0)).drain is None
        await it.vanish("w0")
        it.one.store.fail_next_commit(fault)
        assert (await it.operator.forget(ForgetWorker(worker="w0", confirmed=True), 5.0)).done
        it.one.store.fail_next_commit(fault)
        assert (await it.operator.set_balance(SetBalance(auto=True), 5.0)).auto
        assert [action for action, *_ in await it.actions()] == ["drain-worker", "undrain-worker", "forget-worker", "set-balance"]

    operated(scenario)


def test_of_two_drains_that_leave_too_few_together_one_is_refused() -> None:
    async def scenario(it: Operated) -> None:
        calls = (it.operator.drain(DrainWorker(worker=name), 5.0) for name in ("w0", "w2"))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        refused = [end for end in ends if isinstance(end, PreconditionFailed)]
        assert [type(end).__name__ for end in ends].count("WorkerStanding") == 1
        assert len(refused) == 1
        assert "books has 2 replicas and 1 worker would be left" in refused[0].message
        assert len(it.map.drains) == 1

    operated(scenario)


def test_two_coordinators_that_both_believe_to_lead_drain_one_worker_between_them() -> None:
    """The other one's map may be older: what counts is the key that both compare."""

    async def scenario(it: Operated) -> None:
        commit, first = it.one.store.commit, [True]

        async def late(transaction: Transaction, timeout_s: float) -> object:
            if first.pop() if first else False:
                drained = Put(key=KEYS.drain(W2), value=b'{"primaries_only": false, "asked_by": "", "since_ms": 1}')
                await commit(Transaction(then=(drained, Put(key=KEYS.drain_turn, value=b"{}"))), 1.0)
            return await commit(transaction, timeout_s)

        it.one.store.commit = late  # type: ignore[method-assign, assignment]
        with pytest.raises(PreconditionFailed, match="1 worker would be left"):
            await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        assert it.map.drains.keys() == {W2}

    operated(scenario)


def test_a_worker_that_goes_down_in_the_last_moment_is_not_drained() -> None:
    async def scenario(it: Operated) -> None:
        commit, first = it.one.store.commit, [True]

        async def late(transaction: Transaction, timeout_s: float) -> object:
            if first.pop() if first else False:
                await commit(Transaction(then=(DeleteKey(key=KEYS.worker(W0)),)), 1.0)
            return await commit(transaction, timeout_s)

        it.one.store.commit = late  # type: ignore[method-assign, assignment]
        with pytest.raises(PreconditionFailed, match="w0 is down and cannot be drained"):
            await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        assert not it.map.drains

    operated(scenario)


@pytest.mark.parametrize(
    ("worker", "kind", "text"),
    [
        ("", InvalidArgument, "worker is empty"),
        ("w", InvalidArgument, "'w' is the beginning of several ids: w0, w1, w2"),
        ("x", NotFound, r"'x' does not exist \(there are: w0, w1, w2\)"),
        ("w" * 500, NotFound, r"'w{79}\.\.\."),
    ],
)
def test_a_worker_that_is_not_named_well_is_refused(worker: str, kind: type[ShoalError], text: str) -> None:
    async def scenario(it: Operated) -> None:
        calls = (
            it.operator.drain(DrainWorker(worker=worker), 5.0),
            it.operator.undrain(UndrainWorker(worker=worker), 5.0),
            it.operator.forget(ForgetWorker(worker=worker, confirmed=True), 5.0),
        )
        for call in calls:
            with pytest.raises(kind, match=text) as caught:
                await call
            assert caught.value.details.field == "worker"
        assert await it.actions() == []

    operated(scenario)


def test_a_drain_that_the_rest_cannot_take_changes_nothing() -> None:
    async def scenario(it: Operated) -> None:
        four = collection_of("four", state=CollectionState.ACTIVE, replicas=3)
        await it.put(Put(key=KEYS.collection(four.id), value=encode_collection(four)))
        with pytest.raises(PreconditionFailed, match="w0 cannot be drained: four has 3 replicas and 2 workers would be left"):
            await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        assert not it.map.drains
        assert await it.actions() == []

    operated(scenario)


def test_sizes_are_asked_for_before_a_drain_by_a_coordinator_that_has_just_begun_to_lead() -> None:
    async def scenario(it: Operated) -> None:
        await it.register(able_worker("w1", memory_bytes=4 * MIB), able_worker("w2", memory_bytes=4 * MIB))
        it.op.calls.told[W0] = status_of({BOOKS_0: (4 * MIB, 0), BOOKS_1: (MIB, 0)})
        with pytest.raises(PreconditionFailed, match=r"1 of the replicas that have to go, 4 MiB, find no room .* 85 % of their memory"):
            await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        assert not it.map.drains

    operated(scenario)


def test_a_forgotten_worker_is_only_told_of_until_it_is_confirmed() -> None:
    async def scenario(it: Operated) -> None:
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        await it.vanish("w0")
        await it.one.loop.round()
        it.one.loop_clock.advance(240.0)
        told = await it.operator.forget(ForgetWorker(worker="w0"), 5.0)
        assert (told.done, told.worker, told.down_s, told.copies) == (False, "w0", 240.0, 2)
        assert not it.map.forgotten
        done = await it.operator.forget(ForgetWorker(worker="w0", confirmed=True, asked_by="me"), 5.0)
        assert done == dataclasses.replace(told, done=True)
        assert (it.map.forgotten.keys(), dict(it.map.drains)) == ({W0}, {})
        assert await it.operator.forget(ForgetWorker(worker="w0", confirmed=True), 5.0) == done
        assert (await it.actions())[1:] == [("forget-worker", "w0", "me")]
        assert [standing.worker for standing in (await it.operator.workers(ListWorkers(), 5.0)).workers] == ["w1", "w2"]
        with pytest.raises(NotFound, match="'w0' does not exist"):
            await it.operator.drain(DrainWorker(worker="w0"), 5.0)

    operated(scenario)


def test_a_live_worker_and_the_last_holder_of_a_shard_are_not_forgotten() -> None:
    async def scenario(it: Operated) -> None:
        for confirmed in (False, True):
            with pytest.raises(PreconditionFailed, match="worker w0 is up"):
                await it.operator.forget(ForgetWorker(worker="w0", confirmed=confirmed), 5.0)
        await it.vanish("w1")
        for confirmed in (False, True):
            with pytest.raises(PreconditionFailed, match=r"the only replica of raw/0 that may lead; .* `shoal shard recover raw/0`"):
                await it.operator.forget(ForgetWorker(worker="w1", confirmed=confirmed), 5.0)
        assert not it.map.forgotten
        assert await it.actions() == []

    operated(scenario)


def test_of_two_holders_of_a_shard_only_one_is_forgotten() -> None:
    async def scenario(it: Operated) -> None:
        await it.place(RAW_0, "w2")
        for name in ("w0", "w1"):
            await it.vanish(name)
        calls = (it.operator.forget(ForgetWorker(worker=name, confirmed=True), 5.0) for name in ("w0", "w1"))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["PreconditionFailed", "WorkerForgotten"]
        assert len(it.map.forgotten) == 1

    operated(scenario)


def test_a_worker_that_comes_back_in_the_last_moment_is_not_forgotten() -> None:
    async def scenario(it: Operated) -> None:
        entry = it.map.workers[W0]
        await it.vanish("w0")
        commit, first = it.one.store.commit, [True]

        async def late(transaction: Transaction, timeout_s: float) -> object:
            if first.pop() if first else False:
                await it.register(entry)
            return await commit(transaction, timeout_s)

        it.one.store.commit = late  # type: ignore[method-assign, assignment]
        with pytest.raises(PreconditionFailed, match="w0 is up"):
            await it.operator.forget(ForgetWorker(worker="w0", confirmed=True), 5.0)
        assert not it.map.forgotten

    operated(scenario)


def test_the_oldest_forgotten_workers_that_nothing_names_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "MOST_FORGOTTEN", 4)

    async def scenario(it: Operated) -> None:
        for number in range(4):
            await it.put(Put(key=KEYS.forgotten(WorkerId(f"old{number}")), value=encode_forgotten("", number)))
        await it.place(RAW_0, "w2", leaving=("old0",))
        await it.vanish("w0")
        await it.operator.forget(ForgetWorker(worker="w0", confirmed=True), 5.0)
        assert it.map.forgotten.keys() == {"w0", "old0", "old2", "old3"}

    operated(scenario)


def test_settings_are_shown_changed_once_and_audited() -> None:
    async def scenario(it: Operated) -> None:
        assert await it.operator.set_balance(SetBalance(), 5.0) == BalanceSettings()
        changed = await it.operator.set_balance(
            SetBalance(auto=True, tolerance=0.1, moves_at_once=8, move_bytes_per_s=MIB, asked_by="me"), 5.0
        )
        assert (changed.auto, changed.tolerance, changed.moves_at_once, changed.move_bytes_per_s) == (True, 0.1, 8, MIB)
        assert await it.operator.set_balance(SetBalance(auto=True), 5.0) == changed == it.map.balance
        assert [(entry.action, entry.asked_by, entry.reason) for entry in await it.audit()] == [
            (
                "set-balance",
                "me",
                "auto False -> True, tolerance 0.05 -> 0.1, moves_at_once 4 -> 8, move_bytes_per_s 50331648 -> 1048576",
            )
        ]
        assert not (await it.operator.set_balance(SetBalance(auto=False), 5.0)).auto

    operated(scenario)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (SetBalance(tolerance=0.001), "tolerance"),
        (SetBalance(tolerance=0.51), "tolerance"),
        (SetBalance(tolerance=float("nan")), "tolerance"),
        (SetBalance(moves_at_once=0), "moves_at_once"),
        (SetBalance(moves_at_once=65), "moves_at_once"),
        (SetBalance(move_bytes_per_s=MIB - 1), "move_bytes_per_s"),
        (SetBalance(move_bytes_per_s=2**62), "move_bytes_per_s"),
    ],
)
def test_settings_out_of_range_are_refused(request_: SetBalance, field: str) -> None:
    async def scenario(it: Operated) -> None:
        with pytest.raises(InvalidArgument, match=f"{field} is .*, it must be from") as caught:
            await it.operator.set_balance(dataclasses.replace(request_, auto=True), 5.0)
        assert caught.value.details.field == field
        assert it.map.balance == BalanceSettings()

    operated(scenario)


def test_a_store_that_keeps_losing_answers_ends_in_an_error_and_so_does_a_call_without_time() -> None:
    async def scenario(it: Operated) -> None:
        await it.vanish("w2")
        for _ in range(100):
            it.one.store.fail_next_commit(CommitFault.LOST_BEFORE)
        with pytest.raises(Unavailable, match="'w0' could not be drained"):
            await it.operator.drain(DrainWorker(worker="w0", primaries_only=True), 60.0)
        with pytest.raises(Unavailable, match="settings of balancing could not be changed"):
            await it.operator.set_balance(SetBalance(auto=True), 60.0)
        with pytest.raises(DeadlineExceeded, match="may have been carried out"):
            await it.operator.drain(DrainWorker(worker="w0", primaries_only=True), 0.0)

    operated(scenario)


def test_who_does_not_lead_refuses() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        op = BareOperator(one).operator
        try:
            calls = (
                op.workers(ListWorkers(), 1.0),
                op.drain(DrainWorker(worker="w0"), 1.0),
                op.undrain(UndrainWorker(worker="w0"), 1.0),
                op.forget(ForgetWorker(worker="w0"), 1.0),
                op.set_balance(SetBalance(), 1.0),
            )
            for call in calls:
                with pytest.raises(Unavailable, match="no coordinator leads now"):
                    await call
        finally:
            await one.stop()

    asyncio.run(scenario())
