from __future__ import annotations

import dataclasses
from typing import Any

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.errors import DeadlineExceeded
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardState
from shoal.router.logic.health import Statuses, cluster_health
from tests.twins.cluster import TwinCluster, worker_entry

UP = WorkerStatus(memory_bytes=11, failed={}, serving=frozenset({"id-a/0", "id-a/1"}))
FIRST = ShardId("id-a", 0)


def statuses(cluster: TwinCluster, **others: Any) -> Statuses:
    return {worker: others.get(worker, UP) for worker in cluster.view.current.workers}


def two() -> TwinCluster:
    cluster = TwinCluster()
    cluster.add("a")
    return cluster


def configure(cluster: TwinCluster, **parts: Any) -> None:
    entry = cluster.view.current.shards[FIRST]
    changed = dataclasses.replace(entry, config=dataclasses.replace(entry.config, **parts))
    cluster.change(shards={**cluster.view.current.shards, FIRST: changed})


def first_shard(cluster: TwinCluster, **others: Any) -> tuple[str, str]:
    shard = cluster_health(cluster.view.current, statuses(cluster, **others)).shards[0]
    return shard.state, shard.detail


def test_a_healthy_cluster() -> None:
    cluster = two()
    health = cluster_health(cluster.view.current, statuses(cluster))
    assert (health.cluster_id, health.leader) == ("c", "lead:1")
    assert [(each.id, each.state, each.memory, each.address) for each in health.workers] == [
        ("w0", "up", 11, "w0:1"),
        ("w1", "up", 11, "w1:1"),
    ]
    assert [(each.collection, each.shard, each.state, each.detail, each.primary, each.isr) for each in health.shards] == [
        ("a", 0, "ok", "", "w0", ("w0",)),
        ("a", 1, "ok", "", "w1", ("w1",)),
    ]


def test_a_cluster_without_anything() -> None:
    health = cluster_health(ClusterMap(), {})
    assert (health.cluster_id, health.leader, health.workers, health.shards) == ("", None, (), ())


def test_a_worker_that_holds_replicas_and_is_not_registered_is_down() -> None:
    cluster = two()
    cluster.remove_worker("w0")
    health = cluster_health(cluster.view.current, statuses(cluster))
    assert [(each.id, each.state) for each in health.workers] == [("w0", "down"), ("w1", "up")]
    assert first_shard(cluster) == ("no primary", "worker w0 is down")


def test_a_worker_that_was_forgotten_is_listed_no_more_unless_it_is_registered() -> None:
    cluster = two()
    cluster.change(forgotten={WorkerId("w0"): Revision(9), WorkerId("w9"): Revision(9)})
    assert [each.id for each in cluster_health(cluster.view.current, statuses(cluster)).workers] == ["w0", "w1"]
    cluster.remove_worker("w0")
    health = cluster_health(cluster.view.current, statuses(cluster))
    assert [each.id for each in health.workers] == ["w1"]
    assert first_shard(cluster) == ("no primary", "worker w0 is down")


def test_a_worker_that_does_not_answer_is_unreachable() -> None:
    cluster = two()
    silent = DeadlineExceeded("1 s passed")
    assert first_shard(cluster, w0=silent) == ("no primary", "worker w0 is unreachable: 1 s passed")
    assert cluster_health(cluster.view.current, statuses(cluster, w0=silent)).workers[0].state == "unreachable"


def test_a_worker_that_came_back_must_be_elected_again() -> None:
    cluster = two()
    cluster.change(workers={**cluster.view.current.workers, WorkerId("w0"): worker_entry(WorkerId("w0"), registration=6)})
    assert first_shard(cluster) == ("no primary", "worker w0 has come back and is not elected again yet")


def test_a_primary_that_does_not_serve_yet_is_opening() -> None:
    reading = WorkerStatus(memory_bytes=11, failed={}, serving=frozenset({"id-a/1"}))
    assert first_shard(two(), w0=reading) == ("opening", "worker w0 is opening it")


def test_a_failed_replica_says_why() -> None:
    status = WorkerStatus(memory_bytes=1, failed={"id-a/0": "log damaged at seq 9"})
    assert first_shard(two(), w0=status) == ("failed", "on worker w0: log damaged at seq 9")
    assert cluster_health(two().view.current, {"w0": status, "w1": UP}).shards[1].state == "ok"


def replicate(cluster: TwinCluster, **parts: Any) -> None:
    one, other = ReplicaId("replica-id-a/0"), ReplicaId("r2")
    configure(cluster, **{"isr": (one, other), "worker_of": {one: "w0", other: "w1"}, "rf": 2, **parts})


def test_a_primary_that_has_resigned_or_failed_makes_room_for_another_one() -> None:
    cluster = two()
    damaged = WorkerStatus(memory_bytes=1, failed={"id-a/0": "crc"})
    replicate(cluster)
    assert first_shard(cluster, w0=damaged) == ("no primary", "the replica on worker w0 has failed: crc; 1 of 2 replicas are in sync")
    replicate(cluster, primary_reg=0)
    assert first_shard(cluster, w0=damaged)[1].startswith("the primary on worker w0 has resigned: crc; 1 of 2")
    assert first_shard(cluster) == ("no primary", "the primary on worker w0 has resigned")


def test_a_shard_that_serves_with_too_few_copies_is_ok_and_says_what_is_missing() -> None:
    cluster = two()
    replicate(cluster, rf=3)
    health = cluster_health(cluster.view.current, statuses(cluster)).shards[0]
    assert (health.state, health.replication, health.rf, health.min_isr) == ("ok", "under-replicated", 3, 1)
    assert health.detail == "2 of 3 replicas are in sync; 1 more has no place yet (2 workers are up)"
    assert [(each.worker, each.role) for each in health.replicas] == [("w0", "primary"), ("w1", "isr")]
    cluster.remove_worker("w1")
    assert first_shard(cluster)[1].startswith("1 of 3 replicas are in sync; worker w1 is down")


def test_members_that_may_lead_and_those_that_leave_are_shown() -> None:
    cluster = two()
    one, other = ReplicaId("replica-id-a/0"), ReplicaId("r2")
    configure(cluster, elr=(other,), leaving=(other,), worker_of={one: "w0", other: "w1"})
    health = cluster_health(cluster.view.current, statuses(cluster)).shards[0]
    assert (health.elr, health.leaving, health.replication) == (("w1",), ("w1",), "ok")


def test_a_shard_that_cannot_be_made_yet_is_in_creation_and_says_why() -> None:
    cluster = two()
    configure(cluster, state=ShardState.CREATING)
    status = WorkerStatus(memory_bytes=1, failed={"id-a/0": "no memory"})
    assert first_shard(cluster, w0=status) == ("creating", "on worker w0: no memory")


def test_memory_of_workers_and_of_the_primaries_of_shards() -> None:
    cluster = two()
    entry = dataclasses.replace(worker_entry(WorkerId("w0")), memory_budget_bytes=90)
    cluster.change(workers={**cluster.view.current.workers, WorkerId("w0"): entry})
    status = WorkerStatus(
        memory_bytes=11,
        failed={},
        memory_budget_bytes=100,
        memory_used_bytes=60,
        replica_bytes={"id-a/0": 50, "other": 9},
        file_limit=1024,
        files_open=70,
    )
    health = cluster_health(cluster.view.current, statuses(cluster, w0=status))
    assert [(each.memory_budget, each.memory_used) for each in health.workers] == [(100, 60), (0, 0)]
    assert [(each.file_limit, each.files_open) for each in health.workers] == [(1024, 70), (0, 0)]
    assert [each.memory for each in health.shards] == [50, 0]
    silent = cluster_health(cluster.view.current, statuses(cluster, w0=DeadlineExceeded("1 s passed")))
    assert [(each.memory_budget, each.memory_used) for each in silent.workers] == [(90, 0), (0, 0)]
    assert silent.shards[0].memory == 0


def test_a_shard_in_creation() -> None:
    cluster = two()
    configure(cluster, state=ShardState.CREATING)
    assert first_shard(cluster) == ("creating", "worker w0 is making its folder")
    cluster.remove_worker("w0")
    assert first_shard(cluster) == ("creating", "worker w0 is down")
    cluster.change(shards={})
    assert first_shard(cluster) == ("creating", "not placed on a worker yet")


def test_a_shard_whose_primary_was_dropped_has_none() -> None:
    cluster = two()
    configure(cluster, worker_of={})
    assert first_shard(cluster) == ("no primary", "the replica that led it was dropped")


def test_members_are_shown_by_the_workers_they_live_on() -> None:
    cluster = two()
    one, other, learner = ReplicaId("replica-id-a/0"), ReplicaId("r2"), ReplicaId("r3")
    configure(cluster, isr=(one, other), learners=(learner,), worker_of={one: "w0", other: "w1", learner: "w2"})
    health = cluster_health(cluster.view.current, statuses(cluster))
    assert (health.shards[0].isr, health.shards[0].learners) == (("w0", "w1"), ("w2",))
    assert [(each.id, each.state) for each in health.workers][-1] == ("w2", "down")


def test_collections_being_dropped_are_not_shown() -> None:
    cluster = two()
    cluster.set_state(cluster.view.current.by_name["a"], CollectionState.DROPPING)
    assert cluster_health(cluster.view.current, statuses(cluster)).shards == ()


def test_shards_come_by_collection_name_and_number() -> None:
    cluster = TwinCluster()
    for name in ("b", "a"):
        cluster.add(name, shards=11)
    shown = [(each.collection, each.shard) for each in cluster_health(cluster.view.current, statuses(cluster)).shards]
    assert shown == [(name, number) for name in "ab" for number in range(11)]


def test_a_worker_registered_after_the_others_were_asked_is_not_called_up() -> None:
    cluster = two()
    assert cluster_health(cluster.view.current, {WorkerId("w1"): UP}).workers[0].state == "unreachable"


def test_what_a_worker_says_of_its_disk_is_passed_on() -> None:
    full = WorkerStatus(memory_bytes=11, failed={}, disk="disk nearly full")
    workers = cluster_health(two().view.current, {WorkerId("w1"): full}).workers
    assert {each.id: each.disk for each in workers if each.disk} == {"w1": "disk nearly full"}
