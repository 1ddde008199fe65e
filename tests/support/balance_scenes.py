"""Clusters for the planner of moves: random small ones, and large ones of six kinds. The same seed gives the same."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np

from shoal.coordinator.logic.balance_model import BalanceOutcome, BalanceShard, BalanceWorker
from shoal.core.ids import CollectionId, ShardId, WorkerId

MIB = 2**20

Scene = tuple[list[BalanceWorker], list[BalanceShard]]

SCENARIOS = ("one joins", "a quarter joins", "one leaves", "by count", "random", "random, uneven")
"""One worker of the cluster is new, or a quarter of them; one is drained; replicas lie evenly by their number, or
anywhere; anywhere on workers of one, two and four times the memory."""


def shard_named(collection: str, number: int, mib: float, homes: Sequence[WorkerId], primary: WorkerId, pinned: str = "") -> BalanceShard:
    """Return a shard whose replicas take as much on disk as in memory."""
    size = int(mib * MIB)
    return BalanceShard(
        id=ShardId(CollectionId(collection), number),
        name=f"{collection}/{number}",
        memory_bytes=size,
        disk_bytes=size,
        homes=tuple(homes),
        primary=primary,
        pinned=pinned,
    )


def small_scene(seed: int) -> Scene:
    """Return a cluster of at most 12 workers in 4 zones and 60 shards, some pinned, some workers drained or with little
    disk, some of which tell less than others.
    """
    rng = random.Random(seed)
    drains, odd = rng.random() < 0.3, rng.random() < 0.3
    count, zones = rng.randint(1, 12), rng.randint(1, 4)
    workers = [
        BalanceWorker(
            id=WorkerId(f"w{number:02d}"),
            capacity_bytes=0 if odd and rng.random() < 0.2 else rng.choice([1, 1, 2, 4]) * 2000 * MIB,
            zone=f"z{rng.randrange(zones)}",
            disk_bytes=rng.choice([0, 6000 * MIB]) if odd else 0,
            draining=drains and rng.random() < 0.25,
            may_lead=not (odd and rng.random() < 0.2),
            accepts=not (odd and rng.random() < 0.1),
        )
        for number in range(count)
    ]
    shards = []
    for number in range(rng.randint(0, 60)):
        homes = [worker.id for worker in rng.sample(workers, min(rng.randint(1, 3), count))]
        pinned = "it is so" if rng.random() < 0.1 else ""
        shards.append(shard_named(f"c{rng.randrange(5)}", number, rng.lognormvariate(3.5, 1), homes, rng.choice(homes), pinned))
    return workers, shards


def large_scene(scenario: str, *, workers: int, shards: int, replicas: int, seed: int = 7) -> Scene:
    """Return a cluster of one of SCENARIOS in three zones, half full in the mean; shards are of 200 MiB in the mean."""
    rng = random.Random(f"{scenario} {workers} {shards} {replicas} {seed}")
    sizes = np.random.default_rng(rng.randrange(2**30)).lognormal(0, 0.6, shards)
    sizes *= 200 / sizes.mean()
    zones = 3 if workers >= 3 else 1
    weights = [weight for _ in range(workers) for weight in [rng.choice([1, 2, 4] if scenario.endswith("uneven") else [1])] * zones]
    unit = 2 * shards * replicas * 200 * MIB / sum(weights[:workers])
    every = [
        BalanceWorker(id=WorkerId(f"w{number:03d}"), capacity_bytes=int(unit * weights[number]), zone=f"z{number % zones}")
        for number in range(workers)
    ]
    new = {"one joins": 1, "a quarter joins": max(1, workers // 4)}.get(scenario, 0)
    how = "number" if scenario == "by count" else "random" if scenario.startswith("random") else "bytes"
    placed = _placed(rng, every[: workers - new], sizes.tolist(), replicas, how)
    if scenario == "one leaves":
        every[0] = dataclasses.replace(every[0], draining=True)
    return every, placed


def _placed(rng: random.Random, workers: Sequence[BalanceWorker], sizes: Sequence[float], replicas: int, how: str) -> list[BalanceShard]:
    load = dict.fromkeys((worker.id for worker in workers), 0.0)
    capacity = {worker.id: worker.capacity_bytes if how == "bytes" else 1 for worker in workers}
    zone = {worker.id: worker.zone for worker in workers}
    placed = []
    for number, mib in enumerate(sizes):
        homes: list[WorkerId] = []
        for _ in range(replicas):
            free = [worker for worker in load if worker not in homes]
            apart = [worker for worker in free if zone[worker] not in {zone[home] for home in homes}] or free
            if how == "random":
                homes.append(rng.choice(apart))
            else:
                emptiest = sorted(apart, key=lambda worker: (load[worker] / capacity[worker], worker))[:3]
                homes.append(rng.choice(emptiest) if how == "bytes" else emptiest[0])
        for home in homes:
            load[home] += mib if how == "bytes" else 1
        placed.append(shard_named(f"c{number % max(1, len(sizes) // 8):04d}", number, mib, homes, rng.choice(homes)))
    return placed


def after(shards: Sequence[BalanceShard], outcome: BalanceOutcome) -> list[BalanceShard]:
    """Return the shards after all moves and hand-overs, each of which must be possible when it comes."""
    found = {shard.id: shard for shard in shards}
    for move in outcome.moves:
        shard = found[move.shard]
        assert move.source in shard.homes
        assert move.target not in shard.homes
        homes = tuple(move.target if home == move.source else home for home in shard.homes)
        primary = move.target if shard.primary == move.source else shard.primary
        found[move.shard] = dataclasses.replace(shard, homes=homes, primary=primary)
    for change in outcome.hand_overs:
        shard = found[change.shard]
        assert shard.primary == change.source
        assert change.target in shard.homes
        found[change.shard] = dataclasses.replace(shard, primary=change.target)
    return list(found.values())
