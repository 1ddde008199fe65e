from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.coordinator.logic.failover import UNTOLD_AFTER_S, choose_candidate, election_of, to_be_asked
from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, is_gone, may_commit, renamed_learner, resigned
from tests.twins.coordinator.world import shard_config, worker_entry

SHARD = ShardId(CollectionId("c"), 0)
HOMES = {"r0": "w0", "r1": "w1", "r2": "w2", "r3": "w3"}


def live(**registrations: int) -> dict[WorkerId, WorkerEntry]:
    return {WorkerId(name): worker_entry(name, registration) for name, registration in registrations.items()}


def ends(**told: tuple[int, int]) -> Told:
    """Return what is known when only the workers of these replicas answer, each with the end of its replica's log."""
    logs = {ReplicaId(replica): LogEnd(term=Term(term), seq=Seq(seq)) for replica, (term, seq) in told.items()}
    return Told(ends=logs, answered={WorkerId(HOMES[replica]) for replica in logs})


def closed(*replicas: str) -> Told:
    """Return what is known when the workers of these replicas answer that the replicas are not open."""
    return Told(closed=frozenset(map(ReplicaId, replicas)))


def elected(config: ShardConfig, workers: dict[WorkerId, WorkerEntry], **told: tuple[int, int]) -> ShardConfig | None:
    """Return the elected configuration after the longest wait for silent replicas. Return None if nothing
    is elected.
    """
    election = election_of(ShardEntry(config=config, epoch=Revision(9)), workers, ends(**told), unled_s=UNTOLD_AFTER_S)
    if election is None:
        return None
    assert election.before == ShardEntry(config=config, epoch=Revision(9))
    return election.config


def test_a_primary_that_leads_is_left_alone() -> None:
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
    assert (after.primary, after.primary_reg, after.isr, after.elr) == ("r1", 8, ("r1", "r2"), ("r0",))


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


def test_an_old_primary_whose_worker_is_gone_stays_eligible_until_the_new_one_gives_it_up() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], learners=["r2"], primary_reg=7)
    after = elected(config, live(w1=8))
    assert after is not None
    assert (after.isr, after.elr, after.learners) == (("r1",), ("r0",), ("r2",))
    assert not may_commit(after)


def test_an_old_primary_that_is_to_leave_is_not_gone_before_the_new_one_gives_it_up() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], leaving=["r0"], primary_reg=7)
    after = elected(config, live(w1=8))
    assert after is not None
    assert (after.isr, after.elr, after.leaving) == (("r1",), ("r0",), ("r0",))
    assert not is_gone(after, ReplicaId("r0"))


def test_an_candidate_that_was_to_leave_stays() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], leaving=["r1"], primary_reg=7)
    after = elected(config, live(w1=8))
    assert after is not None
    assert (after.primary, after.leaving) == ("r1", ())


def test_a_replica_with_a_tombstone_is_elected_only_if_no_other_one_is_open() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1", "r2"], leaving=["r1"], primary_reg=7)
    after = elected(config, live(w1=8, w2=9), r1=(1, 11), r2=(1, 10))
    assert after is not None
    assert (after.primary, after.leaving) == ("r2", ("r1",))
    alone = elected(config, live(w1=8, w2=9), r1=(1, 11))
    assert alone is not None
    assert (alone.primary, alone.leaving) == ("r1", ())


def test_the_longest_log_leads_and_a_returned_primary_with_a_shorter_one_stays_in_the_isr() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1", "r2"], primary_reg=7, term=4)
    workers = live(w0=20, w1=8, w2=9)
    after = elected(config, workers, r0=(4, 10), r1=(4, 11), r2=(4, 10))
    assert after is not None
    assert (after.primary, after.isr, after.term) == ("r1", ("r0", "r1", "r2"), 5)
    later = elected(config, workers, r0=(3, 99), r1=(3, 12), r2=(4, 1))
    assert later is not None
    assert later.primary == "r2", "a later term is the longer log"


def test_who_tells_nothing_is_not_preferred_and_ties_go_to_the_old_primary_then_to_the_order_of_the_isr() -> None:
    config = shard_config(SHARD, HOMES, isr=["r1", "r2", "r0"], primary="r0", primary_reg=7)
    workers = live(w0=20, w1=8, w2=9)
    chosen = [elected(config, workers), elected(config, workers, r1=(1, 5), r0=(1, 5)), elected(config, workers, r2=(0, 0))]
    assert [None if each is None else each.primary for each in chosen] == ["r0", "r0", "r2"]
    without = elected(config, live(w1=8, w2=9), r1=(1, 5), r2=(1, 5))
    assert without is not None
    assert without.primary == "r1"


def test_a_longer_log_outside_of_the_isr_is_no_reason() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], elr=["r2"], learners=["r3"], primary_reg=7, min_isr=3)
    after = elected(config, live(w1=8, w2=9, w3=10), r1=(1, 1), r2=(9, 9), r3=(9, 9))
    assert after is not None
    assert (after.primary, after.isr, after.elr) == ("r1", ("r1",), ("r0", "r2"))


def test_a_primary_that_resigned_is_succeeded_at_once_while_its_worker_lives() -> None:
    before = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7)
    config = resigned(before, ReplicaId("r0"), intact=True)
    assert config is not None
    election = election_of(ShardEntry(config=config, epoch=Revision(9)), live(w0=7, w1=8), ends(r0=(9, 9), r1=(1, 1)))
    assert election is not None
    assert (election.config.primary, election.config.isr, election.config.elr) == ("r1", ("r1",), ("r0",))


def test_a_primary_that_resigned_leads_again_only_where_nobody_else_can_and_its_log_is_open() -> None:
    before = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7, min_isr=2)
    config = resigned(before, ReplicaId("r0"), intact=True)
    assert config is not None
    assert config.elr == ("r0",)
    assert elected(config, live(w0=7)) is None
    after = elected(config, live(w0=7), r0=(1, 1))
    assert after is not None
    assert (after.primary, after.primary_reg, after.term) == ("r0", 7, 2)


def test_a_primary_that_resigned_and_began_anew_under_another_id_is_succeeded_too() -> None:
    before = resigned(shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7), ReplicaId("r0"), intact=False)
    assert before is not None
    config = renamed_learner(before, ReplicaId("r0"), ReplicaId("r9"))
    assert config.primary_worker is None
    after = elected(config, live(w0=7, w1=8))
    assert after is not None
    assert (after.primary, after.learners) == ("r1", ("r9",))


def test_of_several_candidates_only_those_with_an_open_log_may_lead() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7)
    entry, workers = ShardEntry(config=config, epoch=Revision(9)), live(w1=8)
    assert election_of(entry, workers) is None
    assert election_of(entry, workers, unled_s=UNTOLD_AFTER_S - 0.1) is None
    told = election_of(entry, workers, ends(r1=(1, 5)))
    assert told is not None
    assert told.config.primary == "r1"
    alone = ShardEntry(config=shard_config(SHARD, {"r0": "w0"}, isr=["r0"], primary_reg=7), epoch=Revision(9))
    assert election_of(alone, live(w0=12)) is not None


def test_where_several_may_lead_one_that_has_told_that_its_log_is_not_open_is_never_elected_for_its_silence() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7)
    wiped = closed("r1")
    assert choose_candidate(config, live(w1=8), wiped, unled_s=10 * UNTOLD_AFTER_S) is None
    assert choose_candidate(config, live(w1=8), Told(), unled_s=UNTOLD_AFTER_S) == "r1"
    assert choose_candidate(config, live(w0=12, w1=8), wiped, unled_s=UNTOLD_AFTER_S) == "r0", (
        "whose worker does not answer, and may be well"
    )


def test_an_answer_about_one_shard_says_nothing_of_another_that_was_not_asked_about() -> None:
    alone = shard_config(SHARD, HOMES, isr=["r1"], learners=["r0"], primary_reg=7)
    told = closed("r1")
    assert choose_candidate(alone, live(w1=12), told) == "r1"


def test_a_replica_of_the_elr_leads_while_the_log_of_the_isr_does_not_open() -> None:
    config = shard_config(SHARD, HOMES, isr=["r0"], elr=["r1", "r2"], primary_reg=7, min_isr=2)
    workers = live(w0=12, w1=8, w2=9)
    told = Told(ends=ends(r1=(1, 5), r2=(1, 6)).ends, closed=frozenset({ReplicaId("r0")}))
    assert set(to_be_asked([ShardEntry(config=config, epoch=Revision(9))], workers)) == {"w0", "w1", "w2"}
    assert choose_candidate(config, workers, told, unled_s=UNTOLD_AFTER_S - 0.1) is None
    assert choose_candidate(config, workers, told, unled_s=UNTOLD_AFTER_S) == "r2"
    election = election_of(ShardEntry(config=config, epoch=Revision(9)), workers, told, unled_s=UNTOLD_AFTER_S)
    assert election is not None
    assert (election.config.isr, election.config.elr) == (("r2",), ("r0", "r1"))


def test_a_primary_that_resigned_for_one_that_cannot_open_its_log_leads_again_when_its_own_is_open() -> None:
    before = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7, min_isr=2)
    config = resigned(before, ReplicaId("r0"), intact=True)
    assert config is not None
    told = Told(ends=ends(r0=(1, 5)).ends, closed=frozenset({ReplicaId("r1")}))
    assert choose_candidate(config, live(w0=7, w1=8), told, unled_s=UNTOLD_AFTER_S) == "r0"


def test_workers_are_asked_only_where_several_may_lead() -> None:
    other = ShardId(CollectionId("c"), 1)
    leads = shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7)
    choice = shard_config(other, HOMES, isr=["r3", "r1", "r2"], learners=["r0"], primary_reg=7)
    alone = shard_config(ShardId(CollectionId("c"), 2), {"r1": "w1"}, isr=["r1"], primary_reg=7)
    workers = live(w0=7, w1=8, w2=9)
    entries = [ShardEntry(config=config, epoch=Revision(9)) for config in (leads, choice, alone)]
    assert to_be_asked(entries, workers) == {"w1": (other,), "w2": (other,)}
    gone = resigned(shard_config(SHARD, HOMES, isr=["r0", "r1"], primary_reg=7, min_isr=2), ReplicaId("r0"), intact=True)
    assert gone is not None
    assert to_be_asked([ShardEntry(config=gone, epoch=Revision(9))], live(w0=7)) == {"w0": (SHARD,)}


@given(
    isr=st.lists(st.sampled_from(sorted(HOMES)), min_size=1, unique=True),
    eligible=st.lists(st.sampled_from(sorted(HOMES)), unique=True),
    registrations=st.dictionaries(st.sampled_from(sorted(HOMES.values())), st.integers(1, 3)),
    min_isr=st.integers(1, 3),
    told=st.dictionaries(st.sampled_from(sorted(HOMES)), st.tuples(st.integers(0, 2), st.integers(0, 2))),
)
def test_nobody_is_elected_who_may_miss_a_committed_record(
    isr: list[str], eligible: list[str], registrations: dict[str, int], min_isr: int, told: dict[str, tuple[int, int]]
) -> None:
    elr = [each for each in eligible if each not in isr] if len(isr) < min_isr else []
    config = shard_config(SHARD, HOMES, isr=isr, elr=elr, primary_reg=2, min_isr=min_isr, state=ShardState.ACTIVE)
    workers = live(**registrations)
    after = elected(config, workers, **told)
    leads = registrations.get(HOMES[isr[0]]) == 2
    may = {each for each in [*isr, *elr] if HOMES[each] in registrations}
    assert (after is None) == (leads or not may)
    assert (choose_candidate(config, workers, unled_s=UNTOLD_AFTER_S) is None) == (not may)
    if after is not None:
        assert after.primary in may
        assert after.term == config.term + 1
        assert {*after.isr, *after.elr} == {*isr, *elr}
        assert len(set(after.isr)) == len(after.isr)
        eligible_there = [each for each in elr if HOMES[each] in registrations]
        there = [each for each in isr if HOMES[each] in registrations] or eligible_there
        # A replica of the elr whose log end is known is preferred to a replica in sync whose log end is unknown.
        rivals = [each for each in there if each in told] or [each for each in eligible_there if each in told] or there
        assert after.primary in rivals
        assert all(told.get(after.primary, (-1, -1)) >= told.get(each, (-1, -1)) for each in rivals)
