from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.ids import CollectionId, ReplicaId, ShardId, WorkerId
from shoal.core.shard_calls import Consistency
from shoal.router.logic.breaker import Gate
from shoal.router.logic.replica_choice import ReplicaChoice, ReplicaLoad, homes_of, replicas_to_ask
from shoal.router.logic.shard_groups import AskedAlone, ShardChoices, ShardHomes, choices_of_shards, elsewhere, grouped
from tests.unit.router.configs import config_of

WORKERS = st.sampled_from("abc")


@st.composite
def shard_choices(draw: st.DrawFn) -> list[ShardChoices]:
    """Shards with any replicas on different workers."""
    shards = []
    for number in range(draw(st.integers(1, 8))):
        workers = draw(st.lists(WORKERS, min_size=1, max_size=3, unique=True))
        choices = [
            ReplicaChoice(replica=ReplicaId(f"{number}{each}"), worker=WorkerId(each), probe=draw(st.booleans())) for each in workers
        ]
        shards.append(ShardChoices(number=number, choices=tuple(choices)))
    return shards


@st.composite
def kept_apart(draw: st.DrawFn) -> AskedAlone:
    shards, workers = draw(st.frozensets(st.integers(0, 7), max_size=3)), draw(st.frozensets(WORKERS, max_size=1))
    return AskedAlone(shards=shards, workers=frozenset(map(WorkerId, workers)))


@given(shard_choices(), kept_apart())
def test_each_shard_is_in_one_group_of_its_first_worker_and_groups_are_few(shards: list[ShardChoices], alone: AskedAlone) -> None:
    groups = grouped(shards, alone)
    assert sorted(number for group in groups for number in group.numbers) == [each.number for each in shards]
    for group in groups:
        assert {each.first.worker for each in group.shards} == {group.worker}
        assert {each.first.probe for each in group.shards} == {group.probe}
        assert {len(each.choices) > 1 for each in group.shards} == {group.has_others}
        if group.worker in alone.workers or not alone.shards.isdisjoint(group.numbers):
            assert len(group.shards) == 1
    together = [group for group in groups if group.worker not in alone.workers and alone.shards.isdisjoint(group.numbers)]
    assert len({(group.worker, group.probe, group.has_others) for group in together}) == len(together)


@given(shard_choices(), st.frozensets(st.integers(0, 7)))
def test_elsewhere_is_the_next_replica_of_each_shard_that_has_one(shards: list[ShardChoices], wanted: frozenset[int]) -> None:
    for group in grouped(shards):
        following = {each.number: each for other in elsewhere(group, wanted) for each in other.shards}
        expected = {each.number: each.choices[1:] for each in group.shards if each.number in wanted and len(each.choices) > 1}
        assert {number: each.choices for number, each in following.items()} == expected


def homes(number: int, isr: tuple[str, ...], consistency: Consistency = Consistency.ANY) -> ShardHomes:
    """A shard whose replica "a" lives on worker "wa"."""
    config = config_of(primary=isr[0], isr=isr, shard=ShardId(CollectionId("c"), number))
    return ShardHomes(shard=config.shard, homes=homes_of(config, consistency, LIVE))


LIVE = frozenset(map(WorkerId, ("wa", "wb", "wc")))
LOADS = st.builds(
    ReplicaLoad,
    in_flight=st.integers(0, 3),
    latency_s=st.none() | st.sampled_from([0.001, 0.002]),
    here=st.booleans(),
    gate=st.sampled_from(Gate),
)


@settings(max_examples=60)
@given(
    members=st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True), min_size=1, max_size=8),
    loads=st.fixed_dictionaries(dict.fromkeys(sorted(LIVE), LOADS)),
    gates=st.dictionaries(st.tuples(st.sampled_from(sorted(LIVE)), st.integers(0, 7)), st.sampled_from([Gate.PROBES, Gate.SHUT])),
    consistency=st.sampled_from(Consistency),
)
def test_replicas_are_chosen_as_if_the_shards_were_asked_for_one_after_the_other(
    members: list[list[str]], loads: dict[WorkerId, ReplicaLoad], gates: dict[tuple[WorkerId, int], Gate], consistency: Consistency
) -> None:
    shards = [homes(number, tuple(each), consistency) for number, each in enumerate(members)]
    by_shard = {(worker, ShardId(CollectionId("c"), number)): gate for (worker, number), gate in gates.items()}
    chosen = {each.number: each.choices for each in choices_of_shards([each for each in shards if each.homes], loads, by_shard)}
    now = dict(loads)
    for each in shards:
        if not each.homes:
            continue
        mine = {
            worker: dataclasses.replace(load, gate=max(load.gate, by_shard.get((worker, each.shard), load.gate)))
            for worker, load in now.items()
        }
        expected = replicas_to_ask(each.homes, mine)
        assert chosen[each.shard.number] == expected
        load = now[expected[0].worker]
        gate = Gate.SHUT if load.gate is Gate.PROBES else load.gate
        now[expected[0].worker] = dataclasses.replace(load, in_flight=load.in_flight + 1, gate=gate)


def test_shards_are_spread_over_workers_by_load() -> None:
    shards = [homes(number, ("a", "b", "c")) for number in range(9)]
    loads = {worker: ReplicaLoad(latency_s=0.001) for worker in LIVE}
    groups = grouped(choices_of_shards(shards, loads, {}))
    assert sorted(len(group.shards) for group in groups) == [3, 3, 3]
    at_primary = [homes(number, ("a", "b", "c"), Consistency.PRIMARY) for number in range(9)]
    (group,) = grouped(choices_of_shards(at_primary, loads, {}))
    assert (group.worker, group.has_others) == ("wa", False)


def test_one_shard_of_several_goes_to_a_worker_that_is_probed_in_a_call_of_its_own() -> None:
    shards = [homes(number, ("a", "b")) for number in range(5)]
    loads = {WorkerId("wa"): ReplicaLoad(latency_s=0.001, gate=Gate.PROBES), WorkerId("wb"): ReplicaLoad(latency_s=0.001)}
    groups = grouped(choices_of_shards(shards, loads, {}))
    assert [(group.worker, group.probe, len(group.shards)) for group in groups] == [("wa", True, 1), ("wb", False, 4)]
