"""What a plan moves in the end, and in which order.

Replicas are equal, so only the net difference of a shard counts: chains and exchanges of one shard fall away, and no
target has held the shard before. Each move alone leaves the shard with all its replicas, so a plan may stop anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from shoal.coordinator.logic.balance_state import NOBODY, BalanceState, Shift


def net_shifts(state: BalanceState) -> tuple[tuple[Shift, ...], int]:
    """Return the moves from the first homes to the present ones, as far as possible so that the fullest worker gets no
    fuller, and how many further moves have no room in any order.
    """
    chosen = {(shift.shard, shift.target): at for at, shift in enumerate(state.shifts)}
    why: dict[tuple[int, int], str] = {}
    for shift in state.shifts:
        why.setdefault((shift.shard, shift.source), shift.why)
    found: list[tuple[int, Shift]] = []
    for shard in sorted({shift.shard for shift in state.shifts}):
        before, after = _named(state.first_homes[shard]), _named(state.homes[shard])
        left = [home for home in before if home not in after]
        came = sorted((home for home in after if home not in before), key=lambda home: chosen[shard, home])
        for source, target in _pairs(state, left, came):
            found.append((chosen[shard, target], Shift(shard, source, target, why.get((shard, source), "balance"))))
    return _ordered(state, [shift for _, shift in sorted(found, key=lambda each: each[0])])


def _named(homes: Iterable[int]) -> list[int]:
    return sorted(int(home) for home in homes if home != NOBODY)


def _pairs(state: BalanceState, left: Sequence[int], came: Sequence[int]) -> list[tuple[int, int]]:
    """Return which worker takes the place of which: within a zone where that is possible."""
    pairs: list[tuple[int, int]] = []
    going, coming = list(left), list(came)
    for source in left:
        near = next((target for target in coming if state.zone[target] == state.zone[source]), None)
        if near is not None:
            pairs.append((source, near))
            going.remove(source)
            coming.remove(near)
    return pairs + list(zip(going, coming, strict=True))


def _ordered(state: BalanceState, waiting: list[Shift]) -> tuple[tuple[Shift, ...], int]:
    """Return the moves so that none fills a worker beyond the fullest of now, or beyond what it should hold, and how
    many have no room at all.

    A move without a place waits until others have left. If all wait, the one that fills its target least goes first.
    """
    load, disk = state.first_load.copy(), state.first_disk_load.copy()
    fullest = np.maximum((load / state.capacity).max(initial=0.0), (state.target + state.slack) / state.capacity)
    done: list[Shift] = []

    def fullness(shift: Shift) -> float:
        return float((load[shift.target] + state.size[shift.shard]) / state.capacity[shift.target])

    def fits(shift: Shift) -> bool:
        in_memory = load[shift.target] + state.size[shift.shard] <= state.memory[shift.target]
        return bool(in_memory and disk[shift.target] + state.disk[shift.shard] <= state.disk_size[shift.target])

    def go(shift: Shift) -> None:
        for worker, change in ((shift.source, -1), (shift.target, 1)):
            load[worker] += change * state.size[shift.shard]
            disk[worker] += change * state.disk[shift.shard]
        done.append(shift)

    while waiting:
        later: list[Shift] = []
        for shift in waiting:
            if fits(shift) and fullness(shift) <= fullest[shift.target] + 1e-9:
                go(shift)
            else:
                later.append(shift)
        if len(later) == len(waiting):
            fitting = [shift for shift in later if fits(shift)]
            if not fitting:
                return tuple(done), len(later)
            first = min(fitting, key=fullness)
            later.remove(first)
            go(first)
        waiting = later
    return tuple(done), 0
