from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import pytest

from shoal.coordinator.logic.worker_checks import check_drain, check_forget, known_workers, named_worker
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import InvalidArgument, NotFound, PreconditionFailed
from shoal.core.ids import Revision, ShardId, WorkerId
from shoal.core.rebalance import Drain
from shoal.core.shard_calls import WorkerStatus
from shoal.core.shard_config import ShardConfig
from tests.twins.coordinator.bare_operator import MIB, status_of
from tests.twins.coordinator.operated import able_worker
from tests.twins.coordinator.world import collection_of, map_of, shard_config

BOOKS = collection_of("books", state=CollectionState.ACTIVE, replicas=2, shards=3)
NO_STATUSES: Mapping[WorkerId, WorkerStatus] = {}
DRAIN = Drain(primaries_only=False, asked_by="", since_ms=1)
WHOLE, PRIMARIES = DRAIN, dataclasses.replace(DRAIN, primaries_only=True)


def shard(number: int, collection: Collection = BOOKS) -> ShardId:
    return ShardId(collection.id, number)


def config(
    number: int, *homes: str, isr: Iterable[str] | None = None, elr: Iterable[str] = (), learners: Iterable[str] = ()
) -> ShardConfig:
    """Return the configuration of a shard of books with replicas r0, r1, ... on these workers."""
    members = {f"r{at}": home for at, home in enumerate(homes)}
    return shard_config(shard(number), members, isr=members if isr is None else isr, elr=elr, learners=learners)


def cluster_of(
    configs: Iterable[ShardConfig] = (),
    workers: Iterable[str] = ("w0", "w1", "w2"),
    *,
    collections: Iterable[Collection] = (BOOKS,),
    drains: Mapping[str, Drain] | None = None,
    forgotten: Iterable[str] = (),
    memory_bytes: int = 0,
    disk_bytes: int = 0,
) -> ClusterMap:
    live = [able_worker(name, memory_bytes=memory_bytes, disk_bytes=disk_bytes) for name in workers]
    return dataclasses.replace(
        map_of(collections, configs, live),
        drains={WorkerId(name): drain for name, drain in (drains or {}).items()},
        forgotten={WorkerId(name): Revision(1) for name in forgotten},
    )


def refusal(cluster: ClusterMap, worker: str, statuses: Mapping[WorkerId, WorkerStatus] = NO_STATUSES, *, primaries: bool = False) -> str:
    """Return why a drain is refused, "" if it is not."""
    try:
        check_drain(cluster, statuses, WorkerId(worker), primaries_only=primaries)
    except PreconditionFailed as error:
        return error.message
    return ""


def test_a_worker_is_known_while_it_lives_holds_something_or_is_drained_and_not_forgotten() -> None:
    cluster = cluster_of([config(0, "w0", "w8", "w9")], drains={"w7": WHOLE}, forgotten=["w9", "w2"])
    assert known_workers(cluster) == {"w0", "w1", "w7", "w8"}


def test_a_worker_is_named_by_its_id_or_by_a_beginning_that_is_its_own() -> None:
    known = [WorkerId(name) for name in ("ab", "abc", "b1", "b2")]
    assert [named_worker(name, known) for name in ("ab", "abc", "b2")] == ["ab", "abc", "b2"]
    with pytest.raises(InvalidArgument, match="b1, b2"):
        named_worker("b", known)
    with pytest.raises(InvalidArgument, match="ab, abc"):
        named_worker("a", known)
    for name in ("c", "abcd", "B1", "*"):
        with pytest.raises(NotFound, match="there are: ab, abc, b1, b2"):
            named_worker(name, known)
    with pytest.raises(NotFound, match="there are: none"):
        named_worker("a", [])
    with pytest.raises(InvalidArgument, match="is empty"):
        named_worker("", known)


def test_of_many_workers_a_message_names_ten() -> None:
    known = [WorkerId(f"w{number:02}") for number in range(30)]
    with pytest.raises(InvalidArgument, match=r"w00, .*, w09 and 20 more; give more of it"):
        named_worker("w", known)


def test_a_drain_is_allowed_where_enough_workers_are_left() -> None:
    assert refusal(cluster_of([config(0, "w0", "w1")]), "w0") == ""


def test_a_worker_that_is_down_is_not_drained() -> None:
    for primaries in (False, True):
        assert "w9 is down" in refusal(cluster_of([config(0, "w9")]), "w9", primaries=primaries)


def test_the_last_worker_is_not_drained() -> None:
    alone = cluster_of(workers=["w0"], collections=[])
    assert refusal(alone, "w0") == "worker w0 cannot be drained: it is the last worker that may hold replicas"
    assert "no other worker would be left to lead" in refusal(alone, "w0", primaries=True)
    others_drained = cluster_of(drains={"w1": WHOLE, "w2": PRIMARIES}, collections=[])
    assert "it is the last worker that may hold replicas" in refusal(others_drained, "w0"), "w2 gets no replicas either"
    assert "no other worker would be left to lead" in refusal(others_drained, "w0", primaries=True)


def test_a_collection_with_more_replicas_than_workers_would_be_left_is_named() -> None:
    wide = collection_of("wide", state=CollectionState.ACTIVE, replicas=3)
    text = "worker w0 cannot be drained: wide has 3 replicas and 2 workers would be left; lower --replicas or add a worker"
    assert refusal(cluster_of(collections=[BOOKS, wide]), "w0") == text
    assert refusal(cluster_of(collections=[BOOKS, wide]), "w0", primaries=True) == "", "the replicas stay"
    for drain in (WHOLE, PRIMARIES):
        text = "books has 2 replicas and 1 worker would be left beside those that are drained (w1); lower"
        assert text in refusal(cluster_of(drains={"w1": drain}), "w0")
    dropping = dataclasses.replace(wide, state=CollectionState.DROPPING)
    assert refusal(cluster_of(collections=[BOOKS, dropping]), "w0") == ""


def test_replicas_must_find_room_within_85_percent_of_the_memory_of_the_others() -> None:
    configs = [config(0, "w0", "w1"), config(1, "w0", "w2")]
    cluster = cluster_of(configs, memory_bytes=100 * MIB)

    def statuses(size: int) -> dict[WorkerId, WorkerStatus]:
        held = {"w0": {shard(0): (size, 0), shard(1): (size, 0)}, "w1": {shard(0): (size, 0)}, "w2": {shard(1): (size, 0)}}
        return {WorkerId(worker): status_of(sizes) for worker, sizes in held.items()}

    assert refusal(cluster, "w0", statuses(int(42.5 * MIB))) == ""
    assert "2 of the replicas that have to go, 85 MiB, find no room at the other 2 within 85 % of their memory" in refusal(
        cluster, "w0", statuses(int(42.5 * MIB) + 1)
    )
    assert refusal(cluster, "w0", statuses(90 * MIB), primaries=True) == ""
    unknown = cluster_of(configs, memory_bytes=0)
    assert refusal(unknown, "w0", statuses(90 * MIB)) == "", "a budget that is not known refuses nothing"


def test_replicas_must_find_room_on_the_disks_of_the_others() -> None:
    cluster = cluster_of([config(0, "w0", "w1")], memory_bytes=100 * MIB, disk_bytes=100 * MIB)
    statuses = {WorkerId("w0"): status_of({shard(0): (1, 90 * MIB)})}
    text = refusal(cluster, "w0", statuses)
    assert "1 of the replicas that have to go, 90 MiB, find no room at the other 2 within 85 % of their disks" in text
    assert "add a worker or disk" in text


def test_a_worker_has_room_for_one_replica_of_a_shard_only() -> None:
    """w2 alone may take it, however empty w1 is."""
    cluster = cluster_of([config(0, "w0", "w1"), config(1, "w2", "w1")], memory_bytes=100 * MIB)
    statuses = {WorkerId("w0"): status_of({shard(0): (50 * MIB, 0)}), WorkerId("w2"): status_of({shard(1): (50 * MIB, 0)})}
    assert "find no room" in refusal(cluster, "w0", statuses)


def test_what_other_drained_workers_still_hold_has_to_find_room_too() -> None:
    cluster = cluster_of([config(0, "w0"), config(1, "w3")], ["w0", "w1", "w2", "w3"], drains={"w3": WHOLE}, memory_bytes=100 * MIB)
    sizes = {"w0": 60, "w3": 60}
    statuses = {WorkerId(name): status_of({shard(at): (size * MIB, 0)}) for at, (name, size) in enumerate(sizes.items())}
    assert refusal(cluster, "w0", statuses) == ""
    one_left = dataclasses.replace(
        cluster, drains={WorkerId("w3"): WHOLE, WorkerId("w2"): WHOLE}, collections=cluster_of(collections=[]).collections
    )
    assert "1 of the replicas that have to go, 60 MiB" in refusal(one_left, "w0", statuses)


def test_a_worker_without_the_only_eligible_replica_may_be_forgotten() -> None:
    check_forget(cluster_of([config(0, "w9", "w0")]), WorkerId("w9"))
    check_forget(cluster_of([config(0, "w0", "w9", isr=["r0"], learners=["r1"])]), WorkerId("w9"))
    check_forget(cluster_of([config(0, "w9", "w8", isr=["r0"], elr=["r1"])]), WorkerId("w9"))


@pytest.mark.parametrize(
    ("configs", "forgotten", "named"),
    [
        ([config(0, "w9", "w0", isr=["r0"], learners=["r1"])], [], "books/0"),
        ([config(0, "w0", "w9", isr=["r1"], learners=["r0"])], [], "books/0"),
        ([config(0, "w9", isr=["r0"]), config(2, "w9", isr=["r0"]), config(1, "w9", "w0")], [], "books/0, books/2"),
        ([config(0, "w9", "w8"), config(1, "w8", "w9", isr=["r0"], learners=["r1"])], ["w8"], "books/0"),
    ],
)
def test_a_worker_with_the_only_eligible_replica_is_not(configs: list[ShardConfig], forgotten: list[str], named: str) -> None:
    with pytest.raises(PreconditionFailed, match=f"has the only replica of {named} that may lead; bring it back") as caught:
        check_forget(cluster_of(configs, forgotten=forgotten), WorkerId("w9"))
    assert caught.value.details.shard == "books/0"


def test_a_shard_of_a_dropped_collection_keeps_no_worker() -> None:
    dropping = dataclasses.replace(BOOKS, state=CollectionState.DROPPING)
    check_forget(cluster_of([config(0, "w9", isr=["r0"])], collections=[dropping]), WorkerId("w9"))


def test_a_live_worker_is_not_forgotten() -> None:
    with pytest.raises(PreconditionFailed, match="w0 is up"):
        check_forget(cluster_of(), WorkerId("w0"))
