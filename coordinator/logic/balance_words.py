"""Why a plan moves a replica, and why it leaves something as it is, in words for operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shoal.coordinator.logic.balance_state import BalanceState, Shift

MOST_LINES = 50
"""Most lines about what is left. Further ones are counted in one line."""

_NOT_WORTH = 0.01
"""Nobody is told of a worker that is this part of its target beyond the tolerance: mending it would move far more."""


def sized(number: int) -> str:
    """Return a number of bytes as people read it: "340 MiB", "1.1 GiB"."""
    scaled = float(number)
    for unit in ("B", "KiB", "MiB"):
        if scaled < 1024:
            return f"{scaled:.0f} {unit}"
        scaled /= 1024
    return f"{scaled:.1f} GiB" if scaled < 1024 else f"{scaled / 1024:.1f} TiB"


def reason(state: BalanceState, shift: Shift) -> str:
    """Return why a replica moves: the drain, the zones, or which of the two workers is further off before the plan."""
    source, target = state.workers[shift.source], state.workers[shift.target]
    if shift.why == "drain":
        return "drain"
    if shift.why == "zone":
        return f"zone {target.zone or '(none)'} holds no replica, zone {source.zone or '(none)'} several"
    over, under = _relative(state, shift.source), -_relative(state, shift.target)
    if max(over, under) <= state.settings.tolerance:
        return "makes room for others"
    return f"{source.id} is {_percent(over)} over" if over >= under else f"{target.id} is {_percent(under)} under"


def drains_left(state: BalanceState, homes: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Return which replicas cannot leave drained workers, and why. homes: workers of each shard after the plan."""
    lines: list[str] = []
    for shard, row in enumerate(homes):
        for worker in row:
            if not state.staying[worker] and not state.pinned[shard]:
                lines.append(f"{state.shards[shard].name} cannot leave {state.workers[worker].id}: {_no_refuge(state, shard, worker)}")
    return _bounded(lines, "replicas cannot leave drained workers")


def off_left(state: BalanceState) -> tuple[str, ...]:
    """Return which workers stay off their targets, and why."""
    off = state.off()
    lines: list[str] = []
    for worker in np.flatnonzero(state.staying & (np.abs(off) > state.slack + _NOT_WORTH * state.target + 1)).tolist():
        far = f"{_percent(abs(off[worker]) / max(1.0, state.target[worker]))} {'over' if off[worker] > 0 else 'under'}"
        lines.append(f"{state.workers[worker].id} stays {far}: {_why_off(state, worker, over=bool(off[worker] > 0))}")
    return _bounded(lines, "workers stay off their targets")


def cut_left(state: BalanceState, shifts: Sequence[Shift], hand_overs: int) -> tuple[str, ...]:
    """Return what comes after the most that one plan may do."""
    lines = []
    if shifts:
        size = sum(int(state.size[shift.shard]) for shift in shifts)
        lines.append(f"{len(shifts):,} more moves, {sized(size)}: make another plan when this one has ended")
    if hand_overs:
        lines.append(f"{hand_overs:,} more primaries: make another plan when this one has ended")
    return tuple(lines)


def room_left(moves: int) -> tuple[str, ...]:
    """Return that so many moves have no room before others leave, whatever the order; nothing for none."""
    return (f"{moves:,} more moves have no room in any order",) if moves else ()


def _no_refuge(state: BalanceState, shard: int, source: int) -> str:
    others = np.arange(len(state.workers))
    absent = state.accepts & ~np.isin(others, state.homes_of(shard))
    if not absent.any():
        return "every other worker holds it already, or takes nothing"
    if not state.may_go(shard, source, others, crowd=True).any():
        return "it would be in fewer zones"
    return f"no other worker has room for {sized(int(state.size[shard]))} in memory and {sized(int(state.disk[shard]))} on disk"


def _why_off(state: BalanceState, worker: int, *, over: bool) -> str:
    held = state.held(worker)
    if over and len(held) and bool(state.pinned[held].all()):
        return "all its replicas are pinned"
    if not over and not state.accepts[worker]:
        return "it takes nothing now"
    return "no move and no exchange brings it nearer"


def _relative(state: BalanceState, worker: int) -> float:
    """Return how far a worker was above its target before the plan, as a part of it."""
    return float((state.first_load[worker] - state.target[worker]) / max(1.0, state.target[worker]))


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _bounded(lines: Sequence[str], what: str) -> tuple[str, ...]:
    if len(lines) <= MOST_LINES:
        return tuple(lines)
    return (*lines[:MOST_LINES], f"{len(lines) - MOST_LINES:,} more {what}")
