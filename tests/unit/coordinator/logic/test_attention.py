"""Which shards a round looks at. That its steps are those of a round over all shards is checked by every round of
test_convergence, see World.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.coordinator.logic.attention import Attention, is_settled
from shoal.coordinator.logic.reconcile import questions, reconcile
from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionState
from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.rebalance import Drain
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import Move, ShardConfig, ShardState
from tests.support.examples.cluster_maps import pairs_of_maps
from tests.twins.coordinator.plain_focus import check_focus, snapshot_of
from tests.twins.coordinator.world import collection_of, map_of, shard_config, worker_entry

COLLECTION = collection_of("c", state=CollectionState.ACTIVE, replicas=2, min_isr=1)
SHARD = ShardId(COLLECTION.id, 0)
BOTH = shard_config(SHARD, {"r0": "a", "r1": "b"}, isr=["r0", "r1"])


def cluster_of(config: ShardConfig, *workers: str, state: CollectionState = CollectionState.ACTIVE) -> ClusterMap:
    collection = dataclasses.replace(COLLECTION, state=state)
    return map_of([collection], [config], [worker_entry(worker) for worker in workers or ("a", "b")])


def test_a_shard_with_all_its_replicas_on_live_workers_is_settled() -> None:
    assert is_settled(cluster_of(BOTH), SHARD)
    assert is_settled(cluster_of(shard_config(SHARD, {"r0": "a", "r1": "b"}, isr=["r0"], learners=["r1"])), SHARD), "it only catches up"
    assert is_settled(cluster_of(dataclasses.replace(BOTH, state=ShardState.CREATING)), SHARD), "its worker makes its folder"
    assert is_settled(cluster_of(BOTH, state=CollectionState.DROPPING), SHARD)


@pytest.mark.parametrize(
    "changes",
    [
        {"primary_reg": Revision(0)},
        {"primary_reg": Revision(9)},
        {"leaving": (ReplicaId("r1"),)},
        {"rf": 3},
        {"min_isr": 2},
        {"move": Move(source=ReplicaId("r0"), target=ReplicaId("r1"))},
        {"successor": ReplicaId("r1")},
        {"isr": (ReplicaId("r0"),), "worker_of": {ReplicaId("r0"): WorkerId("a")}},
    ],
)
def test_a_shard_that_lacks_something_is_not(changes: dict[str, object]) -> None:
    assert not is_settled(cluster_of(dataclasses.replace(BOTH, **changes)), SHARD)  # type: ignore[arg-type]


def test_a_worker_that_is_gone_unsettles_its_shards_only() -> None:
    other = shard_config(ShardId(COLLECTION.id, 1), {"s0": "a", "s1": "c"}, isr=["s0", "s1"])
    whole = map_of([COLLECTION], [BOTH, other], [worker_entry(worker) for worker in "abc"])
    attention = Attention().seen(whole)
    assert attention.focus.shards == frozenset()
    without_b = dataclasses.replace(whole, workers={worker: each for worker, each in whole.workers.items() if worker != "b"})
    assert attention.seen(without_b).focus.shards == {SHARD}
    assert attention.seen(without_b).seen(whole).focus.shards == frozenset()


def test_a_drain_unsettles_the_shards_that_the_worker_leads_until_it_ends() -> None:
    led_by_b = shard_config(ShardId(COLLECTION.id, 1), {"s0": "a", "s1": "b"}, isr=["s0", "s1"], primary="s1")
    whole = map_of([COLLECTION], [BOTH, led_by_b], [worker_entry(worker) for worker in "ab"])
    attention = Attention().seen(whole)
    drained = dataclasses.replace(whole, drains={WorkerId("b"): Drain(primaries_only=True, asked_by="", since_ms=1)})
    assert attention.seen(drained).focus.shards == {led_by_b.shard}
    assert attention.seen(drained).seen(whole).focus.shards == frozenset()


@given(pairs_of_maps())
@settings(max_examples=200)
def test_what_was_judged_again_is_enough(pair: tuple[ClusterMap, ClusterMap]) -> None:
    before, after = pair
    for seen, cluster in ((Attention().seen(before), before), (Attention().seen(before).seen(after), after)):
        check_focus(seen.focus, cluster)


@given(pairs_of_maps(), st.sampled_from([0.0, 1e9]), st.booleans())
@settings(max_examples=200)
def test_a_settled_shard_has_no_step_whatever_is_told_and_however_long_one_waits(
    pair: tuple[ClusterMap, ClusterMap], seconds: float, told: bool
) -> None:
    cluster = pair[1]
    replicas = [replica for entry in cluster.shards.values() for replica in entry.config.worker_of]
    ends = {replica: LogEnd(term=Term(1), seq=Seq(1)) for replica in replicas} if told else {}
    whole = snapshot_of(
        cluster,
        told=Told(ends=ends),
        absent_s={worker: seconds for worker in cluster.shards.workers if worker not in cluster.workers},
        unled_s=dict.fromkeys(cluster.shards, seconds),
        joining_s=dict.fromkeys(cluster.shards, seconds),
    )
    focus = Attention().seen(cluster).focus
    assert reconcile(dataclasses.replace(whole, focus=focus), 1_000) == reconcile(whole, 1_000)
    assert questions(cluster, focus.shards) == questions(cluster, cluster.shards)
