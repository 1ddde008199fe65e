"""Plans for tests, and what operators do with them, as keys of the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ClusterId, Revision, ShardId, WorkerId
from shoal.core.rebalance import PlanKind, PlannedHandOver, PlannedMove, PlanState, RebalanceEntry, RebalancePlan

Way = tuple[ShardId, str, str]
"""A shard, and the workers from and to which something goes."""


def plan_entry(moves: Iterable[Way] = (), hand_overs: Iterable[Way] = (), **parts: object) -> RebalanceEntry:
    """Return an applied plan of these moves and hand-overs, numbered in this order. It runs."""
    moved = tuple(
        PlannedMove(
            number=number,
            collection="c",
            shard=shard,
            source=WorkerId(source),
            target=WorkerId(target),
            memory_bytes=1,
            disk_bytes=1,
            why="it is over",
        )
        for number, (shard, source, target) in enumerate(moves, 1)
    )
    handed = tuple(
        PlannedHandOver(number=number, collection="c", shard=shard, source=WorkerId(source), target=WorkerId(target))
        for number, (shard, source, target) in enumerate(hand_overs, 1 + len(moved))
    )
    plan = RebalancePlan(
        id="abc123",
        kind=PlanKind.BALANCE,
        subject="",
        cluster=ClusterId("c"),
        revision=Revision(1),
        fingerprint="f",
        tolerance=0.05,
        replicas=1,
        workers=(),
        moves=moved,
        hand_overs=handed,
        bytes=1,
        least_bytes=1,
        seconds=1.0,
    )
    made = RebalanceEntry(plan=plan, state=PlanState.RUNS, asked_by="test", started_ms=1_700_000_000_000)
    return dataclasses.replace(made, **parts)  # type: ignore[arg-type]


def some_plan(cluster: ClusterMap, workers: tuple[str, ...], salt: int) -> RebalanceEntry:
    """Return a plan for the shards of a map that depends on salt alone. Not every item of it makes sense."""
    moves, hand_overs = [], []
    for at, (shard, entry) in enumerate(sorted(cluster.shards.items())):
        homes = sorted(entry.config.worker_of.values())
        if homes:
            source, target = homes[(salt + at) % len(homes)], workers[(3 * salt + at) % len(workers)]
            moves.append((shard, source, target))
            hand_overs.append((shard, source, workers[(salt + 2 * at) % len(workers)]))
    return plan_entry([move for move in moves if move[1] != move[2]], hand_overs)
