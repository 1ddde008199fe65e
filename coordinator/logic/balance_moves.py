"""The moves that bring a state nearer to what is wanted: drains first, then zones, then loads.

Each choice looks at the state only, not at how it was reached. So a plan that begins where another one ended is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shoal.coordinator.logic.balance_state import NOBODY, BalanceState, Flags, Floats, Ints

_MOST_STEPS = 200_000
"""Steps of one plan. Each step lowers the squared deviation, so it ends before that; this bounds the time."""

_MOST_BESIDE = 12
"""Further replicas that are tried between the same two workers after a move."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Moves that may be made, one in each row: the shard, and the workers by number."""

    shards: Ints
    sources: Ints
    targets: Ints


def settle(state: BalanceState) -> None:
    """Move replicas until nothing more can be mended."""
    while True:
        before = len(state.shifts)
        leave_drained(state)
        if not state.settings.only_drains:
            spread_over_zones(state)
            level_loads(state)
        if len(state.shifts) == before:
            return


def leave_drained(state: BalanceState) -> None:
    """Move the replicas of drained workers to those that have most room below their target."""
    everybody = np.arange(len(state.workers))
    for source in np.flatnonzero(~state.staying).tolist():
        for shard in sorted(state.held(source).tolist(), key=lambda shard: (-state.size[shard], shard)):
            target = _refuge(state, shard, source, everybody)
            if target != NOBODY:
                state.shift(shard, source, target, "drain")


def _refuge(state: BalanceState, shard: int, source: int, everybody: Ints) -> int:
    """Return the worker for a replica that has to leave, if possible one that its collection does not crowd and that
    has more room than it needs.
    """
    fullness = (state.load + state.size[shard]) / np.maximum(1.0, state.target)
    cost = fullness + 0.05 * state.crowding(shard, source, everybody)
    for crowd, full in ((False, False), (True, False), (True, True)):
        may = state.may_go(shard, source, everybody, crowd=crowd) & state.fits(shard, everybody, full=full)
        if may.any():
            return int(np.argmin(np.where(may, cost, np.inf)))
    return NOBODY


def spread_over_zones(state: BalanceState) -> None:
    """Move replicas out of zones that hold several of a shard, into zones that hold none."""
    everybody = np.arange(len(state.workers))
    possible = np.minimum((state.homes != NOBODY).sum(axis=1), int(state.open_zones.sum()))
    for shard in np.flatnonzero(~state.pinned & ((state.in_zone > 0).sum(axis=1) < possible)).tolist():
        while (state.in_zone[shard] > 0).sum() < possible[shard]:
            crowded = [home for home in sorted(state.homes_of(shard)) if state.in_zone[shard, state.zone[home]] > 1]
            source = max(crowded, key=lambda home: state.load[home] / state.capacity[home])
            new_zone = state.in_zone[shard, state.zone] == 0
            may = new_zone & state.may_go(shard, source, everybody, crowd=True) & state.fits(shard, everybody)
            if not may.any():
                break
            fullness = (state.load + state.size[shard]) / state.capacity
            state.shift(shard, source, int(np.argmin(np.where(may, fullness, np.inf))), "zone")


def level_loads(state: BalanceState) -> None:
    """Mend the worker that is furthest off its target, again and again, until no worker can be mended."""
    stuck = np.zeros(len(state.workers), dtype=np.bool_)
    for _ in range(_MOST_STEPS):
        off = state.off()
        wanted = state.staying & ~stuck & (np.abs(off) > state.slack + 1)
        if not wanted.any():
            return
        worker = int(np.argmax(np.where(wanted, np.abs(off) / state.capacity, -1.0)))
        if _move_one(state, worker, off) or _exchange_two(state, worker, off):
            stuck[:] = False
        else:
            stuck[worker] = True


def _move_one(state: BalanceState, worker: int, off: Floats) -> bool:
    """Make the move that mends most for its bytes, of those that bring a worker nearer to its target."""
    found = _moves_of(state, worker, off)
    if found is None:
        return False
    score = _score(state, found, off)
    may = score > 0
    may[may] = state.may_go(found.shards[may], found.sources[may], found.targets[may]) & state.fits(found.shards[may], found.targets[may])
    if not may.any():
        return False
    shared = state.crowding(found.shards[may], found.sources[may], found.targets[may])
    score = score[may] * (1 - state.settings.crowding_cost * shared)
    best = np.flatnonzero(may)[int(np.argmax(score))]
    shard, source, target = int(found.shards[best]), int(found.sources[best]), int(found.targets[best])
    state.shift(shard, source, target, "balance")
    _move_more(state, source, target, shard)
    return True


def _moves_of(state: BalanceState, worker: int, off: Floats) -> _Candidates | None:
    """Return the moves that mend a worker: from it to workers that hold least for their targets, or to it from those
    that hold most.
    """
    gives = off[worker] > 0
    pairs = [(worker, other) if gives else (other, worker) for other in _partners(state, off, worker, fullest=not gives)]
    pairs = [(source, target) for source, target in pairs if off[source] / state.capacity[source] > off[target] / state.capacity[target]]
    held = [state.held(source) for source, _ in pairs]
    if not sum(map(len, held)):
        return None
    return _Candidates(
        shards=np.concatenate(held),
        sources=np.repeat([source for source, _ in pairs], [len(rows) for rows in held]),
        targets=np.repeat([target for _, target in pairs], [len(rows) for rows in held]),
    )


def _partners(state: BalanceState, off: Floats, worker: int, *, fullest: bool) -> list[int]:
    """Return of each zone the few workers that are furthest above (fullest) or below their target."""
    relative = off / state.capacity
    others = (np.ones(len(off), dtype=np.bool_) if fullest else state.accepts).copy()
    others[worker] = False
    found: list[int] = []
    for zone in range(len(state.open_zones)):
        members = np.flatnonzero(others & (state.zone == zone))
        order = np.argsort(-relative[members] if fullest else relative[members], kind="stable")
        found += members[order[: state.settings.partners]].tolist()
    return found


def _score(state: BalanceState, found: _Candidates, off: Floats) -> Floats:
    """Return for each move the bytes that it mends for each byte of its cost; -1 if it is not worth it."""
    size = state.size[found.shards].astype(np.float64)
    gain = _gain(state, off, found.sources, found.targets, size)
    falls = _deviation_change(state, off, found.sources, found.targets, size) < 0
    good = (gain > 0) & (gain >= state.settings.least_gain * size) & falls
    return np.where(good, gain / (size + state.settings.move_cost_bytes), -1.0)


def _gain(state: BalanceState, off: Floats, sources: Ints, targets: Ints, size: Floats) -> Floats:
    """Return how many bytes beyond the tolerances disappear if `size` bytes go from sources to targets."""
    slack = state.slack
    now = state.beyond(off[sources], slack[sources]) + state.beyond(off[targets], slack[targets])
    then = state.beyond(off[sources] - size, slack[sources]) + state.beyond(off[targets] + size, slack[targets])
    return np.asarray(now - then)


def _deviation_change(state: BalanceState, off: Floats, sources: Ints, targets: Ints, size: Floats) -> Floats:
    """Return how the sum of squared deviations changes, each for its capacity: it has to fall with every step."""
    at_source = (size * size - 2 * size * off[sources]) / state.capacity[sources]
    at_target = (size * size + 2 * size * off[targets]) / state.capacity[targets]
    return np.asarray(at_source + at_target)


def _move_more(state: BalanceState, source: int, target: int, first: int) -> None:
    """Move further replicas of about the same size between two workers, as long as each byte mends all it can."""
    rows = state.held(source)
    near = np.argsort(np.abs(state.size[rows] - state.size[first]), kind="stable")[:_MOST_BESIDE]
    for shard in rows[near].tolist():
        over, under = (float(state.load[end] - state.target[end]) for end in (source, target))
        if abs(over) <= state.slack[source] and abs(under) <= state.slack[target]:
            return
        if _mends_all(state, shard, source, target, over, under) and _is_free(state, shard, source, target):
            state.shift(shard, source, target, "balance")


def _mends_all(state: BalanceState, shard: int, source: int, target: int, over: float, under: float) -> bool:
    """Return whether each byte of a replica mends the source, the target, or both where both are off."""
    size, slack = float(state.size[shard]), (float(state.slack[source]), float(state.slack[target]))
    beyond = [max(0.0, abs(over) - slack[0]), max(0.0, abs(under) - slack[1])]
    gain = sum(beyond) - max(0.0, abs(over - size) - slack[0]) - max(0.0, abs(under + size) - slack[1])
    change = (size - 2 * over) / state.capacity[source] + (size + 2 * under) / state.capacity[target]
    return bool(gain >= 0.999 * size * sum(each > 0 for each in beyond) and change < 0)


def _is_free(state: BalanceState, shard: int, source: int, target: int) -> bool:
    row = np.array([shard])
    spread = state.crowding(row, source, target) <= 0.5
    return bool((spread & state.may_go(row, source, target) & state.fits(row, target)).all())


def _exchange_two(state: BalanceState, worker: int, off: Floats) -> bool:
    """Make the exchange of two replicas that mends most for its bytes, of those that mend a worker."""
    best: tuple[float, int, int, int, int] | None = None
    for source, target in _exchange_pairs(state, worker, off):
        rows, others = state.held(source), state.held(target)
        if not len(rows) or not len(others) or not state.accepts[source]:
            continue
        others = others[np.argsort(state.size[others], kind="stable")]
        beyond = state.beyond(off[[source, target]], state.slack[[source, target]])
        at = np.searchsorted(state.size[others], state.size[rows] - max(1.0, float(beyond.max())))
        backs = others[np.clip(np.concatenate([at - 1, at, at + 1]), 0, len(others) - 1)]
        goes = np.tile(rows, 3)
        score = _exchange_score(state, off, goes, backs, source, target)
        row = int(np.argmax(score))
        if score[row] > 0 and (best is None or score[row] > best[0]):
            best = float(score[row]), int(goes[row]), int(backs[row]), source, target
    if best is None:
        return False
    _, shard, back, source, target = best
    state.shift(shard, source, target, "balance")
    state.shift(back, target, source, "balance")
    return True


def _exchange_pairs(state: BalanceState, worker: int, off: Floats) -> list[tuple[int, int]]:
    """Return the pairs of a fuller worker and another one between which replicas may be exchanged."""
    gives = off[worker] > 0
    relative = off / state.capacity
    others = state.staying.copy()
    others[worker] = False
    members = np.flatnonzero(others)
    order = np.argsort(relative[members] if gives else -relative[members], kind="stable")
    pairs = [(worker, other) if gives else (other, worker) for other in members[order[: state.settings.partners + 1]].tolist()]
    return [(source, target) for source, target in pairs if relative[source] > relative[target]]


def _exchange_score(state: BalanceState, off: Floats, goes: Ints, backs: Ints, source: int, target: int) -> Floats:
    """Return for each exchange the bytes that it mends for each byte of its cost; -1 if it may not be made."""
    sources, targets = np.full(len(goes), source), np.full(len(goes), target)
    difference = (state.size[goes] - state.size[backs]).astype(np.float64)
    moved = (state.size[goes] + state.size[backs]).astype(np.float64)
    gain = _gain(state, off, sources, targets, difference)
    falls = _deviation_change(state, off, sources, targets, difference) < 0
    good = (difference > 0) & (gain > 0) & (gain >= state.settings.least_gain * moved) & falls
    good[good] = _may_exchange(state, goes[good], backs[good], source, target)
    return np.where(good, gain / (moved + 2 * state.settings.move_cost_bytes), -1.0)


def _may_exchange(state: BalanceState, goes: Ints, backs: Ints, source: int, target: int) -> Flags:
    """Return for each exchange whether both replicas may go. The first of the two has to fit beside everything else."""
    may = state.may_go(goes, source, target, crowd=True) & state.may_go(backs, target, source, crowd=True)
    same = state.collection[goes] == state.collection[backs]
    may &= same | (state.is_spread(goes, source, target) & state.is_spread(backs, target, source))
    in_disk = state.disk_load[source] - state.disk[goes] + state.disk[backs] <= state.disk_size[source]
    return np.asarray(may & state.fits(goes, target, full=True) & in_disk)
