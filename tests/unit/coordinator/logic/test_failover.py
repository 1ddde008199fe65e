from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coordinator.logic.failover import election_of, heir_of
from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from tests.unit.coordinator.world import shard_config, worker_entry

SHARD = ShardId(CollectionId("c"), 0)
HOMES = {"r0": "w0", "r1": "w1", "r2": "w2", "r3": "w3"}


def live(**registrations: int) -> dict[WorkerId, WorkerEntry]:
    return {WorkerId(name): worker_entry(name, registration) for name, registration in registrations.items()}


def elected(config: ShardConfig, workers: dict[WorkerId, WorkerEntry]) -> ShardConfig | None:
    election = election_of(ShardEntry(config=config, epoch=Revision(9)), workers)
    if election is None:
        return None
    assert election.before == ShardEntry(config=config, epoch=Revision(9))
    return election.config


def test_a_primary_that_reigns_is_left_alone() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7)
    assert elected(config, live(w0=7, w1=8)) is None


def test_a_restarted_worker_is_elected_again_with_one_replica() -> None:
    config = shard_config(SHARD, {"r0": "w0"}, isr=["r0"], primary_reg=7, term=3)
    after = elected(config, live(w0=12))
    assert after is not None
    assert (after.primary, after.primary_reg, after.term, after.isr, after.elr) == ("r0", 12, 4, ("r0",), ())
    assert after.worker_of == config.worker_of


def test_a_gone_worker_with_the_only_replica_is_waited_for() -> None:
    config = shard_config(SHARD, {"r0": "w0"}, isr=["r0"], primary_reg=7)
    assert elected(config, live(w1=8, w2=9)) is None


def test_a_gone_primary_leaves_the_isr_to_the_next_member() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1", "r2"], primary_reg=7, min_isr=2)
    after = elected(config, live(w1=8, w2=9))
    assert after is not None
    assert (after.primary, after.primary_reg, after.isr, after.elr) == ("r1", 8, ("r1", "r2"), ())


def test_below_min_isr_the_old_primary_stays_eligible() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7, min_isr=2)
    after = elected(config, live(w1=8))
    assert after is not None
    assert (after.primary, after.isr, after.elr) == ("r1", ("r1",), ("r0",))


def test_an_eligible_replica_leads_when_the_isr_is_gone() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0"], elr=["r1", "r2"], primary_reg=7, min_isr=2)
    after = elected(config, live(w2=9, w3=10))
    assert after is not None
    assert (after.primary, after.isr, after.elr) == ("r2", ("r2",), ("r0", "r1"))


def test_a_returned_primary_is_preferred_because_nobody_has_to_leave() -> None:
    config = shard_config(SHARD, HOMES, isr=["r1", "r0"], primary="r0", primary_reg=7, min_isr=1)
    after = elected(config, live(w0=20, w1=8))
    assert after is not None
    assert (after.primary, after.primary_reg, after.isr) == ("r0", 20, ("r1", "r0"))


def test_without_a_home_of_the_old_primary_nobody_is_elected() -> None:
    config = shard_config(SHARD, {"r1": "w1"}, isr=["r0", "r1"], primary_reg=7)
    assert elected(config, live(w1=8)) is None


def test_a_living_primary_that_fell_out_of_the_isr_may_not_lead_again() -> None:
    config = shard_config(SHARD, HOMES, isr=["r1"], primary="r0", primary_reg=7)
    after = elected(config, live(w0=20, w1=8))
    assert after is not None
    assert (after.primary, after.isr) == ("r1", ("r1",))
    assert elected(config, live(w0=20, w2=8, w3=9)) is None


@given(
    isr=st.lists(st.sampled_from(sorted(HOMES)), min_size=1, unique=True),
    eligible=st.lists(st.sampled_from(sorted(HOMES)), unique=True),
    registrations=st.dictionaries(st.sampled_from(sorted(HOMES.values())), st.integers(1, 3)),
    min_isr=st.integers(1, 3),
)
def test_nobody_is_elected_who_may_miss_a_committed_record(
    isr: list[str], eligible: list[str], registrations: dict[str, int], min_isr: int
) -> None:
    elr = [each for each in eligible if each not in isr] if len(isr) < min_isr else []
    config = shard_config(SHARD, HOMES, isr=isr, elr=elr, primary_reg=2, min_isr=min_isr, state=ShardState.ACTIVE)
    workers = live(**registrations)
    after = elected(config, workers)
    reigns = registrations.get(HOMES[isr[0]]) == 2
    may = {each for each in [*isr, *elr] if HOMES[each] in registrations}
    assert (after is None) == (reigns or not may)
    assert (heir_of(config, workers) is None) == (not may)
    if after is not None:
        assert after.primary in may
        assert after.term == config.term + 1
        assert {*after.isr, *after.elr} <= {*isr, *elr}
        assert ReplicaId(isr[0]) in {*after.isr, *after.elr} or len(after.isr) >= min_isr
        assert not after.elr or len(after.isr) < min_isr
        assert len(set(after.isr)) == len(after.isr)
