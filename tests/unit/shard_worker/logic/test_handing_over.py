"""Test who is chosen to lead the shards of a worker that ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cluster_map import MOVES_FEATURE, ClusterMap, WorkerEntry
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.map_tables import ShardTable
from shoal.core.rebalance import Drain
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from shoal.shard_worker.logic.handing_over import successors

ME = WorkerId("w0")
C = CollectionId("c")


def worker(name: str, *, able: bool = True) -> WorkerEntry:
    features = frozenset({MOVES_FEATURE}) if able else frozenset()
    return WorkerEntry(
        id=WorkerId(name), address="a:1", incarnation=name, pid=1, node="n", zone="", features=features, registration=Revision(1)
    )


def entry(number: int, isr: Sequence[str], *, learners: Sequence[str] = (), leaving: Sequence[str] = (), min_isr: int = 1) -> ShardEntry:
    """Return a shard whose replicas are named after their workers; the first of the isr leads."""
    config = ShardConfig(
        shard=ShardId(C, number),
        term=Term(1),
        primary=ReplicaId(f"r-{isr[0]}"),
        primary_reg=Revision(1),
        isr=tuple(ReplicaId(f"r-{each}") for each in isr),
        elr=(),
        learners=tuple(ReplicaId(f"r-{each}") for each in learners),
        worker_of={ReplicaId(f"r-{each}"): WorkerId(each) for each in (*isr, *learners)},
        min_isr=min_isr,
        rf=len(isr),
        state=ShardState.ACTIVE,
        slots=(),
        leaving=tuple(ReplicaId(f"r-{each}") for each in leaving),
    )
    return ShardEntry(config=config, epoch=Revision(5))


def cluster(entries: Sequence[ShardEntry], workers: Sequence[WorkerEntry]) -> ClusterMap:
    return ClusterMap(shards=ShardTable(entries), workers={each.id: each for each in workers})


def chosen(cluster_map: ClusterMap, *numbers: int) -> dict[int, str]:
    found = successors(cluster_map, ME, [ShardId(C, number) for number in numbers])
    return {shard.number: replica.removeprefix("r-") for shard, replica in found.items()}


def test_who_leads_least_gets_the_next_one():
    entries = [entry(number, ["w0", "w1", "w2"]) for number in range(4)] + [entry(4, ["w1", "w2"]), entry(5, ["w1", "w2"])]
    assert chosen(cluster(entries, [worker(f"w{n}") for n in range(3)]), 0, 1, 2, 3) == {0: "w2", 1: "w2", 2: "w1", 3: "w2"}


def test_only_a_replica_in_sync_that_stays_on_a_live_worker_that_can_may_lead():
    workers = [worker("w0"), worker("w1"), worker("w2"), worker("old", able=False)]
    entries = [
        entry(0, ["w0"]),
        entry(1, ["w0"], learners=["w1"]),
        entry(2, ["w0", "gone"]),
        entry(3, ["w0", "old"]),
        entry(4, ["w0", "w1"], leaving=["w1"]),
        entry(5, ["w0", "w1"], min_isr=3),
        entry(6, ["w0", "old", "w2"]),
    ]
    assert chosen(cluster(entries, workers), *range(8)) == {6: "w2"}


def test_drained_and_forgotten_workers_get_nothing():
    workers = [worker(f"w{n}") for n in range(4)]
    drain = Drain(primaries_only=True, asked_by="ann", since_ms=1)
    plain = cluster([entry(0, ["w0", "w1", "w2", "w3"])], workers)
    found = dataclasses.replace(plain, drains={WorkerId("w1"): drain}, forgotten={WorkerId("w2"): Revision(1)})
    assert chosen(plain, 0) == {0: "w1"}
    assert chosen(found, 0) == {0: "w3"}


@given(st.lists(st.permutations(["w0", "w1", "w2", "w3"]), max_size=12))
def test_the_others_lead_as_evenly_as_it_goes(orders):
    entries = [entry(number, ["w0", *(each for each in order if each != "w0")]) for number, order in enumerate(orders)]
    found = chosen(cluster(entries, [worker(f"w{n}") for n in range(4)]), *range(len(orders)))
    assert found.keys() == set(range(len(orders)))
    counts = [list(found.values()).count(f"w{n}") for n in (1, 2, 3)]
    assert max(counts) - min(counts) <= 1
