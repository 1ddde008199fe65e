"""Plans at an operator's request: each is put once or not at all, with its entry in the audit, and a plan that does not
fit any more changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from shoal.coordinator.plan_store import MOST_KEPT_PLANS, MOST_NOTES
from shoal.coordinator.plans import MOST_MADE_PLANS
from shoal.core.errors import DeadlineExceeded, InvalidArgument, NotFound, PreconditionFailed, ShoalError, Unavailable
from shoal.core.ids import WorkerId
from shoal.core.operations import (
    PLAN_IS_STALE,
    ApplyRebalance,
    ControlRebalance,
    DescribeRebalance,
    ListRebalances,
    PlanAction,
    PlanRebalance,
)
from shoal.core.rebalance import ItemState, PinnedShard, PlanKind, PlanState
from shoal.core.shard_calls import HandOverTime, SnapshotProgress
from shoal.store.interface import Put, Transaction
from shoal.store.rebalance_codecs import decode_rebalance, encode_rebalance
from tests.twins.coordinator.bare_coordinator import BareCoordinator, ManualClock, running
from tests.twins.coordinator.bare_operator import MIB, BareOperator, hand_over_of, move_of, plan_of, status_of
from tests.twins.coordinator.operated import BOOKS_0, BOOKS_1, RAW_0, Operated, operated
from tests.twins.coordinator.world import KEYS
from tests.twins.store.client import CommitFault
from tests.twins.store.cluster import MemoryCluster

MOVE = move_of(BOOKS_0, "w1", "w2")
RAW_MOVE = move_of(RAW_0, "w1", "w2", collection="raw", number=2)


def test_a_plan_changes_nothing_and_is_told_again_by_its_id() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, before = (MOVE,), it.map.revision
        plan = await it.operator.plan(PlanRebalance(), 5.0)
        assert (plan.kind, plan.moves, it.map.revision) == (PlanKind.BALANCE, (MOVE,), before)
        assert it.op.calls.asked == 1, "workers are asked first by a coordinator that has just begun to lead"
        await it.planned()
        assert it.op.calls.asked == 1
        it.logic.moves = ()
        applied = await it.operator.apply(ApplyRebalance(plan_id=plan.id, asked_by="me"), 5.0)
        assert applied.entry.plan == plan

    operated(scenario)


def test_an_applied_plan_runs_and_the_audit_says_who_asked() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.states = (MOVE, RAW_MOVE), {1: ItemState.COPYING}
        progress = await it.applied()
        assert (progress.entry.state, progress.entry.asked_by, progress.entry.active) == (PlanState.RUNS, "me", True)
        assert progress.entry.started_ms == it.op.now_ms()
        assert [(item.number, item.state, item.total_bytes) for item in progress.items] == [
            (1, ItemState.COPYING, 2 * MIB),
            (2, ItemState.WAITING, 2 * MIB),
        ]
        assert it.map.rebalance == await it.stored() == progress.entry
        assert await it.actions() == [("apply-plan", progress.entry.plan.id, "me")]
        assert (await it.audit())[0].reason == "2 moves, 0 hand-overs"

    operated(scenario)


def test_while_one_runs_or_is_paused_another_is_refused_by_name() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        first = (await it.applied()).entry.plan.id
        it.logic.moves = (RAW_MOVE,)
        with pytest.raises(PreconditionFailed, match=f"plan {first} runs"):
            await it.applied()
        await it.operator.control(ControlRebalance(action=PlanAction.PAUSE), 5.0)
        with pytest.raises(PreconditionFailed, match=f"plan {first} is paused"):
            await it.applied()
        await it.operator.control(ControlRebalance(action=PlanAction.CANCEL), 5.0)
        with pytest.raises(PreconditionFailed, match=f"plan {first} was cancelled, and its last items are ending"):
            await it.applied()
        await it.end({1: ItemState.CANCELLED}, state=PlanState.CANCELLED)
        assert (await it.applied()).entry.plan.moves == (RAW_MOVE,)

    operated(scenario)


def test_of_two_applies_at_once_one_begins_and_the_other_is_refused() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        plans = [await it.planned(), ""]
        it.logic.moves = (RAW_MOVE,)
        plans[1] = await it.planned()
        calls = (it.operator.apply(ApplyRebalance(plan_id=plan), 5.0) for plan in plans)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["PreconditionFailed", "RebalanceProgress"]
        assert len(await it.actions()) == 1

    operated(scenario)


@pytest.mark.parametrize("fault", [CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER])
def test_a_lost_answer_is_looked_up_and_a_retry_is_the_same_call(fault: CommitFault) -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        request = ApplyRebalance(plan_id=await it.planned(), request_id="q1")
        it.one.store.fail_next_commit(fault)
        first = await it.operator.apply(request, 5.0)
        assert (await it.operator.apply(request, 5.0)).entry == first.entry
        await it.end({1: ItemState.DONE})
        again = await it.operator.apply(request, 5.0)
        assert (again.entry.plan, again.entry.state) == (first.entry.plan, PlanState.DONE)
        assert len(await it.actions()) == 1

    operated(scenario)


def test_a_retry_finds_its_plan_in_the_history_after_another_one_was_applied() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        request = ApplyRebalance(plan_id=await it.planned(), request_id="q1")
        await it.operator.apply(request, 5.0)
        await it.end({1: ItemState.DONE})
        it.logic.moves = (RAW_MOVE,)
        second = (await it.applied()).entry
        assert (await it.operator.apply(request, 5.0)).entry.plan.id == request.plan_id
        assert await it.stored() == second

    operated(scenario)


def test_a_new_leader_makes_the_plan_again_and_takes_an_equal_one() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        plan, anew = await it.planned(), BareOperator(it.one)
        anew.logic.moves = (RAW_MOVE,)
        with pytest.raises(PreconditionFailed, match=f"plan '{plan}' is not known here"):
            await anew.operator.apply(ApplyRebalance(plan_id=plan), 5.0)
        anew.logic.moves = (MOVE,)
        assert (await anew.operator.apply(ApplyRebalance(plan_id=plan), 5.0)).entry.plan.id == plan

    operated(scenario)


def test_a_new_leader_plans_an_undo_again() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.applied()
        await it.place(BOOKS_0, "w0", "w2")
        await it.end({1: ItemState.DONE})
        undo, anew = await it.operator.plan(PlanRebalance(undo="last"), 5.0), BareOperator(it.one)
        assert (await anew.operator.apply(ApplyRebalance(plan_id=undo.id), 5.0)).entry.plan == undo

    operated(scenario)


def test_a_plan_of_a_file_is_taken_as_it_is_and_keeps_few_notes() -> None:
    async def scenario(it: Operated) -> None:
        pinned = tuple(PinnedShard(collection="books", shard=BOOKS_0, why="it moves") for _ in range(MOST_NOTES + 5))
        plan = dataclasses.replace(plan_of((MOVE,)), pinned=pinned)
        entry = (await it.operator.apply(ApplyRebalance(plan_id=plan.id, plan=plan), 5.0)).entry
        assert entry.plan == dataclasses.replace(plan, pinned=pinned[:MOST_NOTES])

    operated(scenario)


REFUSED = [
    (plan_of((MOVE,), cluster="other"), PreconditionFailed, "is for cluster 'other', this is c"),
    (plan_of(), PreconditionFailed, "nothing to do"),
    (plan_of((move_of(BOOKS_0, "w1", "w1"),)), InvalidArgument, "from worker 'w1' to itself"),
    (plan_of((move_of(BOOKS_0, "w1", "w9"),)), InvalidArgument, "worker 'w9' does not exist"),
    (plan_of((move_of(BOOKS_0, "w2", "w1"),)), InvalidArgument, "worker w2 holds no replica of it"),
]


@pytest.mark.parametrize(("plan", "kind", "text"), REFUSED)
def test_a_plan_that_cannot_be_is_refused_and_nothing_is_changed(plan: object, kind: type[ShoalError], text: str) -> None:
    async def scenario(it: Operated) -> None:
        before = it.map.revision
        with pytest.raises(kind, match=text) as caught:
            await it.operator.apply(ApplyRebalance(plan_id=plan.id, plan=plan), 5.0)  # type: ignore[attr-defined, arg-type]
        assert caught.value.details.field == "plan"
        assert (await it.one.store.list(KEYS.prefix, 1.0)).revision == before

    operated(scenario)


def test_a_plan_under_another_id_is_refused() -> None:
    async def scenario(it: Operated) -> None:
        with pytest.raises(InvalidArgument, match="the plan has the id 'a', not 'b'"):
            await it.operator.apply(ApplyRebalance(plan_id="b", plan=plan_of((MOVE,), id="a")), 5.0)

    operated(scenario)


def test_a_changed_cluster_is_told_with_every_reason() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.changes = (MOVE,), ["worker w2 is down", "books/0 grew from 1.0 MiB to 2.0 MiB"]
        with pytest.raises(PreconditionFailed, match=r"changed since this plan: worker w2 is down, books/0 grew from") as caught:
            await it.applied()
        assert caught.value.details.field == PLAN_IS_STALE
        assert await it.stored() is None

    operated(scenario)


def test_an_asked_by_that_is_too_long_is_refused() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        with pytest.raises(InvalidArgument, match="asked_by has 1001 characters, at most 1000"):
            await it.operator.apply(ApplyRebalance(plan_id=await it.planned(), asked_by="x" * 1001), 5.0)
        assert await it.stored() is None

    operated(scenario)


def test_progress_shows_the_bytes_that_the_target_has_fetched() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves, it.logic.states = (MOVE,), {1: ItemState.COPYING}
        status = status_of({BOOKS_0: (MIB, 0)})
        (replica,) = status.replicas.values()
        copied = dataclasses.replace(replica, snapshot=SnapshotProgress(done_bytes=5, total_bytes=9, bytes_per_s=2.5))
        it.op.calls.told[WorkerId("w2")] = dataclasses.replace(status, replicas={str(BOOKS_0): copied})
        await it.applied()
        (item,) = (await it.operator.describe(DescribeRebalance(), 5.0)).items
        assert (item.state, item.done_bytes, item.total_bytes, item.bytes_per_s) == (ItemState.COPYING, 5, 9, 2.5)

    operated(scenario)


def test_a_plan_that_has_ended_tells_the_wait_at_a_hand_over_after_the_last_question_to_its_worker() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        entry = (await it.applied()).entry
        time = HandOverTime(seconds=0.25, ended_ms=entry.started_ms)
        it.op.calls.told[WorkerId("w1")] = dataclasses.replace(status_of({}), hand_overs={str(BOOKS_0): time})
        assert (await it.operator.describe(DescribeRebalance(), 5.0)).longest_wait_s == 0.0
        await it.end({1: ItemState.DONE})
        assert (await it.operator.describe(DescribeRebalance(), 5.0)).longest_wait_s == 0.25
        asked = it.op.calls.asked
        assert (await it.operator.describe(DescribeRebalance(), 5.0)).longest_wait_s == 0.25
        assert it.op.calls.asked == asked, "workers are asked once"

    operated(scenario)


def test_without_a_plan_there_is_nothing_to_describe_to_control_or_to_undo() -> None:
    async def scenario(it: Operated) -> None:
        for plan_id in ("", "8c1f09"):
            with pytest.raises(NotFound, match=r"no plan was applied yet|no plan with the id '8c1f09'"):
                await it.operator.describe(DescribeRebalance(plan_id=plan_id), 5.0)
        for undo in ("last", "8c1f09"):
            with pytest.raises(NotFound):
                await it.operator.plan(PlanRebalance(undo=undo), 5.0)
        for action in PlanAction:
            with pytest.raises(PreconditionFailed, match="no plan runs"):
                await it.operator.control(ControlRebalance(action=action), 5.0)
        assert (await it.operator.history(ListRebalances(), 5.0)).plans == ()

    operated(scenario)


def test_a_plan_is_paused_resumed_and_cancelled_and_each_again_does_nothing() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        plan = (await it.applied()).entry.plan.id
        wanted = [(PlanAction.PAUSE, PlanState.PAUSED), (PlanAction.RESUME, PlanState.RUNS), (PlanAction.CANCEL, PlanState.CANCELLED)]
        for action, state in wanted:
            for plan_id in ("", plan):
                progress = await it.operator.control(ControlRebalance(action=action, plan_id=plan_id, asked_by="me"), 5.0)
                assert progress.entry.state is state
                assert progress.entry == await it.stored()
            if state is PlanState.PAUSED:
                assert [item.reason for item in progress.items] == ["paused"]
        names = ["apply-plan", "pause-plan", "resume-plan", "cancel-plan"]
        assert await it.actions() == [(name, plan, "me") for name in names]
        for action in (PlanAction.PAUSE, PlanAction.RESUME):
            with pytest.raises(PreconditionFailed, match=f"no plan runs: {plan} is cancelled"):
                await it.operator.control(ControlRebalance(action=action), 5.0)
        with pytest.raises(PreconditionFailed, match=f"plan 'other' does not run, the newest one is {plan}"):
            await it.operator.control(ControlRebalance(action=PlanAction.CANCEL, plan_id="other"), 5.0)

    operated(scenario)


@pytest.mark.parametrize("fault", [CommitFault.LOST_BEFORE, CommitFault.LOST_AFTER])
def test_a_pause_whose_answer_was_lost_is_carried_out_once(fault: CommitFault) -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.applied()
        it.one.store.fail_next_commit(fault)
        progress = await it.operator.control(ControlRebalance(action=PlanAction.PAUSE, asked_by="me"), 5.0)
        assert progress.entry.state is PlanState.PAUSED
        assert [action for action, *_ in await it.actions()] == ["apply-plan", "pause-plan"]

    operated(scenario)


def test_a_pause_does_not_undo_what_a_round_noted_at_the_same_time() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.applied()
        commit, noting = it.one.store.commit, [True]

        async def late(transaction: Transaction, timeout_s: float) -> object:
            if noting.pop() if noting else False:
                found = await it.one.store.get(KEYS.rebalance, 1.0)
                assert found is not None
                noted = dataclasses.replace(decode_rebalance(found.key, found.value, found.mod_revision), given_up={1: "no room"})
                await commit(Transaction(then=(Put(key=KEYS.rebalance, value=encode_rebalance(noted)),)), 1.0)
            return await commit(transaction, timeout_s)

        it.one.store.commit = late  # type: ignore[method-assign, assignment]
        progress = await it.operator.control(ControlRebalance(action=PlanAction.PAUSE), 5.0)
        assert (progress.entry.state, dict(progress.entry.given_up)) == (PlanState.PAUSED, {1: "no room"})
        assert [item.reason for item in progress.items] == ["no room"]

    operated(scenario)


def test_the_history_is_newest_first_counts_outcomes_and_stays_short() -> None:
    async def scenario(it: Operated) -> None:
        ids = []
        for number in range(MOST_KEPT_PLANS + 3):
            it.logic.moves, it.logic.hand_overs = (MOVE,), (hand_over_of(BOOKS_1, "w1", "w0", number=number + 2),)
            ids.append((await it.applied()).entry.plan.id)
            it.op.clock.advance(1.0)
            await it.end({1: ItemState.DONE, number + 2: ItemState.FAILED})
            await it.op.balancing.turn()
        listing = await it.one.store.list(KEYS.plans, 1.0)
        assert len(listing.entries) <= MOST_KEPT_PLANS
        plans = (await it.operator.history(ListRebalances(limit=100), 5.0)).plans
        assert [plan.id for plan in plans] == ids[::-1][: len(plans)]
        assert len(plans) in (MOST_KEPT_PLANS, MOST_KEPT_PLANS + 1)
        newest = plans[0]
        assert (newest.items, newest.done, newest.failed, newest.skipped, newest.bytes) == (2, 1, 1, 0, 2 * MIB)
        assert (newest.kind, newest.state, newest.asked_by) == (PlanKind.BALANCE, PlanState.DONE, "me")
        assert newest.ended_ms - newest.started_ms == 1_000
        assert len((await it.operator.history(ListRebalances(limit=2), 5.0)).plans) == 2
        older = await it.operator.describe(DescribeRebalance(plan_id=ids[-3]), 5.0)
        assert (older.entry.plan.id, [item.state for item in older.items]) == (ids[-3], [ItemState.DONE, ItemState.FAILED])
        with pytest.raises(NotFound):
            await it.operator.describe(DescribeRebalance(plan_id=ids[0]), 5.0)
        with pytest.raises(InvalidArgument, match="limit is 0"):
            await it.operator.history(ListRebalances(limit=0), 5.0)

    operated(scenario)


def test_a_plan_in_the_history_already_is_not_listed_twice() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        await it.applied()
        await it.end({1: ItemState.DONE})
        entry = await it.stored()
        assert entry is not None
        await it.put(Put(key=KEYS.ended_plan(entry.started_ms, entry.plan.id), value=encode_rebalance(entry)))
        assert len((await it.operator.history(ListRebalances(), 5.0)).plans) == 1
        it.logic.moves = (RAW_MOVE,)
        await it.applied()
        assert len((await it.operator.history(ListRebalances(), 5.0)).plans) == 2

    operated(scenario)


def test_a_plan_that_has_not_ended_is_not_undone() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        plan = (await it.applied()).entry.plan.id
        with pytest.raises(PreconditionFailed, match=f"plan {plan} has not ended"):
            await it.operator.plan(PlanRebalance(undo="last"), 5.0)

    operated(scenario)


def test_an_undo_takes_back_what_was_done_and_an_undo_of_it_does_it_again() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE, RAW_MOVE)
        first = (await it.applied()).entry.plan.id
        await it.place(BOOKS_0, "w0", "w2")
        await it.end({1: ItemState.DONE, 2: ItemState.FAILED})
        undo = await it.operator.plan(PlanRebalance(undo=first), 5.0)
        assert (undo.kind, undo.subject) == (PlanKind.UNDO, first)
        assert [(move.shard, move.source, move.target) for move in undo.moves] == [(BOOKS_0, "w2", "w1")]
        await it.operator.apply(ApplyRebalance(plan_id=undo.id), 5.0)
        await it.place(BOOKS_0, "w0", "w1")
        await it.end({1: ItemState.DONE})
        again = await it.operator.plan(PlanRebalance(undo="last"), 5.0)
        assert [(move.shard, move.source, move.target) for move in again.moves] == [(BOOKS_0, "w1", "w2")]

    operated(scenario)


def test_only_the_newest_plans_are_remembered() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        first = await it.planned()
        for number in range(MOST_MADE_PLANS):
            it.logic.moves = (dataclasses.replace(MOVE, number=number + 2),)
            await it.planned()
        with pytest.raises(PreconditionFailed, match="not known here"):
            await it.operator.apply(ApplyRebalance(plan_id=first), 5.0)

    operated(scenario)


def test_a_store_that_keeps_losing_answers_ends_in_an_error_and_so_does_a_call_without_time() -> None:
    async def scenario(it: Operated) -> None:
        it.logic.moves = (MOVE,)
        plan = await it.planned()
        for _ in range(20):
            it.one.store.fail_next_commit(CommitFault.LOST_BEFORE)
        with pytest.raises(Unavailable, match="could not be applied"):
            await it.operator.apply(ApplyRebalance(plan_id=plan), 60.0)
        with pytest.raises(DeadlineExceeded):
            await it.operator.apply(ApplyRebalance(plan_id=plan), 0.0)

    operated(scenario)


def test_who_does_not_lead_refuses() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        op = BareOperator(one).operator
        try:
            calls = (
                op.plan(PlanRebalance(), 1.0),
                op.apply(ApplyRebalance(plan_id="p"), 1.0),
                op.describe(DescribeRebalance(), 1.0),
                op.control(ControlRebalance(action=PlanAction.PAUSE), 1.0),
                op.history(ListRebalances(), 1.0),
            )
            for call in calls:
                with pytest.raises(Unavailable, match="no coordinator leads now"):
                    await call
        finally:
            await one.stop()

    asyncio.run(scenario())


def test_a_cluster_without_an_id_is_planned_later() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        one = BareCoordinator(MemoryCluster(clock), clock)
        async with running(one, acting=False):
            await one.leading()
            with pytest.raises(Unavailable, match="has no id yet"):
                await BareOperator(one).operator.plan(PlanRebalance(), 1.0)

    asyncio.run(scenario())
