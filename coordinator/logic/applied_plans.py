"""What operators are shown of an applied plan: its progress, item by item, and its summary in the history."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

from shoal.coordinator.logic.plan_run import Outcome, longest_wait_s
from shoal.coordinator.logic.reported_sizes import Statuses, replica_reported
from shoal.core.operations import ItemProgress, PlanSummary, RebalanceProgress
from shoal.core.rebalance import ItemState, PlannedMove, RebalanceEntry

States = Mapping[int, Outcome]
"""How far each item of a plan is, and why in words, by number."""

_COPIED = (ItemState.WARMING, ItemState.HANDING_OVER, ItemState.LEAVING, ItemState.DONE)


def progress_of(entry: RebalanceEntry, states: States, statuses: Statuses) -> RebalanceProgress:
    """Return an applied plan and how far its items are, by number. statuses: for the bytes of copies under way."""
    plan = entry.plan
    moves = (_move_progress(move, states[move.number], statuses) for move in plan.moves)
    hand_overs = (_item_progress(hand_over.number, states[hand_over.number]) for hand_over in plan.hand_overs)
    items = tuple(sorted((*moves, *hand_overs), key=lambda item: item.number))
    return RebalanceProgress(entry=entry, items=items, longest_wait_s=longest_wait_s(entry, statuses))


def summary_of(entry: RebalanceEntry, states: States) -> PlanSummary:
    """Return an applied plan, in short."""
    plan, counted = entry.plan, Counter(state for state, _ in states.values())
    return PlanSummary(
        id=plan.id,
        kind=plan.kind,
        subject=plan.subject,
        state=entry.state,
        asked_by=entry.asked_by,
        started_ms=entry.started_ms,
        ended_ms=entry.ended_ms,
        items=len(plan.moves) + len(plan.hand_overs),
        done=counted[ItemState.DONE],
        failed=counted[ItemState.FAILED],
        skipped=counted[ItemState.SKIPPED],
        bytes=plan.bytes,
    )


def _item_progress(number: int, outcome: Outcome) -> ItemProgress:
    state, reason = outcome
    return ItemProgress(number=number, state=state, reason=reason)


def _move_progress(move: PlannedMove, outcome: Outcome, statuses: Statuses) -> ItemProgress:
    item = dataclasses.replace(_item_progress(move.number, outcome), total_bytes=move.disk_bytes)
    if item.state in _COPIED:
        return dataclasses.replace(item, done_bytes=move.disk_bytes)
    found = replica_reported(statuses, move.target, move.shard)
    if item.state is not ItemState.COPYING or found is None or found.snapshot is None:
        return item
    copied = found.snapshot
    return dataclasses.replace(item, done_bytes=copied.done_bytes, total_bytes=copied.total_bytes, bytes_per_s=copied.bytes_per_s)
