"""Plans, their progress, workers and requests of operators, of all shapes that a message can hold."""

from __future__ import annotations

from hypothesis import strategies as st

from shoal.core.health import WorkerCondition
from shoal.core.ids import ClusterId, CollectionId, Revision, ShardId, WorkerId
from shoal.core.operations import (
    ApplyRebalance,
    ControlRebalance,
    DescribeRebalance,
    DrainWorker,
    ForgetWorker,
    ItemProgress,
    ListRebalances,
    ListWorkers,
    PlanAction,
    PlanRebalance,
    PlanSummary,
    RebalanceHistory,
    RebalanceProgress,
    SetBalance,
    UndrainWorker,
    WorkerForgotten,
    WorkerStanding,
    WorkerStandings,
)
from shoal.core.rebalance import (
    BalanceSettings,
    Drain,
    ItemState,
    PinnedShard,
    PlanKind,
    PlannedHandOver,
    PlannedMove,
    PlanState,
    RebalanceEntry,
    RebalancePlan,
    WorkerBalance,
)

TEXTS = st.text(max_size=8)
COUNTS = st.integers(0, 2**32 - 1)
SIZES = st.integers(0, 2**64 - 1)
TIMES_MS = st.integers(0, 2**45)
AMOUNTS = st.floats(0, allow_nan=False, allow_infinity=False)
WORKERS = TEXTS.map(WorkerId)
KINDS = st.sampled_from([each for each in PlanKind if each is not PlanKind.UNKNOWN])

shards = st.builds(ShardId, TEXTS.map(CollectionId), COUNTS)
moves = st.builds(
    PlannedMove,
    number=COUNTS,
    collection=TEXTS,
    shard=shards,
    source=WORKERS,
    target=WORKERS,
    memory_bytes=SIZES,
    disk_bytes=SIZES,
    why=TEXTS,
)
hand_overs = st.builds(PlannedHandOver, number=COUNTS, collection=TEXTS, shard=shards, source=WORKERS, target=WORKERS)
worker_balances = st.builds(
    WorkerBalance,
    worker=WORKERS,
    zone=TEXTS,
    capacity_bytes=SIZES,
    bytes=SIZES,
    target_bytes=SIZES,
    after_bytes=SIZES,
    primaries=COUNTS,
    primaries_after=COUNTS,
    in_bytes=SIZES,
    out_bytes=SIZES,
    draining=st.booleans(),
)
plans = st.builds(
    RebalancePlan,
    id=TEXTS,
    kind=KINDS,
    subject=TEXTS,
    cluster=TEXTS.map(ClusterId),
    revision=SIZES.map(Revision),
    fingerprint=TEXTS,
    tolerance=AMOUNTS,
    replicas=COUNTS,
    workers=st.lists(worker_balances, max_size=2).map(tuple),
    moves=st.lists(moves, max_size=2).map(tuple),
    hand_overs=st.lists(hand_overs, max_size=2).map(tuple),
    bytes=SIZES,
    least_bytes=SIZES,
    seconds=AMOUNTS,
    pinned=st.lists(st.builds(PinnedShard, collection=TEXTS, shard=shards, why=TEXTS), max_size=2).map(tuple),
    left=st.lists(TEXTS, max_size=2).map(tuple),
)
items = st.builds(
    ItemProgress,
    number=COUNTS,
    state=st.sampled_from(ItemState),
    done_bytes=SIZES,
    total_bytes=SIZES,
    bytes_per_s=AMOUNTS,
    reason=TEXTS,
)
progresses = st.builds(
    RebalanceProgress,
    entry=st.builds(RebalanceEntry, plan=plans, state=st.sampled_from(PlanState), asked_by=TEXTS, started_ms=TIMES_MS, ended_ms=TIMES_MS),
    items=st.lists(items, max_size=3).map(tuple),
    longest_wait_s=AMOUNTS,
)
settings = st.builds(BalanceSettings, auto=st.booleans(), tolerance=AMOUNTS, moves_at_once=COUNTS, move_bytes_per_s=SIZES)
histories = st.builds(
    RebalanceHistory,
    plans=st.lists(
        st.builds(
            PlanSummary,
            id=TEXTS,
            kind=st.sampled_from(PlanKind),
            subject=TEXTS,
            state=st.sampled_from(PlanState),
            asked_by=TEXTS,
            started_ms=TIMES_MS,
            ended_ms=TIMES_MS,
            items=COUNTS,
            done=COUNTS,
            failed=COUNTS,
            skipped=COUNTS,
            bytes=SIZES,
        ),
        max_size=3,
    ).map(tuple),
)
standings = st.builds(
    WorkerStanding,
    worker=WORKERS,
    state=st.sampled_from(WorkerCondition),
    zone=TEXTS,
    drain=st.none() | st.builds(Drain, primaries_only=st.booleans(), asked_by=TEXTS, since_ms=TIMES_MS),
    replicas=COUNTS,
    primaries=COUNTS,
    left=COUNTS,
    memory_bytes=SIZES,
    disk_bytes=SIZES,
    memory_budget_bytes=SIZES,
    started_ms=TIMES_MS,
    down_s=AMOUNTS,
    replaced_in_s=st.none() | AMOUNTS,
)
workers = st.builds(WorkerStandings, workers=st.lists(standings, max_size=2).map(tuple), balance=settings)
forgotten = st.builds(WorkerForgotten, done=st.booleans(), worker=WORKERS, down_s=AMOUNTS, copies=COUNTS)

requests = {
    PlanRebalance: st.builds(PlanRebalance, undo=TEXTS),
    ApplyRebalance: st.builds(ApplyRebalance, plan_id=TEXTS, plan=st.none() | plans, asked_by=TEXTS, request_id=TEXTS),
    DescribeRebalance: st.builds(DescribeRebalance, plan_id=TEXTS),
    ControlRebalance: st.builds(ControlRebalance, action=st.sampled_from(PlanAction), plan_id=TEXTS, asked_by=TEXTS),
    SetBalance: st.builds(
        SetBalance,
        auto=st.none() | st.booleans(),
        tolerance=st.none() | AMOUNTS,
        moves_at_once=st.none() | COUNTS,
        move_bytes_per_s=st.none() | SIZES,
        asked_by=TEXTS,
    ),
    ListRebalances: st.builds(ListRebalances, limit=st.integers(1, 2**32 - 1)),
    ListWorkers: st.just(ListWorkers()),
    DrainWorker: st.builds(DrainWorker, worker=TEXTS, primaries_only=st.booleans(), asked_by=TEXTS),
    UndrainWorker: st.builds(UndrainWorker, worker=TEXTS, asked_by=TEXTS),
    ForgetWorker: st.builds(ForgetWorker, worker=TEXTS, confirmed=st.booleans(), asked_by=TEXTS),
}
"""Requests by their class."""

answers = {
    PlanRebalance: plans,
    ApplyRebalance: progresses,
    DescribeRebalance: progresses,
    ControlRebalance: progresses,
    SetBalance: settings,
    ListRebalances: histories,
    ListWorkers: workers,
    DrainWorker: standings,
    UndrainWorker: standings,
    ForgetWorker: forgotten,
}
"""Answers by the class of their request."""
