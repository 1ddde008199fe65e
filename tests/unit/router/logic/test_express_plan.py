"""Which collections are searched in one call at a worker of this process, and where."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.shard_calls import Consistency
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.router.logic.breaker import Gate
from shoal.router.logic.express_plan import ALONE_US, ON_LOOP_US, ExpressPlan, Lane, express_plan, goes_first, lane_of, still_holds
from shoal.router.logic.replica_choice import ReplicaLoad, homes_of, replicas_to_ask
from tests.twins.cluster import worker_entry
from tests.unit.router.configs import config_of, configs

HERE = frozenset({WorkerId("wp")})
COLLECTION = Collection(
    id=CollectionId("id-a"), spec=CollectionSpec(name="a", dim=4, shards=2), state=CollectionState.ACTIVE, request_id="r"
)


def cluster(*shards: ShardConfig, workers: str = "pqrst") -> ClusterMap:
    names = [WorkerId(f"w{name}") for name in workers]
    return ClusterMap(
        workers={name: worker_entry(name) for name in names},
        collections=CollectionTable((COLLECTION,)),
        shards=ShardTable(ShardEntry(config=numbered(each, number), epoch=Revision(9)) for number, each in enumerate(shards)),
    )


def numbered(config: ShardConfig, number: int) -> ShardConfig:
    return dataclasses.replace(config, shard=ShardId(COLLECTION.id, number))


def plan_of(*shards: ShardConfig, workers: str = "pqrst", consistency: Consistency = Consistency.SESSION) -> ExpressPlan | None:
    return express_plan(cluster(*shards, workers=workers), COLLECTION, consistency, HERE)


def test_every_shard_has_its_only_replica_here() -> None:
    plan = plan_of(config_of(), config_of())
    assert plan is not None
    assert (plan.worker, [shard.number for shard in plan.shards], plan.replicas, plan.others) == ("wp", [0, 1], ("p", "p"), ())


@pytest.mark.parametrize("consistency", list(Consistency))
def test_one_shard_elsewhere_is_enough_to_go_shard_by_shard(consistency: Consistency) -> None:
    assert plan_of(config_of(), config_of(primary="q", isr=("q",)), consistency=consistency) is None


def test_a_shard_that_is_not_placed_goes_shard_by_shard() -> None:
    assert plan_of(config_of()) is None


def test_a_learner_is_never_read() -> None:
    learning = config_of(primary="q", isr=("q",), learners=("p",))
    assert plan_of(config_of(), learning) is None
    assert plan_of(config_of(), learning, workers="p") is None


def test_an_eligible_replica_is_read_only_if_none_in_sync_lives() -> None:
    eligible = config_of(primary="q", isr=("q",), elr=("p",))
    assert plan_of(config_of(), eligible) is None
    assert plan_of(config_of(), eligible, workers="p") is not None


def test_a_read_at_the_primary_wants_the_primary_here() -> None:
    followed = config_of(primary="q", isr=("q", "p"))
    assert plan_of(config_of(), followed) is not None
    assert plan_of(config_of(), followed, consistency=Consistency.PRIMARY) is None
    assert plan_of(config_of(), config_of(isr=("p", "q")), consistency=Consistency.PRIMARY) is not None


def test_other_live_replicas_are_named_and_dead_ones_are_not() -> None:
    plan = plan_of(config_of(), config_of(isr=("p", "q", "r")), workers="pq")
    assert plan is not None
    assert plan.others == ((ShardId(COLLECTION.id, 1), ("wq",)),)


@settings(max_examples=200, deadline=None)
@given(config=configs(), consistency=st.sampled_from(list(Consistency)), workers=st.sets(st.sampled_from("pqrst")))
def test_the_replica_here_is_one_that_would_be_asked_first(config: ShardConfig, consistency: Consistency, workers: set[str]) -> None:
    """With equal loads, and with breakers closed, as a search shard by shard chooses."""
    live = {WorkerId(f"w{name}") for name in workers} | HERE
    loads = {worker: ReplicaLoad(latency_s=1.0, here=worker in HERE) for worker in live}
    choices = replicas_to_ask(homes, loads) if (homes := homes_of(numbered(config, 0), consistency, live)) else ()
    found = express_plan(
        cluster(config, workers="".join(workers)),
        dataclasses.replace(COLLECTION, spec=dataclasses.replace(COLLECTION.spec, shards=1)),
        consistency,
        HERE,
    )
    assert (found is not None) == bool(choices and choices[0].worker in HERE)
    if found is not None:
        assert found.replicas == (choices[0].replica,)
        assert {worker for _, others in found.others for worker in others} == {each.worker for each in choices[1:]}


def test_a_plan_holds_as_long_as_its_replicas_may_answer() -> None:
    plan = plan_of(config_of(), config_of(isr=("p", "q")))
    assert plan is not None
    both = [Consistency.SESSION, Consistency.PRIMARY]
    same = cluster(config_of(), config_of(isr=("p", "q")))
    assert [still_holds(plan, same, each) for each in both] == [True, True]
    another_term = cluster(config_of(), dataclasses.replace(config_of(isr=("p", "q")), term=Term(2)))
    assert [still_holds(plan, another_term, each) for each in both] == [True, False]
    another_primary = cluster(config_of(), dataclasses.replace(config_of(isr=("p", "q")), primary=ReplicaId("q")))
    assert [still_holds(plan, another_primary, each) for each in both] == [True, False]
    left = cluster(config_of(), config_of(primary="q", isr=("q",), learners=("p",)))
    assert [still_holds(plan, left, each) for each in both] == [False, False]
    assert [still_holds(plan, cluster(config_of()), each) for each in both] == [False, False]


def test_a_replica_goes_first_unless_its_breaker_is_open_or_another_one_waits_for_a_probe() -> None:
    assert goes_first(Gate.PASSES, [])
    assert goes_first(Gate.PASSES, [Gate.PASSES, Gate.SHUT])
    assert not goes_first(Gate.PASSES, [Gate.PASSES, Gate.PROBES])
    assert not goes_first(Gate.SHUT, [])
    assert not goes_first(Gate.PROBES, [])


def test_where_a_search_runs() -> None:
    alone, shared = plan_of(config_of(), config_of()), plan_of(config_of(), config_of(isr=("p", "q")))
    assert alone is not None
    assert shared is not None
    assert [lane_of(cost_us=ON_LOOP_US, queries=1, plan=each) for each in (alone, shared)] == [Lane.LOOP, Lane.LOOP]
    long_us = ON_LOOP_US + 1
    assert [lane_of(cost_us=long_us, queries=100, plan=each) for each in (alone, shared)] == [Lane.POOL, Lane.EACH_SHARD]
    assert [lane_of(cost_us=us, queries=1, plan=alone) for us in (long_us, ALONE_US + 1)] == [Lane.POOL, Lane.EACH_SHARD]
    assert lane_of(cost_us=math.inf, queries=2, plan=alone) is Lane.POOL
    one_shard = dataclasses.replace(alone, shards=alone.shards[:1])
    assert lane_of(cost_us=ALONE_US + 1, queries=1, plan=one_shard) is Lane.POOL
