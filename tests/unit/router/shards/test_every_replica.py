from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, ResourceExhausted, Unavailable
from shoal.core.health import ReplicaRole
from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term
from shoal.core.requests import TuneCollection
from shoal.core.shard_calls import ShardStats
from shoal.router.logic.gather import shard_figures
from tests.twins.cluster import TwinCluster
from tests.unit.router.configs import SHARD, config_of

FIRST = ShardId(CollectionId("id-a"), 0)

STATS = ShardStats(
    shard=SHARD,
    role=ReplicaRole.BACKUP,
    term=Term(1),
    applied_seq=Seq(7),
    points=1,
    growing_rows=2,
    sealed_rows=3,
    segments=4,
    builds_pending=5,
    bytes=6,
    memory_bytes=7,
)


def stats(**parts: Any) -> ShardStats:
    return dataclasses.replace(STATS, **parts)


THREE = config_of(isr=("p", "q"), learners=("r",))


def test_points_come_from_the_primary_and_rows_from_who_is_worst_in_sync() -> None:
    told = {
        ReplicaId("p"): stats(points=10, growing_rows=0, sealed_rows=10, segments=1, builds_pending=0, waiting="memory"),
        ReplicaId("q"): stats(points=9, growing_rows=4, sealed_rows=5, segments=3, builds_pending=1, waiting="rows"),
        ReplicaId("r"): stats(points=1, growing_rows=99, sealed_rows=0, segments=9, builds_pending=9, waiting="a disk"),
    }
    found = shard_figures(THREE, told)
    assert found is not None
    assert (found.points, found.growing_rows, found.sealed_rows, found.segments, found.builds_pending) == (10, 4, 5, 3, 1)
    assert (found.bytes, found.memory_bytes, found.waiting) == (18, 21, "memory; rows")


def test_without_the_primary_points_come_from_who_has_applied_most() -> None:
    behind, ahead = stats(points=5, applied_seq=Seq(50)), stats(points=6, applied_seq=Seq(51))
    config = config_of(isr=("p", "q", "s"))
    found = shard_figures(config, {ReplicaId("q"): behind, ReplicaId("s"): ahead})
    assert found is not None
    assert found.points == 6
    assert shard_figures(THREE, {ReplicaId("r"): STATS}) is None


@given(st.dictionaries(st.sampled_from("pqr"), st.builds(stats, growing_rows=st.integers(0, 5), builds_pending=st.integers(0, 5))))
def test_nothing_is_pending_only_when_that_holds_for_all_in_sync(told: dict[Any, ShardStats]) -> None:
    found = shard_figures(THREE, told)
    in_sync = [each for replica, each in told.items() if replica in THREE.isr]
    assert (found is None) == (not in_sync)
    if found is not None:
        assert (found.growing_rows == 0) == all(each.growing_rows == 0 for each in in_sync)
        assert (found.builds_pending == 0) == all(each.builds_pending == 0 for each in in_sync)


def replicated(replicas: int = 2) -> TwinCluster:
    cluster = TwinCluster(workers=3)
    cluster.add("a", replicas=replicas)
    return cluster


def test_a_collection_is_described_by_all_its_replicas() -> None:
    figures = asyncio.run(replicated().router.administration.describe("a", 5.0))
    assert (figures.sealed_rows, figures.builds_pending, figures.bytes, figures.memory_bytes) == (4, 6, 16, 20)


@pytest.mark.parametrize("gone", ["w0", "w1", "w2"])
def test_a_replica_that_is_down_fails_no_description(gone: str) -> None:
    cluster = replicated()
    cluster.remove_worker(gone)
    figures = asyncio.run(cluster.router.administration.describe("a", 5.0))
    assert figures.sealed_rows == 4
    assert cluster.view.waits == []


def test_a_shard_of_which_nobody_says_anything_is_waited_for_and_named() -> None:
    cluster = replicated()
    for worker in ("w0", "w1"):
        cluster.remove_worker(worker)
    cluster.view.events = [lambda: cluster.return_worker("w0")]
    assert asyncio.run(cluster.router.administration.describe("a", 5.0)).sealed_rows == 4
    for worker in ("w0", "w1", "w2"):
        cluster.remove_worker(worker)
    with pytest.raises(Unavailable, match="a/"):
        asyncio.run(cluster.router.administration.describe("a", 5.0))


def asked(cluster: TwinCluster) -> list[int]:
    return [len(worker.calls) for worker in cluster.workers.values()]


def test_every_replica_in_sync_is_optimised_and_tuned_and_the_primaries_curves_are_told() -> None:
    cluster = replicated()
    asyncio.run(cluster.router.administration.optimize("a", 100.0))
    assert asked(cluster) == [1, 2, 1]
    assert [each.shard for each in asyncio.run(cluster.router.administration.tune(TuneCollection(name="a", k=7), 100.0))] == [0, 1]
    assert asked(cluster) == [2, 4, 2]


def test_a_replica_that_is_down_or_a_learner_is_not_optimised() -> None:
    cluster = replicated()
    cluster.remove_worker("w2")
    config = cluster.view.current.shards[FIRST].config
    cluster.configure(FIRST, isr=config.isr[:1], learners=config.isr[1:])
    asyncio.run(cluster.router.administration.optimize("a", 100.0))
    assert asked(cluster) == [1, 1, 0]


def test_a_replica_that_cannot_yet_is_asked_again_until_it_is_done_or_out_of_sync() -> None:
    cluster = replicated()
    cluster.workers["w2"].before = [Unavailable("not ready")] * 3
    asyncio.run(cluster.router.administration.optimize("a", 100.0))
    assert asked(cluster) == [1, 2, 4]
    cluster.workers["w2"].before = [Unavailable("not ready")] * 1_000
    config = cluster.view.current.shards[ShardId(FIRST.collection, 1)].config
    cluster.view.events = [lambda: cluster.configure(config.shard, isr=config.isr[:1])]
    asyncio.run(cluster.router.administration.optimize("a", 100.0))
    assert asked(cluster) == [2, 4, 5]


@pytest.mark.parametrize("error", [ResourceExhausted("no memory"), DataLoss("crc")])
def test_what_a_replica_beside_the_primary_cannot_do_is_told(error: ResourceExhausted | DataLoss) -> None:
    cluster = replicated()
    cluster.workers["w2"].before = [error]
    with pytest.raises(type(error), match="a/1"):
        asyncio.run(cluster.router.administration.optimize("a", 100.0))


def test_a_replica_that_never_can_ends_with_the_time() -> None:
    cluster = replicated()
    cluster.workers["w2"].before = [Unavailable("not ready")] * 1_000
    with pytest.raises(Unavailable, match=r"a/1.*not ready"):
        asyncio.run(cluster.router.administration.optimize("a", 10.0))
    assert 109.0 < cluster.clock.now <= 110.0
