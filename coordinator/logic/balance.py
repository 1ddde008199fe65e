"""Plans which replicas move to which workers and which shards change their primary, so that every worker holds and
leads its share.

Pure: the same workers and shards, in any order, give the same plan. A second plan after the first one is empty.
The phases are described in docs/design/balance.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from shoal.coordinator.logic.balance_model import (
    BalanceOutcome,
    BalanceShard,
    BalanceWorker,
    LeadershipChange,
    PlannerSettings,
    ReplicaMove,
)
from shoal.coordinator.logic.balance_moves import settle
from shoal.coordinator.logic.balance_order import net_shifts
from shoal.coordinator.logic.balance_primaries import PrimaryBalance
from shoal.coordinator.logic.balance_state import NOBODY, BalanceState, Ints, Shift
from shoal.coordinator.logic.balance_targets import least_bytes
from shoal.coordinator.logic.balance_words import cut_left, drains_left, off_left, reason, room_left
from shoal.core.ids import WorkerId

DEFAULT_SETTINGS = PlannerSettings()


def planned(
    workers: Sequence[BalanceWorker], shards: Sequence[BalanceShard], settings: PlannerSettings = DEFAULT_SETTINGS
) -> BalanceOutcome:
    """Return the moves and the hand-overs that bring every worker within the tolerance of its target, and what cannot
    be mended.

    At most settings.most_moves moves: the first ones; the rest is planned when these are done. settings.only_drains:
    only what drained workers need.
    """
    state = BalanceState(workers, shards, settings)
    settle(state)
    shifts, without_room = net_shifts(state)
    kept = shifts[: settings.most_moves]
    homes, load = _after(state, kept)
    primaries = _primaries_after(state, kept)
    balance = PrimaryBalance(state, homes, primaries)
    balance.balance()
    changes = [shard for shard, before in enumerate(primaries) if before != balance.primaries[shard]]
    handed, later = changes[: settings.most_hand_overs], changes[settings.most_hand_overs :]
    for shard in later:
        balance.primaries[shard] = primaries[shard]
    return BalanceOutcome(
        moves=tuple(_move_of(state, shift) for shift in kept),
        hand_overs=tuple(_change_of(state, shard, primaries[shard], balance.primaries[shard]) for shard in handed),
        before=_by_worker(state, state.first_load),
        after=_by_worker(state, load),
        targets=_by_worker(state, np.rint(state.target).astype(np.int64)),
        primaries_before=_by_worker(state, _counted(state, _primaries_after(state, ()))),
        primaries_after=_by_worker(state, _counted(state, balance.primaries)),
        least_bytes=least_bytes(state),
        left=(*_left(state, shifts[len(kept) :], later, homes), *room_left(without_room)),
    )


def _left(state: BalanceState, cut: Sequence[Shift], later: Sequence[int], homes: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Return what the plan does not mend, in words. What is only cut off is not counted as impossible."""
    if cut or later:
        return cut_left(state, cut, len(later))
    drained = drains_left(state, homes)
    return drained if state.settings.only_drains else (*drained, *off_left(state))


def _after(state: BalanceState, shifts: Iterable[Shift]) -> tuple[list[list[int]], Ints]:
    """Return the homes of every shard, and the bytes on every worker, after these moves."""
    homes = [[int(home) for home in row if home != NOBODY] for row in state.first_homes]
    load = state.first_load.copy()
    for shift in shifts:
        row = homes[shift.shard]
        row[row.index(shift.source)] = shift.target
        load[shift.source] -= state.size[shift.shard]
        load[shift.target] += state.size[shift.shard]
    return homes, load


def _primaries_after(state: BalanceState, shifts: Iterable[Shift]) -> list[int]:
    """Return the worker of every primary after these moves: a primary that moves leads where it comes to."""
    primaries = [state.number_of.get(shard.primary, NOBODY) if shard.primary is not None else NOBODY for shard in state.shards]
    for shift in shifts:
        if primaries[shift.shard] == shift.source:
            primaries[shift.shard] = shift.target
    return primaries


def _move_of(state: BalanceState, shift: Shift) -> ReplicaMove:
    return ReplicaMove(
        shard=state.shards[shift.shard].id,
        source=state.workers[shift.source].id,
        target=state.workers[shift.target].id,
        why=reason(state, shift),
    )


def _change_of(state: BalanceState, shard: int, source: int, target: int) -> LeadershipChange:
    return LeadershipChange(shard=state.shards[shard].id, source=state.workers[source].id, target=state.workers[target].id)


def _counted(state: BalanceState, primaries: Iterable[int]) -> Ints:
    led = [primary for primary in primaries if primary != NOBODY]
    return np.bincount(np.array(led, dtype=np.int64), minlength=len(state.workers)).astype(np.int64)


def _by_worker(state: BalanceState, values: Ints) -> Mapping[WorkerId, int]:
    return {worker.id: int(value) for worker, value in zip(state.workers, values, strict=True)}
