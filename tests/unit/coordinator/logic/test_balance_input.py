"""Test how plans are made from the map and the reports, and when a plan is no more for the cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from shoal.coordinator.logic.balance_changes import fingerprint_of, has_changed
from shoal.coordinator.logic.balance_input import MOST_PINNED, balance_workers, plan_of, seconds_of
from shoal.core.cluster_map import MOVES_FEATURE, ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionState
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, WorkerId
from shoal.core.rebalance import BalanceSettings, Drain, PlanKind, PlanState, RebalanceEntry, RebalancePlan
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import Move, ShardConfig, ShardState
from shoal.store.rebalance_codecs import decode_rebalance, encode_rebalance
from tests.twins.coordinator.world import collection_of, map_of, shard_config, worker_entry

MIB = 2**20
SETTINGS = BalanceSettings()
Reports = dict[WorkerId, WorkerStatus]


def worker(name: str, zone: str = "z", budget_mib: int = 4096) -> WorkerEntry:
    return dataclasses.replace(
        worker_entry(name, zone=zone), memory_budget_bytes=budget_mib * MIB, features=frozenset({MOVES_FEATURE}), disk_bytes=0
    )


def cluster_of(names: str, shards: int, *, homes: str, state: CollectionState = CollectionState.ACTIVE) -> ClusterMap:
    """Return a cluster of one collection whose shards have one replica each, on the workers of `homes` by turns."""
    collection = collection_of("fashion", shards=shards, state=state)
    configs = []
    for number in range(shards):
        shard = ShardId(collection.id, number)
        configs.append(shard_config(shard, {f"r{number}": homes[number % len(homes)]}, isr=[f"r{number}"], rf=1))
    return map_of([collection], configs, [worker(name) for name in names])


def reports_of(cluster: ClusterMap, mib: Callable[[int], float] = lambda number: 300 + number) -> Reports:
    """Return what workers report: so many MiB in memory, and a tenth more on disk, by number of the shard."""
    found: Reports = {}
    for name in cluster.workers:
        replicas = {
            str(shard): ReplicaStatus(
                replica=ReplicaId("r"),
                role=ReplicaRole.PRIMARY,
                applied_seq=Seq(1),
                memory_bytes=int(mib(shard.number) * MIB),
                disk_bytes=int(1.1 * mib(shard.number) * MIB),
            )
            for shard in cluster.shards.of_worker(name)
        }
        found[name] = WorkerStatus(memory_bytes=1, failed={}, replicas=replicas)
    return found


def plan(cluster: ClusterMap, reports: Reports | None = None, kind: PlanKind = PlanKind.BALANCE) -> RebalancePlan:
    return plan_of(cluster, reports_of(cluster) if reports is None else reports, SETTINGS, kind=kind, subject="")


def test_a_plan_for_a_fourth_worker_says_everything() -> None:
    cluster = cluster_of("abcd", 12, homes="abc")
    found = plan(cluster)
    assert found.replicas == 12
    assert [each.worker for each in found.workers] == [*"abcd"]
    new = found.workers[3]
    assert new.new
    assert (new.bytes, new.primaries, new.primaries_after, new.out_bytes) == (0, 0, 3, 0)
    assert new.in_bytes == new.after_bytes == sum(move.memory_bytes for move in found.moves)
    assert abs(new.share_of_target(new.after_bytes) - 1) <= 0.05
    assert [move.number for move in found.moves] == [1, 2, 3]
    assert {(move.collection, move.target) for move in found.moves} == {("fashion", "d")}
    assert sorted(move.why for move in found.moves) == ["d is 100 % under"] * 3
    assert found.bytes == sum(move.disk_bytes for move in found.moves) > found.least_bytes
    assert found.seconds == pytest.approx(found.bytes / SETTINGS.move_bytes_per_s), "all go to one worker"
    assert (found.pinned, found.left, found.empty) == ((), (), False)
    assert has_changed(found, cluster, reports_of(cluster)) == []
    entry = RebalanceEntry(plan=found, state=PlanState.RUNS, asked_by="me", started_ms=1)
    assert decode_rebalance("ops", encode_rebalance(entry), 0) == entry


def test_the_id_says_what_is_done_and_not_with_how_many_bytes() -> None:
    cluster = cluster_of("abcd", 12, homes="abc")
    first, second = plan(cluster), plan(cluster, reports_of(cluster, lambda number: 303 + number))
    assert first.id == second.id
    assert len(first.id) == 6
    assert first.bytes != second.bytes
    assert plan(cluster_of("abcde", 12, homes="abc")).id != first.id


PINNED: list[tuple[str, Callable[[ShardConfig], ShardConfig]]] = [
    ("it is being created", lambda config: dataclasses.replace(config, state=ShardState.CREATING)),
    ("it has no primary", lambda config: dataclasses.replace(config, primary_reg=Revision(0))),
    ("1 of 2 replicas are in sync", lambda config: dataclasses.replace(config, rf=2)),
    ("1 of 1 replicas are in sync", lambda config: dataclasses.replace(config, learners=(ReplicaId("new"),))),
    ("its primary is being handed over", lambda config: dataclasses.replace(config, successor=config.primary)),
    ("one of its replicas is being removed", lambda config: dataclasses.replace(config, leaving=(ReplicaId("old"),))),
    (
        "one of its replicas is being moved",
        lambda config: dataclasses.replace(config, move=Move(source=config.primary, target=ReplicaId("new"))),
    ),
    ("worker gone is down", lambda config: dataclasses.replace(config, worker_of={**config.worker_of, ReplicaId("x"): WorkerId("gone")})),
]


@pytest.mark.parametrize(("why", "change"), PINNED, ids=[why for why, _ in PINNED])
def test_a_shard_that_is_not_whole_stays_as_it_is(why: str, change: Callable[[ShardConfig], ShardConfig]) -> None:
    cluster = cluster_of("ab", 4, homes="a")
    changed = {shard: dataclasses.replace(entry, config=change(entry.config)) for shard, entry in cluster.shards.items()}
    cluster = dataclasses.replace(cluster, shards=cluster.shards.after(changed))
    found = plan(cluster)
    assert found.empty
    assert {each.why for each in found.pinned} == {why}
    assert len(found.pinned) == 4
    assert "a stays 100 % over: all its replicas are pinned" in found.left


@pytest.mark.parametrize(
    ("state", "why"),
    [(CollectionState.CREATING, "its collection is being created"), (CollectionState.DROPPING, "its collection is being dropped")],
)
def test_shards_of_a_collection_that_comes_or_goes_stay(state: CollectionState, why: str) -> None:
    assert {each.why for each in plan(cluster_of("ab", 4, homes="a", state=state)).pinned} == {why}


def test_what_is_untold_is_pinned_and_its_worker_takes_nothing() -> None:
    cluster = cluster_of("abc", 9, homes="ab")
    reports = reports_of(cluster)
    del reports[WorkerId("a")]
    found = plan(cluster, reports)
    assert {each.why for each in found.pinned} == {"worker a has not told the size of its replica"}
    assert {(move.source, move.target) for move in found.moves} == {("b", "c")}
    silent = plan(cluster, {})
    assert silent.empty
    assert len(silent.pinned) == 9


def test_a_worker_of_an_older_version_takes_part_in_nothing() -> None:
    cluster = cluster_of("abc", 9, homes="ab")
    older = dataclasses.replace(cluster.workers[WorkerId("a")], features=frozenset())
    cluster = dataclasses.replace(cluster, workers={**cluster.workers, WorkerId("a"): older})
    found = plan(cluster)
    assert {each.why for each in found.pinned} == {"worker a is of a version that knows no moves"}
    assert {(move.source, move.target) for move in found.moves} == {("b", "c")}


def test_workers_that_do_not_tell_their_budget_hold_equal_shares() -> None:
    cluster = cluster_of("abc", 12, homes="ab")
    untold = {name: dataclasses.replace(entry, memory_budget_bytes=0) for name, entry in cluster.workers.items()}
    found = plan(dataclasses.replace(cluster, workers=untold))
    assert {each.capacity_bytes for each in found.workers} == {0}
    assert all(abs(each.share_of_target(each.after_bytes) - 1) <= 0.05 for each in found.workers)


def drained(cluster: ClusterMap, name: str, *, primaries_only: bool = False) -> ClusterMap:
    return dataclasses.replace(cluster, drains={WorkerId(name): Drain(primaries_only=primaries_only, asked_by="me", since_ms=1)})


def test_a_drain_plan_moves_what_the_drain_needs() -> None:
    cluster = drained(cluster_of("abcd", 12, homes="abc"), "a")
    found = plan(cluster, kind=PlanKind.DRAIN)
    assert {move.source for move in found.moves} == {"a"}
    assert [(each.draining, each.after_bytes) for each in found.workers if each.worker == "a"] == [(True, 0)]
    assert found.least_bytes == sum(move.memory_bytes for move in found.moves)


def test_a_worker_with_a_full_disk_or_drained_primaries_takes_nothing() -> None:
    cluster = drained(cluster_of("abcd", 12, homes="ab"), "c", primaries_only=True)
    reports = reports_of(cluster)
    reports[WorkerId("d")] = dataclasses.replace(reports[WorkerId("d")], disk="its disk is nearly full")
    assert plan(cluster, reports).moves == ()
    workers = {each.id: each for each in balance_workers(cluster, reports)}
    assert (workers[WorkerId("c")].may_lead, workers[WorkerId("c")].draining) == (False, False)


def test_few_pinned_shards_are_named_and_the_others_counted() -> None:
    cluster = cluster_of("ab", MOST_PINNED + 7, homes="a")
    found = plan(cluster, {})
    assert len(found.pinned) == MOST_PINNED
    assert "7 more shards stay as they are" in found.left


def test_the_time_of_a_plan_is_that_of_its_busiest_worker_or_of_the_moves_at_once() -> None:
    moves = plan(cluster_of("abcd", 12, homes="abc")).moves
    one = dataclasses.replace(moves[0], disk_bytes=96 * MIB)
    apart = [dataclasses.replace(one, source=WorkerId(f"s{at}"), target=WorkerId(f"t{at}")) for at in range(8)]
    assert seconds_of([one], SETTINGS) == 2.0
    assert seconds_of(apart, SETTINGS) == 4.0
    assert seconds_of([dataclasses.replace(each, source=WorkerId("s")) for each in apart], SETTINGS) == 16.0
    assert seconds_of([], SETTINGS) == 0.0


def without(cluster: ClusterMap, name: str) -> ClusterMap:
    return dataclasses.replace(cluster, workers={each: entry for each, entry in cluster.workers.items() if each != name})


def with_worker(cluster: ClusterMap, entry: WorkerEntry) -> ClusterMap:
    return dataclasses.replace(cluster, workers={**cluster.workers, entry.id: entry})


def moved_by_hand(cluster: ClusterMap) -> ClusterMap:
    shard = plan(cluster).moves[0].shard
    entry = cluster.shards[shard]
    config = dataclasses.replace(entry.config, worker_of={entry.config.primary: WorkerId("d")})
    return dataclasses.replace(cluster, shards=cluster.shards.after({shard: dataclasses.replace(entry, config=config)}))


def with_one_more_shard(cluster: ClusterMap) -> ClusterMap:
    other: Collection = collection_of("other", shards=1, state=CollectionState.ACTIVE)
    config = shard_config(ShardId(other.id, 0), {"o": "a"}, isr=["o"])
    more = map_of([*cluster.collections.values(), other], [*(each.config for each in cluster.shards.values()), config])
    return dataclasses.replace(cluster, collections=more.collections, shards=more.shards)


UNNAMED = "versions or drains of workers, shards or places of replicas have changed"

CHANGES: list[tuple[str, Callable[[ClusterMap], ClusterMap]]] = [
    ("worker b is down", lambda cluster: without(cluster, "b")),
    ("worker b is forgotten", lambda cluster: dataclasses.replace(cluster, forgotten={WorkerId("b"): Revision(9)})),
    ("worker e has joined", lambda cluster: with_worker(cluster, worker("e"))),
    ("worker c is drained", lambda cluster: drained(cluster, "c")),
    (
        "worker c is in zone y now",
        lambda cluster: dataclasses.replace(cluster, workers={**cluster.workers, WorkerId("c"): worker("c", "y")}),
    ),
    (
        "worker c may use 2.0 GiB now, not 4.0 GiB",
        lambda cluster: with_worker(cluster, worker("c", budget_mib=2048)),
    ),
    (UNNAMED, with_one_more_shard),
    (UNNAMED, lambda cluster: drained(cluster, "c", primaries_only=True)),
    (UNNAMED, lambda cluster: with_worker(cluster, dataclasses.replace(worker("c"), features=frozenset()))),
]


@pytest.mark.parametrize(("why", "change"), CHANGES, ids=[why for why, _ in CHANGES])
def test_a_plan_of_another_cluster_is_noticed(why: str, change: Callable[[ClusterMap], ClusterMap]) -> None:
    cluster = cluster_of("abcd", 12, homes="abc")
    found, changed = plan(cluster), change(cluster)
    assert has_changed(found, changed, reports_of(cluster)) == [why]
    assert fingerprint_of(changed, found.tolerance) != found.fingerprint


def test_a_replica_that_has_moved_already_is_named() -> None:
    cluster = cluster_of("abcd", 12, homes="abc")
    move = plan(cluster).moves[0]
    told = has_changed(plan(cluster), moved_by_hand(cluster), reports_of(cluster))
    assert told == [f"{move.source} holds no replica of fashion/{move.shard.number} any more"]
    gone = dataclasses.replace(cluster, shards=cluster.shards.after({move.shard: None}))
    assert has_changed(plan(cluster), gone, reports_of(cluster)) == [f"fashion/{move.shard.number} does not exist any more"]


def test_a_replica_that_grew_by_a_quarter_is_named_with_its_sizes() -> None:
    cluster = cluster_of("abcd", 12, homes="abc")
    found = plan(cluster, reports_of(cluster, lambda number: 340))
    assert has_changed(found, cluster, reports_of(cluster, lambda number: 424)) == []
    grown = has_changed(found, cluster, reports_of(cluster, lambda number: 512))
    assert grown == [f"fashion/{move.shard.number} grew from 340 MiB to 512 MiB" for move in found.moves]
    small = plan(cluster, reports_of(cluster, lambda number: 4))
    assert has_changed(small, cluster, reports_of(cluster, lambda number: 30)) == [], "the caches of a store grow by as much"


def test_more_changes_than_a_screen_shows_are_counted() -> None:
    cluster = cluster_of("abcd", 400, homes="abc")
    found = plan(cluster, reports_of(cluster, lambda number: 100))
    told = has_changed(found, cluster, reports_of(cluster, lambda number: 200))
    assert len(told) == 11
    assert told[-1] == f"{len(found.moves) - 10} more changes"


def test_the_order_in_which_things_are_known_does_not_matter() -> None:
    cluster = cluster_of("abcd", 12, homes="abc")
    turned = map_of(
        cluster.collections.values(),
        [entry.config for entry in reversed([*cluster.shards.values()])],
        reversed([*cluster.workers.values()]),
    )
    assert plan(turned) == plan(cluster)
    assert CollectionId("id-fashion") in turned.collections
