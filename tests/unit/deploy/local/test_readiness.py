from __future__ import annotations

import dataclasses

from shoal.core.health import ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.replies import ClusterInfo, ShardInfo, WorkerInfo
from shoal.deploy.local.readiness import failed_shards, missing

WORKER = WorkerInfo(id="w", address="h:1", pid=1, node="n", zone="", state=WorkerCondition.UP, memory=1)
SHARD = ShardInfo(collection="c", shard=0, term=1, primary="w", isr=("w",), learners=(), state=ShardCondition.OK, detail="")
INFO = ClusterInfo(cluster_id="x", leader="h:2", workers=(WORKER,), shards=(SHARD,))


def with_shards(*states: ShardCondition) -> ClusterInfo:
    shards = tuple(dataclasses.replace(SHARD, shard=at, state=state, detail="damaged log") for at, state in enumerate(states))
    return dataclasses.replace(INFO, shards=shards)


def test_a_whole_cluster_lacks_nothing() -> None:
    assert missing(INFO, 1) is None


def test_what_is_lacking_is_named_in_the_order_of_need() -> None:
    assert missing(dataclasses.replace(INFO, leader=None, workers=()), 1) == "a coordinator that leads"
    assert missing(INFO, 2) == "workers (1 of 2 are there)"
    down = dataclasses.replace(WORKER, state=WorkerCondition.DOWN)
    assert missing(dataclasses.replace(INFO, workers=(down,)), 1) == "workers (0 of 1 are there)"


def test_shards_that_do_not_answer_are_named_a_few_of_them() -> None:
    assert missing(with_shards(ShardCondition.OK, ShardCondition.OPENING), 1) == "shards that do not answer yet (c/1)"
    assert missing(with_shards(*[ShardCondition.CREATING] * 5), 1) == "shards that do not answer yet (c/0, c/1, c/2 and 2 more)"


def test_a_failed_shard_is_not_waited_for_but_reported() -> None:
    info = with_shards(ShardCondition.OK, ShardCondition.FAILED)
    assert missing(info, 1) is None
    assert failed_shards(info) == ("c/1: damaged log",)


def test_a_shard_that_lacks_a_worker_that_was_not_started_is_reported_and_does_not_hold_up_the_rest() -> None:
    lost = dataclasses.replace(SHARD, state=ShardCondition.OPENING, replication=ReplicationCondition.READ_ONLY, detail="worker w9 is down")
    info = dataclasses.replace(
        INFO, shards=(SHARD, dataclasses.replace(lost, shard=1), dataclasses.replace(SHARD, shard=2, state=ShardCondition.OPENING))
    )
    assert missing(info, 1) == "shards that do not answer yet (c/2)"
    assert failed_shards(info) == ("c/1: worker w9 is down",)
