"""Plans that a coordinator makes by itself: for drained workers at once, for balance only if it is switched on, and
never beside another plan.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from shoal.coordinator.balancing import AUTOMATIC
from shoal.coordinator.logic.balance_settings import MOST_TOLERANCE
from shoal.coordinator.logic.balance_turn import AUTO_EVERY_S, FIRST_PAUSE_S, LOOK_EVERY_S, STEADY_S
from shoal.coordinator.plan_store import MOST_KEPT_PLANS
from shoal.core.ids import WorkerId
from shoal.core.operations import ControlRebalance, DrainWorker, PlanAction, SetBalance, UndrainWorker
from shoal.core.rebalance import DEFAULT_TOLERANCE, ItemState, PlanKind, PlanState
from shoal.store.interface import DeleteKey, Put, Transaction
from shoal.store.rebalance_codecs import encode_rebalance
from tests.twins.coordinator.bare_coordinator import eventually
from tests.twins.coordinator.bare_operator import MIB, balance_of, hand_over_of, move_of, status_of
from tests.twins.coordinator.operated import BOOKS_0, BOOKS_1, RAW_0, Operated, able_worker, operated
from tests.twins.coordinator.world import KEYS
from tests.twins.store.client import CommitFault

MOVE = move_of(BOOKS_0, "w0", "w2")
HAND_OVER = hand_over_of(BOOKS_0, "w0", "w1")
OFF = (balance_of("w0", size=30 * MIB, target=20 * MIB), balance_of("w1", size=20 * MIB, target=20 * MIB))
NEARLY_EVEN = (balance_of("w0", size=23 * MIB, target=20 * MIB), balance_of("w1", size=17 * MIB, target=20 * MIB))


async def plan_kind(it: Operated) -> PlanKind | None:
    """Take a turn. Return the kind of the plan that runs then, None for no plan."""
    await it.op.balancing.turn()
    entry = await it.stored()
    return None if entry is None or entry.ended else entry.plan.kind


async def switched_on(it: Operated) -> None:
    """Switch automatic balancing on, and wait until the members have been the same for long enough."""
    await it.operator.set_balance(SetBalance(auto=True), 5.0)
    it.op.calls.told = {}
    await it.op.balancing.turn()
    it.op.clock.advance(STEADY_S)


def test_a_drained_worker_gets_its_plan_at_once_and_no_second_one_beside_it() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        assert await plan_kind(it) is None
        await it.operator.drain(DrainWorker(worker="w0", asked_by="me"), 5.0)
        assert await plan_kind(it) is PlanKind.DRAIN
        entry = await it.stored()
        assert entry is not None
        assert (entry.plan.subject, entry.asked_by, entry.plan.moves) == ("w0", "me", (MOVE,))
        assert it.logic.asked == [(PlanKind.DRAIN, "w0", DEFAULT_TOLERANCE)]
        await it.op.balancing.turn()
        assert len(it.logic.asked) == 1
        assert [action for action, *_ in await it.actions()] == ["drain-worker"], "the drain is the operator's action, its plan is not"

    operated(scenario)


def test_primaries_alone_need_no_plan_and_an_empty_worker_none_any_more() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w2"), 5.0)
        assert await plan_kind(it) is None, "it holds nothing"
        await it.operator.undrain(UndrainWorker(worker="w2"), 5.0)
        await it.operator.drain(DrainWorker(worker="w0", primaries_only=True), 5.0)
        assert await plan_kind(it) is None
        assert it.logic.asked == []

    operated(scenario)


def test_a_worker_with_tombstones_only_needs_no_plan() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        for shard in (BOOKS_0, BOOKS_1):
            await it.place(shard, "w1", "w2", leaving=("w0",))
        assert await plan_kind(it) is None

    operated(scenario)


def test_a_plan_that_moved_something_is_followed_at_once_and_one_that_did_not_after_growing_pauses() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        assert await plan_kind(it) is PlanKind.DRAIN
        await it.place(BOOKS_0, "w2", "w1")
        await it.end({1: ItemState.DONE})
        assert await plan_kind(it) is PlanKind.DRAIN, "books/1 is left"
        for pause_s in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S):
            await it.end({1: ItemState.FAILED})
            it.op.clock.advance(pause_s - 0.1)
            assert await plan_kind(it) is None
            it.op.clock.advance(0.2)
            assert await plan_kind(it) is PlanKind.DRAIN
        await it.end({1: ItemState.FAILED})
        assert await plan_kind(it) is None
        await it.register(able_worker("w3"))
        assert await plan_kind(it) is PlanKind.DRAIN, "a new worker may take what no other one could"

    operated(scenario)


def test_a_plan_with_nothing_to_do_is_not_put_and_is_made_again_later() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.left = ("books/0 cannot leave w0: no room",)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        for _ in range(3):
            assert await plan_kind(it) is None
        assert len(it.logic.asked) == 1
        it.op.clock.advance(FIRST_PAUSE_S)
        it.logic.moves = (MOVE,)
        assert await plan_kind(it) is PlanKind.DRAIN

    operated(scenario)


def test_one_drained_worker_that_cannot_be_emptied_does_not_hold_up_another() -> None:
    async def scenario(it: Operated) -> None:
        await it.register(able_worker("w3"))
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        await it.op.balancing.turn()
        await it.operator.drain(DrainWorker(worker="w1"), 5.0)
        it.op.clock.advance(FIRST_PAUSE_S)
        it.logic.moves = (dataclasses.replace(MOVE, source=WorkerId("w1")),)
        await it.op.balancing.turn()
        assert [subject for _, subject, _ in it.logic.asked] == ["w0", "w1"]

    operated(scenario)


def test_a_drain_ended_in_the_last_moment_gets_no_plan() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        commit, first = it.one.store.commit, [True]

        async def late(transaction: Transaction, timeout_s: float) -> object:
            if first.pop() if first else False:
                await commit(Transaction(then=(DeleteKey(key=KEYS.drain(WorkerId("w0"))),)), 1.0)
            return await commit(transaction, timeout_s)

        it.one.store.commit = late  # type: ignore[method-assign, assignment]
        await it.op.balancing.turn()
        assert await it.stored() is None

    operated(scenario)


def test_a_cancelled_plan_of_a_drain_waits_until_the_worker_is_drained_again_or_for_ten_minutes() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        assert await plan_kind(it) is PlanKind.DRAIN
        await it.operator.control(ControlRebalance(action=PlanAction.CANCEL), 5.0)
        assert (await it.op.balancing.turn(), len(it.logic.asked)) == (None, 1), "its items are still ending"
        await it.end({1: ItemState.CANCELLED}, state=PlanState.CANCELLED)
        it.op.clock.advance(590.0)
        assert await plan_kind(it) is None
        it.op.clock.advance(11.0)
        assert await plan_kind(it) is PlanKind.DRAIN
        await it.operator.control(ControlRebalance(action=PlanAction.CANCEL), 5.0)
        await it.end({1: ItemState.CANCELLED}, state=PlanState.CANCELLED)
        it.op.clock.advance(1.0)
        await it.operator.undrain(UndrainWorker(worker="w0"), 5.0)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        assert await plan_kind(it) is PlanKind.DRAIN

    operated(scenario)


def test_automatic_balancing_is_off_until_it_is_switched_on() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.workers = (MOVE,), OFF
        it.op.clock.advance(10 * STEADY_S)
        assert await plan_kind(it) is None
        await switched_on(it)
        assert await plan_kind(it) is PlanKind.AUTO
        entry = await it.stored()
        assert entry is not None
        assert (entry.asked_by, entry.plan.moves) == (AUTOMATIC, (MOVE,))

    operated(scenario)


def test_switching_it_off_in_the_last_moment_is_heard() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.workers = (MOVE,), OFF
        await switched_on(it)
        plan_of = it.logic.plan_of
        commit, first = it.one.store.commit, [True]

        async def late(transaction: Transaction, timeout_s: float) -> object:
            if first.pop() if first else False:
                found = await it.one.store.get(KEYS.balance, 1.0)
                assert found is not None
                await commit(Transaction(then=(Put(key=KEYS.balance, value=found.value.replace(b"true", b"false")),)), 1.0)
            return await commit(transaction, timeout_s)

        it.one.store.commit = late  # type: ignore[method-assign, assignment]
        assert await plan_kind(it) is None
        assert it.logic.plan_of == plan_of

    operated(scenario)


def test_members_and_drains_must_have_been_the_same_for_a_minute() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.workers = (MOVE,), OFF
        await switched_on(it)
        it.op.clock.advance(-1.0)
        assert await plan_kind(it) is None
        await it.register(able_worker("w3"))
        it.op.clock.advance(STEADY_S)
        assert await plan_kind(it) is None
        it.op.clock.advance(STEADY_S / 2)
        await it.operator.drain(DrainWorker(worker="w3", primaries_only=True), 5.0)
        assert await plan_kind(it) is None
        it.op.clock.advance(STEADY_S - 1.0)
        assert await plan_kind(it) is None
        it.op.clock.advance(1.0)
        assert await plan_kind(it) is PlanKind.AUTO

    operated(scenario)


@pytest.mark.parametrize("leaving", [(), ("w2",)])
def test_all_shards_must_be_whole(leaving: tuple[str, ...]) -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.workers = (MOVE,), OFF
        if leaving:
            await it.place(RAW_0, "w1", leaving=leaving)
        else:
            await it.put_shard(dataclasses.replace(it.map.shards[RAW_0].config, rf=2))
        await switched_on(it)
        assert await plan_kind(it) is None
        assert it.logic.asked == [], "no plan is made in vain"
        await it.place(RAW_0, "w1")
        assert await plan_kind(it) is None
        it.op.clock.advance(LOOK_EVERY_S)
        assert await plan_kind(it) is PlanKind.AUTO

    operated(scenario)


def test_there_is_at_most_one_automatic_plan_in_ten_minutes_whoever_leads() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.workers = (MOVE,), OFF
        await switched_on(it)
        assert await plan_kind(it) is PlanKind.AUTO
        it.op.clock.advance(100.0)
        await it.end({1: ItemState.DONE})
        await it.place(BOOKS_0, "w2", "w1")
        it.op.clock.advance(AUTO_EVERY_S - 101.0)
        assert await plan_kind(it) is None
        it.op.clock.advance(2.0)
        assert await plan_kind(it) is PlanKind.AUTO

    operated(scenario)


def test_an_operators_plan_in_between_brings_no_automatic_one_sooner() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.workers = (MOVE,), OFF
        await switched_on(it)
        assert await plan_kind(it) is PlanKind.AUTO
        await it.end({1: ItemState.DONE})
        await it.applied()
        await it.end({1: ItemState.DONE})
        await it.place(RAW_0, "w2")
        it.op.clock.advance(AUTO_EVERY_S - 1.0)
        assert await plan_kind(it) is None
        it.op.clock.advance(2.0)
        assert await plan_kind(it) is PlanKind.AUTO

    operated(scenario)


def test_workers_that_are_nearly_even_get_no_moves_but_their_primaries_are_spread() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.workers, it.logic.wide_hand_overs = (MOVE,), NEARLY_EVEN, (HAND_OVER,)
        await switched_on(it)
        assert await plan_kind(it) is PlanKind.AUTO
        entry = await it.stored()
        assert entry is not None
        assert (entry.plan.moves, entry.plan.hand_overs) == ((), (HAND_OVER,))
        assert [tolerance for *_, tolerance in it.logic.asked] == [DEFAULT_TOLERANCE, MOST_TOLERANCE]

    operated(scenario)


def test_nothing_is_planned_again_while_nothing_has_changed() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.workers = NEARLY_EVEN
        await switched_on(it)
        for _ in range(5):
            assert await plan_kind(it) is None
            it.op.clock.advance(LOOK_EVERY_S)
        assert len(it.logic.asked) == 2, "one look: with the tolerance, and with the widest one"
        await it.place(RAW_0, "w2")
        assert await plan_kind(it) is None
        assert len(it.logic.asked) == 4
        for size, looks in ((1_000, 6), (1_040, 6), (1_060, 8)):
            it.op.calls.told[WorkerId("w2")] = status_of({RAW_0: (size, 0)})
            await it.op.reports.ask()
            it.op.clock.advance(LOOK_EVERY_S)
            assert await plan_kind(it) is None
            assert len(it.logic.asked) == looks, f"{size} bytes"

    operated(scenario)


def test_the_history_is_trimmed_once_for_each_plan_that_ended() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        entry = (await it.applied()).entry
        ended = dataclasses.replace(entry, state=PlanState.DONE, ended_ms=2, outcomes={1: ItemState.DONE})
        for number in range(MOST_KEPT_PLANS + 7):
            await it.put(Put(key=KEYS.ended_plan(1_000 * number, "p"), value=encode_rebalance(ended)))
        await it.op.balancing.turn()
        assert len((await it.one.store.list(KEYS.plans, 1.0)).entries) == MOST_KEPT_PLANS + 7, "the plan has not ended"
        await it.end({1: ItemState.DONE})
        await it.op.balancing.turn()
        kept = (await it.one.store.list(KEYS.plans, 1.0)).entries
        assert [each.key for each in kept] == [KEYS.ended_plan(1_000 * number, "p") for number in range(7, MOST_KEPT_PLANS + 7)]

    operated(scenario)


@pytest.mark.parametrize("fault", list(CommitFault))
def test_a_turn_that_fails_is_taken_again(fault: CommitFault, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        it.one.store.fail_next_commit(fault)
        running = asyncio.create_task(it.op.balancing.run())
        await eventually(lambda: it.map.rebalance is not None or bool(it.logic.asked))
        it.op.clock.advance(FIRST_PAUSE_S)
        it.one.changes.notify()
        await eventually(lambda: it.map.rebalance is not None)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    operated(scenario)


def test_a_plan_that_the_store_cannot_take_is_told_and_ends_no_coordinator(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shoal.coordinator.plan_store.MOST_PLAN_BYTES", 10)

    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        running = asyncio.create_task(it.op.balancing.run())
        await eventually(lambda: "plan_refused" in caplog.text or running.done())
        assert not running.done()
        monkeypatch.undo()
        it.op.clock.advance(FIRST_PAUSE_S)
        it.one.changes.notify()
        await eventually(lambda: it.map.rebalance is not None)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    operated(scenario)


def test_who_does_not_lead_takes_no_turns() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.operator.drain(DrainWorker(worker="w0"), 5.0)
        looked = 0

        def leads() -> bool:
            nonlocal looked
            looked += 1
            return False

        it.op.balancing._leads = leads
        running = asyncio.create_task(it.op.balancing.run())
        while looked < 3:
            it.one.changes.notify()
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert it.logic.asked == []

    operated(scenario)
