"""How many bytes each worker should hold, and how many any plan has to move to get there.

A worker's target is its share of all bytes by capacity. But a zone can hold no more than every shard's replicas divided
by the zones, rounded up, and should hold no less than that rounded down: where zones are uneven, targets beyond these
bounds would never be reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shoal.coordinator.logic.balance_state import BalanceState

Floats = npt.NDArray[np.float64]

_HALVINGS = 60
"""Steps of the search for the level of all zones: more than a float can tell apart."""


def target_bytes(state: BalanceState) -> Floats:
    """Return the target of each worker, (W,) in bytes; 0 for one that is drained.

    A worker that is fixed keeps what it holds.
    """
    target = np.zeros(len(state.workers))
    fixed = state.fixed
    target[fixed] = state.load[fixed]
    sharing = state.staying & ~fixed
    zones = sorted({int(zone) for zone in state.zone[sharing]})
    if not zones:
        return target
    capacity = np.array([state.capacity[sharing & (state.zone == zone)].sum() for zone in zones])
    low, high = _zone_bounds(state, zones, fixed)
    for zone, bytes_of_zone, capacity_of_zone in zip(
        zones, _levelled(capacity, low, high, _shared_bytes(state, fixed)), capacity, strict=True
    ):
        members = sharing & (state.zone == zone)
        target[members] = bytes_of_zone * state.capacity[members] / capacity_of_zone
    return target


def least_bytes(state: BalanceState) -> int:
    """Return how many bytes have to be moved, whatever the plan, until every worker is within its tolerance.

    Each byte that is moved lowers one excess and one shortage.
    """
    off = state.first_load - state.target
    movable = _movable(state)
    excess = np.where(state.staying, np.maximum(0.0, off - state.slack), movable)
    if state.settings.only_drains:
        return int(excess[~state.staying].sum())
    shortage = np.maximum(0.0, -off - state.slack)[state.staying].sum()
    return int(max(excess.sum(), shortage))


def _movable(state: BalanceState) -> npt.NDArray[np.int64]:
    """Return the bytes of each worker's replicas, as they were first, that are not pinned."""
    movable = np.zeros(len(state.workers), dtype=np.int64)
    shard, place = np.nonzero((state.first_homes >= 0) & ~state.pinned[:, None])
    np.add.at(movable, state.first_homes[shard, place], state.size[shard])
    return movable


def _shared_bytes(state: BalanceState, fixed: npt.NDArray[np.bool_]) -> float:
    """Return the bytes that the others share: all but what stays where it is on drained and on fixed workers."""
    kept = state.first_load[fixed].sum() + (state.first_load - _movable(state))[~state.staying].sum()
    return float(state.first_load.sum() - kept)


def _zone_bounds(state: BalanceState, zones: list[int], fixed: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the fewest and the most bytes that each zone should hold on workers that are not fixed."""
    replicas = (state.first_homes >= 0).sum(axis=1)
    count = len(zones)
    low = float((state.size * (replicas // count)).sum())
    high = float((state.size * -(-replicas // count)).sum())
    held = np.array([state.first_load[fixed & (state.zone == zone)].sum() for zone in zones], dtype=np.float64)
    return np.maximum(0.0, low - held), np.maximum(0.0, high - held)


def _levelled(capacity: Floats, low: Floats, high: Floats, total: float) -> Floats:
    """Return the bytes of each zone: the same part of its capacity, within its bounds, `total` in all."""
    below, above = 0.0, 2 * total / max(1.0, float(capacity.min()))
    for _ in range(_HALVINGS):
        level = (below + above) / 2
        if np.clip(level * capacity, low, high).sum() < total:
            below = level
        else:
            above = level
    found = np.clip(above * capacity, low, high)
    return np.asarray(found * (total / max(1.0, float(found.sum()))))
