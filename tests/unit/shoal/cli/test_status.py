import dataclasses

import pytest

from shoal.cli.advice import problems_of
from shoal.core.errors import Unavailable
from shoal.core.health import MemberRole, ReplicaRole, ReplicationCondition, ShardCondition, WorkerCondition
from shoal.core.rebalance import ItemState
from shoal.core.replies import ClusterInfo, ReplicaInfo, ShardInfo, WorkerInfo
from tests.twins.balancing import LOST, NEW, STEPS, A, B, C

MIB = 1024**2
FILES = {"file_limit": 0, "files_open": 0}
MEMORY = {"memory": 3 * MIB, "memory_used": MIB, "memory_budget": 2 * MIB}
WORKER = WorkerInfo(id="w1", address="h:1", pid=42, node="n", zone="z", state=WorkerCondition.UP, **MEMORY)
SHARD = ShardInfo(
    collection="c", shard=0, term=3, primary="w1", isr=("w1",), learners=(), state=ShardCondition.OK, detail="", memory=MIB // 2
)
WELL = ClusterInfo(cluster_id="id", leader="l:1", workers=(WORKER,), shards=(SHARD,))


def with_shard(**changes):
    return dataclasses.replace(WELL, shards=(dataclasses.replace(SHARD, **changes),))


def with_worker(**changes):
    return dataclasses.replace(WELL, workers=(dataclasses.replace(WORKER, **changes),))


def test_a_cluster_that_is_well(shoal):
    shoal.cluster.info, shoal.cluster.balancing.workers = WELL, {}
    shown = shoal("status")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "cluster id, led by l:1",
        "",
        "WORKER  STATE  ADDRESS  PID  NODE  ZONE  MEMORY   USED     BUDGET",
        "w1      up     h:1       42  n     z     3.0 MiB  1.0 MiB  2.0 MiB",
        "",
        "COLLECTION  SHARD  STATE  REPLICATION  PRIMARY  TERM  IN SYNC  OTHERS  MEMORY",
        "c               0  ok     ok           w1          3  w1               512.0 KiB",
        "",
        "all is well: 1 worker up, 1 shard ok",
    ]


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (dataclasses.replace(WELL, leader=None), "no coordinator leads"),
        (dataclasses.replace(WELL, workers=()), "no worker is registered"),
        (with_worker(state=WorkerCondition.DOWN), "worker w1 is down; start it again with its data folder"),
        (with_worker(state=WorkerCondition.UNREACHABLE), "worker w1 at h:1 is unreachable; check its process (pid 42)"),
        (with_shard(state=ShardCondition.CREATING), "shard c/0 is still being created"),
        (
            with_shard(state=ShardCondition.OPENING, detail="worker w1 is opening it"),
            "shard c/0 is being opened: worker w1 is opening it; wait a moment, and see the worker's log when it takes long",
        ),
        (
            with_shard(state=ShardCondition.NO_PRIMARY, detail="its worker is down"),
            "shard c/0 has no primary: its worker is down; bring back worker w1",
        ),
        (
            with_shard(state=ShardCondition.FAILED, detail="log damaged"),
            "shard c/0 has failed: log damaged; see the log of worker w1, keep its folder",
        ),
        (
            with_worker(disk="disk nearly full: 88.0% of it is in use"),
            "worker w1: disk nearly full: 88.0% of it is in use; free room on its disk",
        ),
        (
            with_worker(memory_used=19, memory_budget=20),
            "worker w1: 95 % of its memory budget is in use, and writes beyond it are refused; delete or drop",
        ),
        (with_shard(state=ShardCondition("odd")), "shard c/0 is unknown"),
    ],
)
def test_what_is_wrong_is_said_in_words(shoal, cluster, words):
    shoal.cluster.info = cluster
    shown = shoal("status")
    assert shown.code == 0
    assert f"problem: {words}" in shown.out
    assert "all is well" not in shown.out
    assert words in shoal("status", "--json").document["problems"][0]


def test_a_worker_that_is_gone_is_told_once_with_the_shards_that_wait_for_it():
    down = dataclasses.replace(WORKER, state=WorkerCondition.DOWN)
    waiting = dataclasses.replace(SHARD, state=ShardCondition.NO_PRIMARY, detail="worker w1 is down")
    shards = tuple(dataclasses.replace(waiting, shard=number) for number in range(7))
    one = dataclasses.replace(WELL, workers=(down,), shards=shards[:1])
    assert problems_of(one) == ["worker w1 is down, and shard c/0 waits for it; start it again with its data folder"]
    many = dataclasses.replace(WELL, workers=(down,), shards=shards)
    assert problems_of(many) == [
        "worker w1 is down, and 7 shards c/0, c/1, c/2, c/3, c/4 and 2 more wait for it; start it again with its data folder"
    ]
    back = dataclasses.replace(one, workers=(WORKER,))
    assert problems_of(back) == ["shard c/0 has no primary: worker w1 is down; bring back worker w1"]


def replicas(*workers, state=ReplicaRole.BACKUP):
    return tuple(
        ReplicaInfo(id=f"r{at}", worker=worker, role=MemberRole.ISR, state=state, applied_seq=10 - at) for at, worker in enumerate(workers)
    )


def test_who_is_not_in_sync_is_shown_with_what_it_is_instead(shoal):
    told = replicas("w1", "w2", "w3")
    shoal.cluster.info = with_shard(
        learners=("w3", "w4"), elr=("w2",), leaving=("w5",), replicas=told, replication=ReplicationCondition.UNDER_REPLICATED
    )
    assert "w2 (may lead), w3 (learner, 2 behind), w4 (learner), w5 (leaving)" in shoal("status").out
    shoal.cluster.info = with_shard(learners=("w3",), replicas=replicas("w1", "w3", state=ReplicaRole.UNTOLD))
    assert "w3 (learner) " in shoal("status").out


def test_shards_with_too_few_copies_are_told_together_by_reason():
    few = dataclasses.replace(
        SHARD, replication=ReplicationCondition.UNDER_REPLICATED, detail="1 of 2 replicas are in sync: worker w2 is down"
    )
    less = dataclasses.replace(
        SHARD, shard=9, replication=ReplicationCondition.READ_ONLY, detail="1 of the 2 replicas that a write needs are in sync"
    )
    shards = (*(dataclasses.replace(few, shard=number) for number in range(7)), less)
    assert problems_of(dataclasses.replace(WELL, shards=shards)) == [
        "7 shards c/0, c/1, c/2, c/3, c/4 and 2 more are under-replicated: 1 of 2 replicas are in sync: worker w2 is down; "
        "bring back what is down, or wait for what catches up",
        "shard c/9 is read only and refuses writes: 1 of the 2 replicas that a write needs are in sync; "
        "bring back what is down, or wait for what catches up",
    ]
    assert problems_of(with_shard(replication=ReplicationCondition.CREATING)) == []


@pytest.mark.parametrize(
    ("replication", "so"),
    [(ReplicationCondition.UNAVAILABLE, ""), (ReplicationCondition.UNDER_REPLICATED, "; another replica is about to lead it")],
)
def test_a_shard_of_several_replicas_does_not_wait_for_one_worker(replication, so):
    gone = dataclasses.replace(
        SHARD, state=ShardCondition.NO_PRIMARY, detail="worker w1 is down", replicas=replicas("w1", "w2"), replication=replication
    )
    cluster = dataclasses.replace(WELL, workers=(dataclasses.replace(WORKER, state=WorkerCondition.DOWN),), shards=(gone,))
    assert problems_of(cluster) == [
        "worker w1 is down; start it again with its data folder",
        f"shard c/0 has no primary: worker w1 is down{so}",
    ]


def test_what_is_not_known_of_a_worker_that_is_down_stays_empty(shoal):
    gone = dataclasses.replace(
        WORKER, id="w2", state=WorkerCondition.DOWN, address="", pid=0, node="", memory=0, memory_used=0, memory_budget=0
    )
    shoal.cluster.info = dataclasses.replace(WELL, workers=(WORKER, gone))
    assert shoal("status").out.splitlines()[2:5] == [
        "WORKER  STATE  ADDRESS  PID  NODE  ZONE  MEMORY   USED     BUDGET",
        "w1      up     h:1       42  n     z     3.0 MiB  1.0 MiB  2.0 MiB",
        "w2      down                       z",
    ]


def test_nothing_is_wrong_with_a_cluster_that_is_well():
    assert problems_of(WELL) == []
    assert problems_of(with_worker(memory_used=94, memory_budget=100)) == []
    assert problems_of(with_worker(memory_used=5, memory_budget=0)) == []
    assert problems_of(with_worker(file_limit=65_536, files_open=60_000)) == []


def test_a_worker_that_may_open_few_files_or_nearly_no_more_is_a_problem():
    (few,) = problems_of(with_worker(file_limit=1024, files_open=90))
    assert "may have only 1,024 files open; raise the limit" in few
    assert "it has 90 open" in few
    (full,) = problems_of(with_worker(file_limit=65_536, files_open=65_000))
    assert "may have 65,536 files open; drop collections" in full


def test_json_has_the_promised_names(shoal):
    shoal.cluster.info = WELL
    document = shoal("status", "--json").document
    assert document["workers"] == [
        {"id": "w1", "address": "h:1", "pid": 42, "node": "n", "zone": "z", "state": "up", "disk": "", **MEMORY, **FILES}
    ]
    assert document["shards"][0]["isr"] == ["w1"]
    assert document["shards"][0]["memory"] == MIB // 2
    assert document["problems"] == []


def balanced(shoal):
    """Give the cluster the workers of the balancing twin. Return the twin."""
    twin = shoal.cluster.balancing
    workers = [dataclasses.replace(WORKER, id=each.worker, state=each.state) for each in twin.workers.values()]
    shards = [dataclasses.replace(SHARD, collection="fashion", shard=2, primary=C, isr=(C,), learners=(NEW,))]
    shoal.cluster.info = dataclasses.replace(WELL, workers=tuple(workers), shards=tuple(shards))
    return twin


def test_an_idle_worker_beside_full_ones_is_a_hint_until_a_plan_runs(shoal):
    twin = balanced(shoal)
    hint = "worker e41d-0004 holds nothing: `shoal rebalance plan` shows what to move there"
    assert shoal("status").out.splitlines()[-1] == f"hint: {hint}"
    assert shoal("status", "--json").document["hints"] == [hint]
    shoal("rebalance", "apply", "--yes", "--no-wait")
    assert "hint" not in shoal("status").out
    twin.entries.clear()
    shoal("worker", "drain", NEW, "--no-wait")
    assert shoal("status", "--json").document["hints"] == []


def test_a_cluster_with_one_replica_for_two_workers_has_no_idle_one(shoal):
    twin = balanced(shoal)
    twin.workers = {each: dataclasses.replace(twin.workers[each], replicas=number) for each, number in ((A, 1), (NEW, 0))}
    assert "hint" not in shoal("status").out


def test_the_time_until_replicas_are_replaced_counts_down(shoal):
    twin = balanced(shoal)
    said = "worker d1ed-0005 is down; start it again with its data folder, else its replicas are replaced in 6 min"
    shown = shoal("status").out
    assert f"problem: {said}\n" in shown
    assert "d1ed-0005  down, replaced in 6 min  h:1" in shown
    twin.workers[LOST] = dataclasses.replace(twin.workers[LOST], replaced_in_s=None)
    assert "else its replicas are being replaced\n" in shoal("status").out


def test_drained_workers_are_marked(shoal):
    twin = balanced(shoal)
    twin.drain_steps = []
    shoal("worker", "drain", A, "--no-wait")
    shoal("worker", "drain", B, "--primaries")
    shown = shoal("status").out
    assert "3fa2-0001  up, draining " in shown
    assert "77c1-0002  up, leads nothing " in shown
    twin.drain_steps = [(0, 0)]
    assert "3fa2-0001  up, drained " in shoal("status").out


def test_moves_under_way_are_shown_beside_the_others(shoal):
    twin = balanced(shoal)
    shoal("rebalance", "apply", "--yes", "--no-wait")
    assert "e41d-0004 (learner), 9be0-0003 moving to e41d-0004, 50 %" in shoal("status").out
    twin.steps = (((ItemState.WARMING, 1.0), *STEPS[0][1:]),) * 9
    assert "9be0-0003 moving to e41d-0004, builds its indexes" in shoal("status").out


@pytest.mark.parametrize("leader", ["l:1", None])
def test_it_works_without_a_coordinator_that_answers(shoal, monkeypatch, leader):
    balanced(shoal)
    shoal.cluster.info = dataclasses.replace(shoal.cluster.info, leader=leader)

    def silent(request):
        raise Unavailable("no coordinator leads the cluster")

    monkeypatch.setattr(shoal.cluster.balancing, "ListWorkers", silent)
    shown = shoal("status")
    assert shown.code == 0
    assert "d1ed-0005  down   h:1" in shown.out
    note = "note: drains, absences and moves are not shown, the coordinator does not tell them: no coordinator leads"
    assert shown.err.startswith(note if leader else "")
    assert shown.err.count("\n") == (1 if leader else 0)


NOW = 1_800_000_000
DAY = 86_400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (30 * DAY, "expires in 30 days"),
        (DAY, "expires in 1 day;"),
        (0, "has expired"),
        (-DAY, "has expired"),
        (30 * DAY + 1, None),
    ],
)
def test_a_certificate_that_expires_soon_is_a_problem(seconds, words):
    found = problems_of(dataclasses.replace(WELL, certificate_not_after=NOW + seconds), now=NOW)
    assert (len(found), words is None or words in found[0]) == (0 if words is None else 1, True)


def test_a_router_that_is_open_to_everybody_is_a_problem(shoal):
    shoal.cluster.info, shoal.cluster.balancing.workers = dataclasses.replace(WELL, insecure=True), {}
    assert "problem: the router listens beyond loopback without TLS (insecure = true)" in shoal("status").out
    document = shoal("status", "--json").document
    assert (document["insecure"], document["certificate_not_after"], len(document["problems"])) == (True, None, 1)
