from __future__ import annotations

import dataclasses

import pytest

from shoal.coordinator.logic.admission import admitted, altered, check_replicas
from shoal.core.alteration import Alteration
from shoal.core.collection import CollectionState
from shoal.core.errors import AlreadyExists, InvalidArgument, NotFound, PreconditionFailed, ResourceExhausted, Unavailable
from shoal.core.ids import Revision, ShardId, WorkerId
from shoal.core.rebalance import Drain
from shoal.core.sizing import REPLICA_BASE_BYTES
from tests.twins.coordinator.world import collection_of, map_of, shard_config, worker_entry

HOLDER = collection_of("fashion", state=CollectionState.ACTIVE)


def test_a_free_name_is_none() -> None:
    assert admitted(None, HOLDER.spec, "r") is None


def test_a_name_given_up_by_a_drop_is_free_even_for_the_same_request() -> None:
    dropping = dataclasses.replace(HOLDER, state=CollectionState.DROPPING)
    assert admitted(dropping, HOLDER.spec, HOLDER.request_id) is None


def test_a_retry_of_the_same_request_gets_what_it_made() -> None:
    assert admitted(HOLDER, HOLDER.spec, HOLDER.request_id) is HOLDER


def test_another_request_is_refused() -> None:
    with pytest.raises(AlreadyExists, match="'fashion' already exists"):
        admitted(HOLDER, HOLDER.spec, "another")


def test_the_same_request_id_for_something_else_is_refused() -> None:
    with pytest.raises(AlreadyExists):
        admitted(HOLDER, dataclasses.replace(HOLDER.spec, dim=5), HOLDER.request_id)


def test_an_alteration_changes_the_specification_and_nothing_else() -> None:
    wanted = altered(HOLDER, "fashion", Alteration(index="flat", recall=0.8))
    assert wanted == dataclasses.replace(HOLDER, spec=dataclasses.replace(HOLDER.spec, index="flat", recall=0.8))
    assert altered(wanted, "fashion", Alteration(index="flat", recall=0.8)) == wanted


@pytest.mark.parametrize(
    ("state", "kind"), [(None, NotFound), (CollectionState.DROPPING, NotFound), (CollectionState.CREATING, Unavailable)]
)
def test_only_a_live_collection_is_altered(state: CollectionState | None, kind: type[Exception]) -> None:
    holder = None if state is None else dataclasses.replace(HOLDER, state=state)
    with pytest.raises(kind, match="'fashion'"):
        altered(holder, "fashion", Alteration(recall=0.8))


def test_an_impossible_alteration_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="recall is 2"):
        altered(HOLDER, "fashion", Alteration(recall=2.0))


def test_a_collection_whose_empty_replicas_do_not_fit_is_refused_with_the_figures() -> None:
    worker = dataclasses.replace(worker_entry("a"), memory_budget_bytes=5 * REPLICA_BASE_BYTES)
    held = collection_of("held", shards=1, state=CollectionState.ACTIVE)
    begun = collection_of("begun", shards=2, state=CollectionState.CREATING)
    configs = [shard_config(ShardId(each.id, 0), {f"r-{each.id}": "a"}, isr=[f"r-{each.id}"]) for each in (held, begun)]
    cluster = map_of([held, begun], configs, [worker])
    check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, shards=2))
    with pytest.raises(
        ResourceExhausted, match=rf"3 replicas need {REPLICA_BASE_BYTES // 1024} KiB each.*1 live workers have room for 2 more"
    ) as caught:
        check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, shards=3))
    assert caught.value.details.limit == "memory"


def test_a_cluster_with_a_worker_that_does_not_say_takes_any_collection() -> None:
    cluster = map_of([], [], [worker_entry("a"), dataclasses.replace(worker_entry("b"), memory_budget_bytes=1)])
    check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, shards=1000))


def test_each_replica_of_a_shard_needs_a_worker_of_its_own() -> None:
    cluster = map_of([], [], [worker_entry("a"), worker_entry("b")])
    check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, replicas=2))
    with pytest.raises(PreconditionFailed, match=r"cannot have 3 replicas .* 2 are live") as caught:
        check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, replicas=3))
    assert caught.value.details.field == "replicas"
    with pytest.raises(PreconditionFailed, match=r"1 is live"):
        check_replicas(map_of([], [], [worker_entry("a")]), HOLDER.spec, dataclasses.replace(HOLDER.spec, replicas=2))


def test_a_drained_or_forgotten_worker_takes_no_replica() -> None:
    cluster = map_of([], [], [worker_entry(name) for name in "abc"])
    drained = {WorkerId("a"): Drain(primaries_only=False, asked_by="me", since_ms=1)}
    with pytest.raises(PreconditionFailed, match=r"3 replicas .* 3 are live, 1 of them is drained or forgotten"):
        check_replicas(dataclasses.replace(cluster, drains=drained), None, dataclasses.replace(HOLDER.spec, replicas=3))
    both = dataclasses.replace(cluster, drains=drained, forgotten={WorkerId("b"): Revision(1)})
    with pytest.raises(PreconditionFailed, match=r"2 replicas .* 3 are live, 2 of them are drained or forgotten"):
        check_replicas(both, None, dataclasses.replace(HOLDER.spec, replicas=2))
    check_replicas(both, None, dataclasses.replace(HOLDER.spec, replicas=1))


def test_fewer_or_as_many_replicas_as_before_need_nobody() -> None:
    before = dataclasses.replace(HOLDER.spec, replicas=3)
    for replicas in (1, 3):
        check_replicas(map_of(), before, dataclasses.replace(before, replicas=replicas))


def test_room_on_one_worker_is_not_room_for_two_replicas_of_a_shard() -> None:
    workers = [
        dataclasses.replace(worker_entry(name), memory_budget_bytes=rooms * REPLICA_BASE_BYTES) for name, rooms in (("a", 50), ("b", 1))
    ]
    cluster = map_of([], [], workers)
    check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, shards=1, replicas=2))
    with pytest.raises(ResourceExhausted, match="room for 3 more"):
        check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, shards=2, replicas=2))
    with pytest.raises(ResourceExhausted):
        check_replicas(cluster, dataclasses.replace(HOLDER.spec, shards=60), dataclasses.replace(HOLDER.spec, shards=60, replicas=2))


def test_a_collection_whose_replicas_would_open_too_many_files_is_refused_with_the_figures() -> None:
    worker = dataclasses.replace(worker_entry("a"), memory_budget_bytes=50 * REPLICA_BASE_BYTES, file_budget=40, replica_files=12)
    cluster = map_of([], [], [worker])
    check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, shards=3))
    with pytest.raises(ResourceExhausted, match=r"no open files .* 4 replicas need 12 each.*have room for 3 more.*ulimit -n") as caught:
        check_replicas(cluster, None, dataclasses.replace(HOLDER.spec, shards=4))
    assert caught.value.details.limit == "open_files"
    both = dataclasses.replace(worker, memory_budget_bytes=2 * REPLICA_BASE_BYTES)
    with pytest.raises(ResourceExhausted, match=r"no memory .* room for 2 more"):
        check_replicas(map_of([], [], [both]), None, dataclasses.replace(HOLDER.spec, shards=4))
