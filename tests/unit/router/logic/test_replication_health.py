from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DeadlineExceeded
from shoal.core.health import MemberRole, ReplicaRole
from shoal.core.ids import ReplicaId, Seq, WorkerId
from shoal.core.replies import ReplicaInfo
from shoal.core.shard_calls import ReplicaStatus, WorkerStatus
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.router.logic.replication_health import replicas_of, replication_of
from tests.twins.cluster import worker_entry
from tests.unit.router.configs import SHARD, config_of, configs

ALL = ("wp", "wq", "wr", "ws", "wt")
THREE = config_of(isr=("p", "q", "r"), min_isr=2)


def up(*workers: str) -> ClusterMap:
    return ClusterMap(workers={WorkerId(each): worker_entry(WorkerId(each)) for each in workers})


def told(worker: str, applied: int = 7, role: ReplicaRole = ReplicaRole.BACKUP) -> WorkerStatus:
    replica = ReplicaStatus(replica=ReplicaId(worker[1:]), role=role, applied_seq=Seq(applied))
    return WorkerStatus(memory_bytes=1, failed={}, replicas={str(SHARD): replica})


def said(config: ShardConfig, cluster: ClusterMap | None = None, **statuses: Any) -> tuple[str, str, str]:
    cluster = cluster or up(*ALL)
    found = replication_of(cluster, {each: told(each) for each in cluster.workers} | statuses, config, "a/0")
    return found.state, found.summary, "; ".join(cause.words for cause in found.causes)


def test_as_many_in_sync_as_are_wanted_is_ok() -> None:
    assert said(THREE) == ("ok", "", "")
    assert said(dataclasses.replace(THREE, state=ShardState.CREATING)) == ("creating", "", "")


@pytest.mark.parametrize(
    ("gone", "statuses", "why"),
    [
        ("wr", {}, "worker wr is down"),
        ("", {"wr": DeadlineExceeded("1 s passed")}, "worker wr is unreachable"),
        ("", {"wr": WorkerStatus(memory_bytes=1, failed={str(SHARD): "crc"})}, "the replica on worker wr has failed: crc"),
    ],
)
def test_a_replica_that_is_lost_is_named_with_the_reason(gone: str, statuses: dict[str, Any], why: str) -> None:
    cluster = up(*(each for each in ALL if each != gone))
    assert said(THREE, cluster, **statuses) == ("under-replicated", "2 of 3 replicas are in sync", why)


def test_a_learner_is_told_with_the_records_it_is_behind_where_both_say_where_they_are() -> None:
    catching_up = config_of(isr=("p", "q"), learners=("r",))
    assert said(catching_up, wp=told("wp", 1_000), wr=told("wr", 20))[2] == "the replica on worker wr catches up, 980 records behind"
    silent = WorkerStatus(memory_bytes=1, failed={})
    assert said(catching_up, wr=silent) == ("under-replicated", "2 of 3 replicas are in sync", "the replica on worker wr catches up")
    other = dataclasses.replace(
        told("wr"), replicas={str(SHARD): ReplicaStatus(replica=ReplicaId("old"), role=ReplicaRole.BACKUP, applied_seq=Seq(3))}
    )
    assert said(catching_up, wr=other)[2] == "the replica on worker wr catches up"


def test_replicas_without_a_place_are_counted_and_those_that_leave_are_not_missed() -> None:
    alone = config_of(isr=("p",), rf=3)
    assert said(alone, up("wp"))[1:] == ("1 of 3 replicas are in sync", "2 more have no place yet (1 workers are up)")
    assert said(config_of(isr=("p", "q"), leaving=("r",), rf=2), up("wp", "wq"))[0] == "ok"


def test_fewer_in_sync_than_a_write_needs_is_read_only() -> None:
    assert said(THREE, up("wp")) == (
        "read only",
        "1 of the 2 replicas that a write needs are in sync",
        "worker wq is down; worker wr is down",
    )
    assert said(config_of(isr=("p",), elr=("q",), min_isr=2), up("wp", "wq"))[0] == "read only"


def test_when_nobody_may_lead_it_says_who_must_come_back_and_what_else_can_be_done() -> None:
    lost = config_of(isr=("p",), elr=("q",), learners=("r",), min_isr=2)
    state, summary, _ = said(lost, up("wr"))
    assert (state, summary) == (
        "unavailable",
        "no other replica may lead it: the replica on worker wp or wq must come back, or its loss be accepted: shoal shard recover a/0",
    )
    assert said(lost, up("ws"))[1] == "no other replica may lead it: the replica on worker wp or wq must come back"


def test_every_replica_is_told_with_its_role() -> None:
    config = config_of(isr=("p",), elr=("q",), learners=("r",), leaving=("s",))
    failed = WorkerStatus(memory_bytes=1, failed={str(SHARD): "crc"})
    found = replicas_of(up("wp", "wq", "wr"), {"wp": told("wp", 9, ReplicaRole.PRIMARY), "wq": failed, "wr": DeadlineExceeded("x")}, config)
    assert found == (
        ReplicaInfo(id="p", worker="wp", role=MemberRole.PRIMARY, state=ReplicaRole.PRIMARY, applied_seq=9),
        ReplicaInfo(id="q", worker="wq", role=MemberRole.ELR, state=ReplicaRole.FAILED, applied_seq=0),
        ReplicaInfo(id="r", worker="wr", role=MemberRole.LEARNER, state=ReplicaRole.UNTOLD, applied_seq=0),
        ReplicaInfo(id="s", worker="ws", role=MemberRole.LEAVING, state=ReplicaRole.UNTOLD, applied_seq=0),
    )


@given(configs(), st.sets(st.sampled_from(ALL)))
def test_the_state_follows_from_the_live_members(config: ShardConfig, live: set[str]) -> None:
    there = {each for each, home in config.worker_of.items() if home in live}
    in_sync = len(there & set(config.isr))
    state, _, why = said(config, up(*sorted(live)))
    if not there & {*config.isr, *config.elr}:
        assert state == "unavailable"
    elif in_sync < config.min_isr:
        assert state == "read only"
    else:
        assert state == ("ok" if in_sync >= config.rf else "under-replicated")
    for replica, home in config.worker_of.items():
        assert (f"worker {home} is down" in why) == (state != "ok" and replica in config.members and replica not in there)
