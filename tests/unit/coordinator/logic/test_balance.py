"""Test what holds for every plan, in random small clusters, and what particular clusters need."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.coordinator.logic.balance import planned
from shoal.coordinator.logic.balance_model import BalanceOutcome, BalanceShard, BalanceWorker, PlannerSettings
from shoal.coordinator.logic.balance_words import MOST_LINES
from shoal.core.ids import WorkerId
from tests.support.balance_scenes import MIB, SCENARIOS, Scene, after, large_scene, shard_named, small_scene
from tests.support.scope import LONG, cells

SEEDS = 2_000 if LONG else 120


def check_shards(scene: Scene, outcome: BalanceOutcome) -> None:
    """Check that no replica is lost, no pinned shard changes, no zone is lost, and nothing goes where it must not."""
    workers, shards = scene
    known = {worker.id: worker for worker in workers}
    open_zones = {worker.zone for worker in workers if not worker.draining}
    done = {shard.id: shard for shard in after(shards, outcome)}
    for before in shards:
        now = done[before.id]
        assert len({*now.homes}) == len(before.homes)
        assert now.primary in now.homes
        if before.pinned:
            assert (now.homes, now.primary) == (before.homes, before.primary)
        zones = [{known[home].zone for home in each.homes} for each in (before, now)]
        assert len(zones[1]) >= min(len(zones[0]), len(open_zones))
    for move in outcome.moves:
        assert known[move.target].accepts
        assert not known[move.target].draining
    for change in outcome.hand_overs:
        assert known[change.target].may_lead
        assert not known[change.target].draining


def check_primaries(scene: Scene, outcome: BalanceOutcome) -> None:
    """Check that no single hand-over would make the primaries more even, for the capacity of those that may lead."""
    workers, shards = scene
    told = [worker.capacity_bytes for worker in workers if worker.capacity_bytes]
    usual = sum(told) / len(told) if told else 1.0
    may = {worker.id: (worker.capacity_bytes or usual) for worker in workers if worker.may_lead and not worker.draining}
    led = outcome.primaries_after
    over = {worker: led[worker] - capacity / sum(may.values()) * sum(led.values()) for worker, capacity in may.items()}
    for shard in after(shards, outcome):
        if not shard.pinned:
            lowest = min((over[home] for home in shard.homes if home in may), default=None)
            assert lowest is None or (shard.primary in may and over[shard.primary] - lowest <= 1 + 1e-6)


def check_prefixes(scene: Scene, outcome: BalanceOutcome) -> float:
    """Check that no move overfills a worker's memory or disk, wherever the plan stops. Return by which part a worker is
    at some time fuller than the fullest at the beginning and than what it should hold.
    """
    workers, shards = scene
    known, size = {worker.id: worker for worker in workers}, {shard.id: shard.memory_bytes for shard in shards}
    load = dict(outcome.before)
    told = [worker.id for worker in workers if worker.capacity_bytes]
    top = max((load[worker] / known[worker].capacity_bytes for worker in told), default=0.0)
    worst = 0.0
    for move in outcome.moves:
        load[move.target] += size[move.shard]
        capacity = known[move.target].capacity_bytes
        if capacity:
            assert load[move.target] <= capacity
            allowed = max(top, 1.05 * outcome.targets[move.target] / capacity)
            worst = max(worst, load[move.target] / capacity / allowed - 1)
        load[move.source] -= size[move.shard]
        assert not known[move.target].disk_bytes or load[move.target] <= known[move.target].disk_bytes
    assert load == outcome.after
    return worst


@pytest.mark.parametrize("first", range(0, SEEDS, 40))
def test_every_plan_of_a_random_cluster(first: int) -> None:
    fuller = 0
    for seed in range(first, first + 40):
        workers, shards = small_scene(seed)
        outcome = planned(workers, shards)
        check_shards((workers, shards), outcome)
        check_primaries((workers, shards), outcome)
        fuller += check_prefixes((workers, shards), outcome) > 1e-6
        done = after(shards, outcome)
        again = planned(workers, done)
        assert (again.moves, again.hand_overs) == ((), ()), f"seed {seed}: a second plan is not empty"
        rng = random.Random(seed)
        assert planned(rng.sample(workers, len(workers)), rng.sample(shards, len(shards))) == outcome, f"seed {seed}: depends on the order"
    assert fuller <= 6, "only exchanges fill a worker beyond the fullest, and they are rare"


@pytest.mark.parametrize("first", range(0, SEEDS, 40))
def test_a_plan_for_drains_moves_only_what_is_drained(first: int) -> None:
    for seed in range(first, first + 40):
        workers, shards = small_scene(seed)
        outcome = planned(workers, shards, PlannerSettings(only_drains=True))
        draining = {worker.id for worker in workers if worker.draining}
        silent = {worker.id for worker in workers if worker.draining or not worker.may_lead}
        assert {move.source for move in outcome.moves} <= draining
        assert {change.source for change in outcome.hand_overs} <= silent
        check_shards((workers, shards), outcome)
        stay = {shard.name for shard in after(shards, outcome) if not shard.pinned and draining & {*shard.homes}}
        told = {name for name in stay if any(line.startswith(f"{name} cannot leave") for line in outcome.left)}
        assert told == stay or len(outcome.left) > MOST_LINES
        assert bool(stay) == bool(outcome.left)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.integers(1, 6), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_plan_never_brings_the_loads_further_apart(sizes: list[int], count: int, replicas: int, rng: random.Random) -> None:
    workers = [BalanceWorker(id=WorkerId(f"w{number}"), capacity_bytes=100_000 * MIB) for number in range(count)]
    shards = []
    for number, mib in enumerate(sizes):
        homes = [worker.id for worker in rng.sample(workers, min(replicas, count))]
        shards.append(shard_named("one", number, mib, homes, homes[0]))
    outcome = planned(workers, shards)
    squares = [sum((found[worker] - outcome.targets[worker]) ** 2 for worker in found) for found in (outcome.before, outcome.after)]
    assert squares[1] < squares[0] if outcome.moves else squares[1] == squares[0]
    assert (
        outcome.least_bytes <= sum({shard.id: shard.memory_bytes for shard in shards}[move.shard] for move in outcome.moves) or outcome.left
    )
    counts = Counter(shard.primary for shard in after(shards, outcome))
    if replicas >= count:
        assert max(counts.values()) - min(counts[worker.id] for worker in workers) <= 1, "everybody holds everything"


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("replicas", cells([1, 2, 3], [2]))
def test_few_bytes_more_than_the_least_where_shards_are_small(scenario: str, replicas: int) -> None:
    workers, shards = large_scene(scenario, workers=20, shards=1_000, replicas=replicas)
    outcome = planned(workers, shards)
    size = {shard.id: shard.memory_bytes for shard in shards}
    assert sum(size[move.shard] for move in outcome.moves) <= 1.1 * max(outcome.least_bytes, 1)
    staying = [worker.id for worker in workers if not worker.draining]
    assert all(abs(outcome.after[worker] / outcome.targets[worker] - 1) <= 0.06 for worker in staying)
    assert all(not outcome.after[worker.id] for worker in workers if worker.draining)
    assert outcome.left == ()
    check_shards((workers, shards), outcome)
    assert check_prefixes((workers, shards), outcome) <= 1e-6
    check_primaries((workers, shards), outcome)


def three_full_workers() -> list[BalanceShard]:
    return [
        shard_named("fashion" if number < 12 else "things", number, 300 + number, (home, after_it), home)
        for number in range(24)
        for home, after_it in [(WorkerId("abc"[number % 3]), WorkerId("abc"[(number + 1) % 3]))]
    ]


def test_a_fourth_worker_beside_three() -> None:
    workers = [BalanceWorker(id=WorkerId(name), capacity_bytes=16_384 * MIB) for name in "abcd"]
    shards = three_full_workers()
    outcome = planned(workers, shards)
    assert {move.target for move in outcome.moves} == {"d"}
    assert {move.why for move in outcome.moves} <= {
        "d is 100 % under",
        *(f"{each} is 3{part} % over" for each in "abc" for part in range(10)),
    }
    size = {shard.id: shard.memory_bytes for shard in shards}
    assert sum(size[move.shard] for move in outcome.moves) <= 1.1 * outcome.least_bytes
    assert all(abs(outcome.after[worker] / outcome.targets[worker] - 1) <= 0.05 for worker in outcome.after)
    assert {*outcome.primaries_after.values()} == {6}
    kinds = Counter(shard.id.collection for shard in after(shards, outcome) if WorkerId("d") in shard.homes)
    assert max(kinds.values()) <= 7, "neither collection crowds the new worker more than the others"
    partners = Counter(home for shard in after(shards, outcome) if WorkerId("d") in shard.homes for home in shard.homes)
    assert max(partners[WorkerId(each)] for each in "abc") <= 6, "it shares its shards with all of them"


def test_nothing_is_moved_for_less_than_the_tolerance() -> None:
    workers = [BalanceWorker(id=WorkerId(name), capacity_bytes=4_096 * MIB) for name in "ab"]
    shards = [
        shard_named("one", number, 100 + (number < 10), (WorkerId("ab"[number % 2]),), WorkerId("ab"[number % 2])) for number in range(20)
    ]
    assert planned(workers, shards).moves == ()


def test_a_drained_worker_keeps_nothing_and_leads_nothing() -> None:
    workers = [BalanceWorker(id=WorkerId(name), capacity_bytes=16_384 * MIB, draining=name == "a") for name in "abcd"]
    outcome = planned(workers, three_full_workers(), PlannerSettings(only_drains=True))
    assert (outcome.after[WorkerId("a")], outcome.primaries_after[WorkerId("a")]) == (0, 0)
    assert {move.why for move in outcome.moves} == {"drain"}
    assert outcome.least_bytes == outcome.before[WorkerId("a")]


def test_a_drain_says_what_has_nowhere_to_go() -> None:
    workers = [BalanceWorker(id=WorkerId(name), capacity_bytes=1_000 * MIB, zone=name, draining=name == "a") for name in "abc"]
    one = [shard_named("one", 0, 10, (WorkerId("a"), WorkerId("b"), WorkerId("c")), WorkerId("a"))]
    assert planned(workers, one, PlannerSettings(only_drains=True)).left == (
        "one/0 cannot leave a: every other worker holds it already, or takes nothing",
    )
    large = [shard_named("one", 0, 800, (WorkerId("a"),), WorkerId("a")), shard_named("two", 0, 400, (WorkerId("b"),), WorkerId("b"))]
    small = [workers[0], workers[1], dataclasses.replace(workers[2], disk_bytes=500 * MIB)]
    assert planned(small, large, PlannerSettings(only_drains=True)).left == (
        "one/0 cannot leave a: no other worker has room for 800 MiB in memory and 800 MiB on disk",
    )


def test_primaries_leave_a_worker_that_may_not_lead_and_its_replicas_stay() -> None:
    workers = [BalanceWorker(id=WorkerId(name), capacity_bytes=16_384 * MIB, may_lead=name != "a", accepts=name != "a") for name in "abc"]
    outcome = planned(workers, three_full_workers(), PlannerSettings(only_drains=True))
    assert (outcome.moves, outcome.primaries_after[WorkerId("a")]) == ((), 0)
    assert {change.source for change in outcome.hand_overs} == {"a"}


def test_replicas_in_one_zone_are_spread_over_the_zones() -> None:
    workers = [BalanceWorker(id=WorkerId(name), capacity_bytes=8_192 * MIB, zone=zone) for name, zone in zip("abcd", "xxyy", strict=True)]
    shards = [shard_named("one", number, 100, (WorkerId("a"), WorkerId("b")), WorkerId("a")) for number in range(4)]
    outcome = planned(workers, shards)
    done = after(shards, outcome)
    assert all(len({*shard.homes} & {"a", "b"}) == 1 for shard in done)
    assert "zone y holds no replica, zone x several" in {move.why for move in outcome.moves}


def test_no_worker_is_filled_beyond_its_part_of_memory_or_its_disk() -> None:
    shards = [shard_named("one", number, 100, (WorkerId("a"),), WorkerId("a")) for number in range(9)]
    disk = [
        BalanceWorker(id=WorkerId("a"), capacity_bytes=1_000 * MIB),
        BalanceWorker(id=WorkerId("b"), capacity_bytes=1_000 * MIB, disk_bytes=250 * MIB),
    ]
    assert planned(disk, shards).after[WorkerId("b")] == 200 * MIB
    many = [disk[0], dataclasses.replace(disk[1], disk_bytes=0, most_replicas=1)]
    outcome = planned(many, shards)
    assert outcome.after[WorkerId("b")] == 100 * MIB
    assert "b stays" in " ".join(outcome.left)


def test_a_plan_has_at_most_so_many_moves_and_says_what_is_left() -> None:
    workers, shards = large_scene("a quarter joins", workers=20, shards=400, replicas=2)
    whole, part = planned(workers, shards), planned(workers, shards, PlannerSettings(most_moves=10))
    assert part.moves == whole.moves[:10]
    assert any(line.startswith(f"{len(whole.moves) - 10} more moves, ") for line in part.left)
    rest = planned(workers, after(shards, part))
    assert len(rest.moves) <= len(whole.moves)


def test_a_cluster_of_nothing() -> None:
    assert planned([], []).moves == ()
    assert planned([BalanceWorker(id=WorkerId("a"), capacity_bytes=0)], []).left == ()
    lost = [shard_named("one", 0, 10, (WorkerId("gone"),), WorkerId("gone"), pinned="worker gone is down")]
    assert planned([], lost).moves == ()
