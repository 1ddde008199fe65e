from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from shoal.coordinator.logic.placement import Placement
from shoal.coordinator.logic.replica_count import MOST_TOMBSTONES, replication_step
from shoal.coordinator.logic.snapshot import Told
from shoal.coordinator.logic.steps import AddLearners, ForgetReplicas, RetireReplica, SetReplication, Step
from shoal.core.collection import CollectionState
from shoal.core.ids import CollectionId, ReplicaId, ShardId, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import ShardConfig, ShardState, expanded, shrunk
from tests.twins.coordinator.plain_focus import snapshot_of
from tests.twins.coordinator.world import REPLACE_AFTER_S, collection_of, map_of, shard_config, worker_entry

SHARD = ShardId(CollectionId("id-c"), 0)
HOMES = {"r0": "w0", "r1": "w1", "r2": "w2"}
ALL = ("w0", "w1", "w2", "w3")


class _Open(dict[ReplicaId, LogEnd]):
    """Stands for the log ends of all replicas except those in `but`."""

    def __init__(self, but: tuple[str, ...]) -> None:
        super().__init__()
        self._but = but

    def __contains__(self, replica: object) -> bool:
        return replica not in self._but


def open_but(*silent: str) -> Told:
    return Told(ends=_Open(silent))


def step_of(
    config: ShardConfig,
    *,
    live: Sequence[str] = ALL,
    absent: Mapping[str, float] | None = None,
    replicas: int = 3,
    min_isr: int = 0,
    state: CollectionState = CollectionState.ACTIVE,
    told: Told | None = None,
) -> Step | None:
    collection = collection_of("c", state=state, replicas=replicas, min_isr=min_isr)
    cluster = map_of([collection], [config], [worker_entry(name) for name in live])
    gone = {WorkerId(worker): seconds for worker, seconds in (absent or {}).items()}
    everybody = open_but() if told is None else told
    snapshot = snapshot_of(cluster, told=everybody, absent_s=gone, replace_after_s=REPLACE_AFTER_S)
    return replication_step(cluster.shards[SHARD], collection, snapshot, Placement.of(cluster))


def whole(**fields: object) -> ShardConfig:
    return shard_config(SHARD, HOMES, isr=["r0", "r1", "r2"], **{"min_isr": 2, "rf": 3, **fields})  # type: ignore[arg-type]


def test_a_shard_that_is_as_it_should_be_is_left_alone() -> None:
    assert step_of(whole()) is None
    assert step_of(whole(), live=ALL[:3]) is None


def test_more_replicas_are_wanted_first_then_placed_and_min_isr_follows_once_they_are_in_sync() -> None:
    config = shard_config(SHARD, {"r0": "w0"}, isr=["r0"], rf=1)
    first = step_of(config)
    assert isinstance(first, SetReplication)
    assert (first.config.rf, first.config.min_isr) == (3, 1)
    second = step_of(first.config)
    assert isinstance(second, AddLearners)
    assert [second.config.worker_of[each] for each in second.config.learners] == ["w1", "w2"]
    assert second.registrations == {"w1": 1, "w2": 1}
    assert second.replaced == ()
    assert step_of(second.config) is None
    grown = shard_config(SHARD, HOMES, isr=["r0", "r1"], learners=["r2"], rf=3)
    third = step_of(grown)
    assert isinstance(third, SetReplication)
    assert (third.config.min_isr, third.config.isr) == (2, ("r0", "r1"))


def test_fewer_replicas_lower_min_isr_at_once_and_one_leaves_at_a_time() -> None:
    first = step_of(whole(), replicas=1)
    assert isinstance(first, SetReplication)
    assert (first.config.rf, first.config.min_isr) == (1, 1)
    second = step_of(first.config, replicas=1)
    assert isinstance(second, RetireReplica)
    assert second.replica == "r2"
    assert (second.config.isr, second.config.leaving) == (("r0", "r1", "r2"), ("r2",))
    for unheard in ({"r1"}, {"r0", "r1"}):
        silent = step_of(first.config, replicas=1, told=open_but(*unheard, "r2"))
        assert (silent is None) == (len(unheard) > 1), "one that stays must have told that it is open"
    assert step_of(second.config, replicas=1) is None, "the next one only when this one is out of the isr"


def test_a_lowered_min_isr_leaves_it_to_the_primary_to_give_up_who_is_eligible() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0"], elr=["r1"], learners=["r2"], min_isr=2, rf=3)
    lowered = step_of(config, min_isr=1)
    assert isinstance(lowered, SetReplication)
    assert (lowered.config.min_isr, lowered.config.elr, lowered.config.learners) == (1, ("r1",), ("r2",))
    both = shard_config(SHARD, HOMES, isr=["r0"], elr=["r1", "r2"], min_isr=3, rf=3)
    kept = step_of(both)
    assert isinstance(kept, SetReplication)
    assert (kept.config.min_isr, kept.config.elr) == (2, ("r1", "r2"))


def test_min_isr_is_not_raised_on_the_strength_of_a_replica_that_leaves() -> None:
    config = shard_config(SHARD, {**HOMES, "r3": "w3"}, isr=["r0", "r1", "r2"], learners=["r3"], leaving=["r2"], min_isr=2, rf=3)
    assert step_of(config, min_isr=3) is None


def test_a_lost_learner_is_replaced_first_and_deleted_only_once_its_successor_is_in_sync() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], learners=["r2"], min_isr=2, rf=3)
    live = ("w0", "w1", "w3")
    assert step_of(config, live=live, absent={"w2": REPLACE_AFTER_S - 1}) is None
    added = step_of(config, live=live, absent={"w2": REPLACE_AFTER_S})
    assert isinstance(added, AddLearners)
    assert added.replaced == ("r2",)
    (old, new) = added.config.learners
    assert (old, added.config.worker_of[new]) == ("r2", "w3")
    assert step_of(added.config, live=live, absent={"w2": REPLACE_AFTER_S}) is None, "the successor has nothing yet"
    joined = expanded(added.config, new)
    assert step_of(joined, live=live, absent={"w2": REPLACE_AFTER_S}, told=open_but("r1", new)) is None, "two of the three may be damaged"
    deleted = step_of(joined, live=live, absent={"w2": REPLACE_AFTER_S})
    assert isinstance(deleted, RetireReplica)
    assert (deleted.replica, deleted.config.learners, deleted.config.leaving) == ("r2", (), ("r2",))


def test_a_tombstone_is_taken_back_from_a_replica_in_sync_that_is_wanted_again() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1", "r2"], leaving=["r2"], min_isr=1, rf=2)
    raised = step_of(config, replicas=3)
    assert isinstance(raised, SetReplication)
    kept = step_of(raised.config, replicas=3)
    assert isinstance(kept, SetReplication)
    assert (kept.config.leaving, kept.config.isr) == ((), ("r0", "r1", "r2"))
    gone = shard_config(SHARD, HOMES, isr=["r0", "r1"], leaving=["r2"], min_isr=2, rf=3)
    assert isinstance(step_of(gone), AddLearners), "its data may be deleted already"


def test_a_lost_replica_without_a_worker_to_stand_in_keeps_its_place() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], learners=["r2"], min_isr=2, rf=3)
    assert step_of(config, live=("w0", "w1"), absent={"w2": 9_999.0}) is None


@pytest.mark.parametrize(("isr", "elr", "min_isr"), [(["r0", "r1", "r2"], [], 3), (["r0", "r1"], ["r2"], 3)], ids=["in sync", "eligible"])
def test_a_lost_replica_that_may_be_needed_gets_company_but_no_tombstone(isr: list[str], elr: list[str], min_isr: int) -> None:
    config = shard_config(SHARD, HOMES, isr=isr, elr=elr, min_isr=min_isr, rf=3)
    live, absent = ("w0", "w1", "w3"), {"w2": 9_999.0}
    added = step_of(config, live=live, absent=absent, min_isr=min_isr)
    assert isinstance(added, AddLearners)
    assert added.replaced == ("r2",)
    assert step_of(added.config, live=live, absent=absent, min_isr=min_isr) is None


def test_of_too_many_learners_the_longest_gone_goes_first_then_the_newest() -> None:
    homes = {**HOMES, "r3": "w3", "r4": "w4"}
    config = shard_config(SHARD, homes, isr=["r0", "r1"], learners=["r2", "r3", "r4"], min_isr=1, rf=2)
    assert step_of(shrunk(config, ReplicaId("r1")), live=("w0", "w1", "w2", "w3", "w4"), replicas=2) is None, "one alone is in sync"
    live = ("w0", "w1", "w2", "w3", "w4")
    for gone, absent, victim in ((("w2", "w3"), {"w2": 5.0, "w3": 9.0}, "r3"), ((), {}, "r4")):
        step = step_of(config, live=[each for each in live if each not in gone], absent=absent, replicas=2)
        assert isinstance(step, RetireReplica)
        assert step.replica == victim


def test_a_new_learner_whose_worker_is_away_for_a_moment_is_not_taken_for_the_one_too_many() -> None:
    config = shard_config(SHARD, {**HOMES, "r3": "w3"}, isr=["r0", "r1", "r2"], learners=["r3"], min_isr=3, rf=3)
    assert step_of(config, live=("w0", "w1"), absent={"w2": 9_999.0, "w3": 1.0}, min_isr=3) is None


def test_of_too_many_in_sync_nobody_leaves_while_a_worker_of_theirs_is_gone() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1", "r2"], min_isr=1, rf=2)
    assert step_of(config, live=("w0", "w2"), absent={"w1": 1.0}, replicas=2) is None
    step = step_of(config, replicas=2)
    assert isinstance(step, RetireReplica)
    assert step.replica == "r2"


def test_the_primary_and_who_is_needed_to_commit_never_leave() -> None:
    last = shard_config(SHARD, HOMES, isr=["r2", "r0"], primary="r0", min_isr=1, rf=1)
    step = step_of(last, replicas=1)
    assert isinstance(step, RetireReplica)
    assert step.replica == "r2"
    needed = shard_config(SHARD, {**HOMES, "r3": "w3"}, isr=["r0", "r1"], elr=["r2", "r3"], min_isr=3, rf=3)
    assert step_of(needed, min_isr=3) is None


def test_who_shares_a_zone_leaves_before_who_does_not() -> None:
    collection = collection_of("c", state=CollectionState.ACTIVE, replicas=2)
    config = shard_config(SHARD, HOMES, isr=["r0", "r1", "r2"], rf=2)
    workers = [worker_entry("w0", zone="x"), worker_entry("w1", zone="x"), worker_entry("w2", zone="y")]
    cluster = map_of([collection], [config], workers)
    step = replication_step(cluster.shards[SHARD], collection, snapshot_of(cluster, told=open_but()), Placement.of(cluster))
    assert isinstance(step, RetireReplica)
    assert step.replica == "r1"


def test_without_a_primary_that_leads_or_before_it_has_its_folder_nothing_is_done() -> None:
    config = shard_config(SHARD, {"r0": "w0"}, isr=["r0"], rf=1)
    assert step_of(config, live=("w1", "w2", "w3")) is None
    assert step_of(shard_config(SHARD, {"r0": "w0"}, isr=["r0"], rf=1, primary_reg=9)) is None
    assert step_of(shard_config(SHARD, {"r0": "w0"}, isr=["r0"], rf=1, state=ShardState.CREATING)) is None


def test_while_a_collection_is_created_a_lost_learner_is_replaced_at_once() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0"], learners=["r1", "r2"], min_isr=2, rf=3)
    step = step_of(config, live=("w0", "w1", "w3"), absent={"w2": 0.0}, state=CollectionState.CREATING)
    assert isinstance(step, AddLearners)
    assert step.replaced == ("r2",)


def test_a_new_replica_never_goes_where_one_is_still_leaving() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], leaving=["r2"], min_isr=2, rf=3)
    step = step_of(config)
    assert isinstance(step, AddLearners)
    assert [step.config.worker_of[each] for each in step.config.learners] == ["w3"]
    assert step_of(config, live=("w0", "w1", "w2")) is None


def test_tombstones_of_workers_that_never_return_are_bounded() -> None:
    dead = {f"d{at}": f"dead{at:02}" for at in range(MOST_TOMBSTONES + 2)}
    config = shard_config(SHARD, {**HOMES, **dead}, isr=["r0", "r1", "r2"], leaving=list(dead), min_isr=2, rf=3)
    step = step_of(config, absent=dict.fromkeys(dead.values(), REPLACE_AFTER_S))
    assert isinstance(step, ForgetReplicas)
    assert step.homes == {"d0": "dead00", "d1": "dead01"}
    assert len(step.config.leaving) == MOST_TOMBSTONES
    assert step_of(step.config, absent=dict.fromkeys(dead.values(), REPLACE_AFTER_S)) is None
