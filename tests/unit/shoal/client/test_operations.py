"""Test the verbs of both clients for plans and workers, over the twin of a coordinator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import shoal
from shoal.core.errors import DeadlineExceeded, InvalidArgument, NotFound, PreconditionFailed, Unavailable
from shoal.core.operations import ApplyRebalance, DescribeRebalance, DrainWorker, ListWorkers, PlanRebalance
from shoal.core.rebalance import PlanKind, PlanState
from tests.twins.balancing import PLAN, STEPS, UNDO, B
from tests.twins.router_answers import DictCluster, MockedClient, PausingClock, async_client_with, client_with


def connected(cluster: DictCluster | None = None, clock: PausingClock | None = None) -> tuple[MockedClient, DictCluster]:
    cluster = cluster or DictCluster()
    return client_with(cluster, clock=clock), cluster


def test_a_plan_changes_nothing_and_is_applied_as_it_is() -> None:
    client, cluster = connected()
    plan = client.rebalance.plan()
    assert (plan, cluster.balancing.entries) == (PLAN, [])
    progress = client.rebalance.apply(plan, asked_by="me")
    assert (progress.entry.plan, progress.entry.asked_by, progress.over) == (PLAN, "me", False)
    (asked,) = client.mock.requests(ApplyRebalance)
    assert (asked.plan_id, asked.plan, len(asked.request_id)) == ("8c1f09", PLAN, 32)


def test_a_plan_is_applied_by_its_id_once_however_often_it_is_sent() -> None:
    cluster, failing = DictCluster(), [Unavailable("not ready")] * 3

    def answer(address: str, request: Any, timeout_s: float) -> Any:
        if isinstance(request, ApplyRebalance) and failing:
            raise failing.pop()
        return cluster(address, request, timeout_s)

    client = client_with(answer, clock=PausingClock())
    client.rebalance.apply("8c1f09")
    asked = client.mock.requests(ApplyRebalance)
    assert (len(asked), {each.plan for each in asked}, len({each.request_id for each in asked})) == (4, {None}, 1)


def test_watching_tells_each_change_and_ends_with_the_plan() -> None:
    clock = PausingClock()
    client, cluster = connected(clock=clock)
    client.rebalance.apply(PLAN)
    cluster.balancing.steps = (*STEPS[:2], *STEPS[1:])
    told = list(client.rebalance.watch(every=2.0))
    assert [each.over for each in told] == [False] * (len(STEPS) - 2) + [True]
    assert set(clock.pauses) == {2.0}
    assert len(clock.pauses) == len(STEPS) - 1, "what is as it was is looked at, and not told"
    assert [each.plan_id for each in client.mock.requests(DescribeRebalance)] == ["", *["8c1f09"] * (len(STEPS) - 1)]


def test_watching_stays_with_its_plan() -> None:
    client, _ = connected(clock=PausingClock())
    client.rebalance.apply(PLAN)
    watched = client.rebalance.watch()
    next(watched)
    with pytest.raises(NotFound, match="'another' was never applied"):
        next(client.rebalance.watch("another"))
    assert {each.entry.plan.id for each in watched} == {"8c1f09"}


def test_undoing_plans_and_applies_what_can_be_undone() -> None:
    client, cluster = connected()
    client.rebalance.apply(PLAN)
    list(client.rebalance.watch(every=0.001))
    assert client.rebalance.undo(asked_by="me").entry.plan == UNDO
    assert [each.undo for each in client.mock.requests(PlanRebalance)] == ["last"]
    assert [each.plan.kind for each in cluster.balancing.entries] == [PlanKind.UNDO, PlanKind.BALANCE]


def test_nothing_to_undo_is_told_with_the_reason() -> None:
    client, cluster = connected()
    with pytest.raises(NotFound, match="no plan was applied yet"):
        client.rebalance.undo()
    client.rebalance.apply(PLAN)
    cluster.balancing.undoes = type(UNDO)(**{**_fields(UNDO), "moves": (), "hand_overs": ()})
    with pytest.raises(PreconditionFailed, match=r"^nothing of the plan 8c1f09 can be undone: things/4: worker 77c1-0002 is drained"):
        client.rebalance.undo()
    assert len(client.mock.requests(ApplyRebalance)) == 1


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_a_plan_is_paused_resumed_and_cancelled() -> None:
    client, _ = connected()
    client.rebalance.apply(PLAN)
    states = [getattr(client.rebalance, verb)().entry.state for verb in ("pause", "resume", "cancel")]
    assert states == [PlanState.PAUSED, PlanState.RUNS, PlanState.CANCELLED]


def test_a_drain_waits_until_nothing_is_left() -> None:
    clock = PausingClock()
    client, _ = connected(clock=clock)
    standing = client.workers.drain("77c1")
    assert (standing.worker, standing.replicas, standing.primaries, standing.left) == (B, 0, 0, 0)
    assert clock.pauses == [0.5, 0.5, 0.5]
    (asked,) = client.mock.requests(DrainWorker)
    assert (asked.worker, asked.primaries_only) == ("77c1", False)


def test_a_drain_for_a_restart_ends_when_it_leads_nothing() -> None:
    client, _ = connected(clock=PausingClock())
    standing = client.workers.drain(B, primaries=True)
    assert (standing.primaries, standing.replicas) == (0, 7)
    assert client.mock.requests(ListWorkers) == []


def test_waiting_for_a_drain_ends_after_the_seconds_that_were_given() -> None:
    clock = PausingClock()
    client, cluster = connected(clock=clock)
    cluster.balancing.drain_steps = [(7, 0)] * 9
    with pytest.raises(DeadlineExceeded, match=r"77c1-0002 is not drained after 1.2 s, 7 replicas are to leave it .* goes on"):
        client.workers.drain(B, wait=1.2)
    assert sum(clock.pauses) == pytest.approx(1.2)
    assert client.workers.drain(B, wait=False).left == 7


def test_a_drain_that_is_taken_back_meanwhile_is_told() -> None:
    client, cluster = connected(clock=PausingClock())
    listed = cluster.balancing.ListWorkers

    def taken_back(request: ListWorkers) -> Any:
        client.workers.undrain(B)
        return listed(request)

    cluster.balancing.ListWorkers = taken_back  # type: ignore[method-assign]
    with pytest.raises(PreconditionFailed, match="77c1-0002 is not drained any more"):
        client.workers.drain(B)


def test_a_worker_that_is_switched_off_once_it_is_empty_was_drained() -> None:
    client, cluster = connected(clock=PausingClock())
    listed = cluster.balancing.ListWorkers

    def switched_off(request: ListWorkers) -> Any:
        cluster.balancing.workers.pop(B, None)
        cluster.balancing.drain_steps = []
        return listed(request)

    cluster.balancing.ListWorkers = switched_off  # type: ignore[method-assign]
    standing = client.workers.drain(B)
    assert (standing.state, standing.replicas, standing.left) == ("down", 0, 0)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda client: client.rebalance.apply(7), "plan is 7, it must be a plan, or the id of one"),
        (lambda client: client.rebalance.plan(7), "undo is 7, it must be a text on one line"),
        (lambda client: client.rebalance.watch(every=0), "every is 0, it must be a positive number of seconds"),
        (lambda client: client.rebalance.set(tolerance=0), "tolerance is 0, it must be a share above 0 and at most 1"),
        (lambda client: client.rebalance.set(tolerance=1.5), "tolerance is 1.5, it must be a share above 0 and at most 1"),
        (lambda client: client.rebalance.set(auto="on"), "auto is 'on', it must be True or False"),
        (lambda client: client.rebalance.set(moves_at_once=0), "moves_at_once is 0"),
        (lambda client: client.rebalance.set(move_bytes_per_s=1.5), "move_bytes_per_s is 1.5, it must be a whole number of bytes"),
        (lambda client: client.rebalance.set(move_bytes_per_s=2**64), "move_bytes_per_s is 18446744073709551616"),
        (lambda client: client.rebalance.history(0), "limit is 0"),
        (lambda client: client.workers.drain(""), "worker is empty, give its id or the beginning of it"),
        (lambda client: client.workers.drain("a", wait="soon"), "wait is 'soon', it must be True, False or a positive number"),
        (lambda client: client.workers.drain("a", wait=0), "wait is 0, it must be"),
        (lambda client: client.workers.forget("a\nb"), r"worker is 'a\\nb', it must be a text on one line"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(ask: Any, said: str) -> None:
    client, _ = connected()
    with pytest.raises(InvalidArgument, match=said):
        ask(client)
    assert client.mock.sent == []


def test_the_asyncio_client_waits_and_watches_too() -> None:
    async def story() -> tuple[list[bool], Any]:
        client = async_client_with(DictCluster(), clock=PausingClock())
        await client.rebalance.apply(PLAN)
        over = [each.over async for each in client.rebalance.watch()]
        with pytest.raises(InvalidArgument, match="every is 0"):
            client.rebalance.watch(every=0)
        with pytest.raises(DeadlineExceeded, match="is not drained after"):
            await client.workers.drain("77c1", wait=0.25)
        return over, await client.workers.drain("77c1")

    over, standing = asyncio.run(story())
    assert over == [False, False, False, True]
    assert standing.replicas == 0


def test_answers_of_operators_are_public_classes() -> None:
    client, _ = connected()
    answers = [client.rebalance.plan(), client.rebalance.apply(PLAN), client.rebalance.set(), *client.workers.list()]
    answers += [*client.rebalance.history(), client.workers.forget("d1")]
    for answer in answers:
        assert getattr(shoal, type(answer).__name__) is type(answer)
    assert client.workers.list()._repr_html_().startswith("<table")  # type: ignore[attr-defined]
