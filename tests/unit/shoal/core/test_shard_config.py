"""Test the changes of a shard's configuration: the result is always well formed, and no replica that is
needed is lost.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.shard_config import (
    Move,
    ShardConfig,
    ShardState,
    commit_point,
    departed,
    expanded,
    handed_over,
    is_gone,
    is_spare,
    leads,
    may_lead,
    may_shrink,
    may_take_over,
    passing,
    renamed_learner,
    replica_on,
    resigned,
    shrunk,
    without_eligible,
)

A, B, C, D = (ReplicaId(each) for each in "abcd")


def config(isr: str = "ab", learners: str = "", elr: str = "", leaving: str = "", *, min_isr: int = 1, rf: int = 3) -> ShardConfig:
    return ShardConfig(
        shard=ShardId(CollectionId("c"), 0),
        term=Term(3),
        primary=A,
        primary_reg=Revision(7),
        isr=tuple(ReplicaId(each) for each in isr),
        elr=tuple(ReplicaId(each) for each in elr),
        learners=tuple(ReplicaId(each) for each in learners),
        worker_of={ReplicaId(each): WorkerId(f"w{each}") for each in dict.fromkeys(isr + elr + learners + leaving)},
        min_isr=min_isr,
        rf=rf,
        state=ShardState.ACTIVE,
        slots=(),
        leaving=tuple(ReplicaId(each) for each in leaving),
    )


def test_committed_is_what_all_of_the_isr_and_all_who_may_be_joining_have():
    has = {A: Seq(9), B: Seq(5), C: Seq(3)}
    assert commit_point(config("ab"), has) == 5
    assert commit_point(config("ab"), has, (A, B, C)) == 3
    assert commit_point(config("abd"), has) == 0
    assert commit_point(config("a", min_isr=2), has) == 0
    assert commit_point(config("ab", elr="c"), has) == 0, "who is eligible would miss it"
    assert commit_point(without_eligible(config("ab", elr="c")), has) == 5


def test_who_leads_needs_the_registration_it_was_elected_with():
    assert leads(config(), A, Revision(7))
    assert not leads(config(), A, Revision(8))
    assert not leads(config(), B, Revision(7))
    assert not leads(ShardConfig(**{**_fields(config()), "primary_reg": Revision(0)}), A, Revision(0))


def test_the_isr_shrinks_to_min_isr_and_never_by_the_primary():
    assert may_shrink(config("ab"), B)
    assert not may_shrink(config("ab", min_isr=2), B)
    assert not may_shrink(config("ab"), A)
    assert not may_shrink(config("a", learners="b"), B)


def test_who_leaves_the_isr_learns_unless_it_has_its_tombstone_and_can_be_spared():
    assert shrunk(config("abc"), B).learners == (B,)
    marked = shrunk(config("abc", leaving="b", rf=2), B)
    assert marked.learners == ()
    assert is_gone(marked, B)
    needed = shrunk(config("abc", leaving="b", rf=3), B)
    assert (needed.learners, needed.leaving) == ((B,), ()), "three are wanted, two are left in sync"
    both_leave = shrunk(config("abc", leaving="bc", rf=2), B)
    assert (both_leave.learners, both_leave.leaving) == ((B,), (C,)), "one that leaves itself does not count"
    assert not is_gone(config("abc", leaving="b"), B)


def test_who_is_eligible_stays_so_beside_a_joiner_until_it_is_given_up():
    still_small = expanded(config("a", learners="b", elr="c", min_isr=3), B)
    assert (still_small.isr, still_small.elr, still_small.learners) == ((A, B), (C,), ())
    enough = expanded(config("a", learners="b", elr="cd", min_isr=2, leaving="d", rf=2), B)
    assert (enough.isr, enough.elr, enough.learners) == ((A, B), (C, D), ())
    given_up = without_eligible(enough)
    assert (given_up.isr, given_up.elr, given_up.learners, given_up.leaving) == ((A, B), (), (C,), (D,))
    needed = without_eligible(config("a", elr="d", leaving="d", rf=2))
    assert (needed.learners, needed.leaving) == ((D,), ())
    of_the_eligible = expanded(config("a", elr="c", min_isr=2), C)
    assert (of_the_eligible.isr, of_the_eligible.elr, of_the_eligible.learners) == ((A, C), (), ())


def test_the_last_that_may_lead_does_not_resign():
    assert resigned(config("a", learners="b"), A, intact=True) is None
    assert resigned(config("a", elr="b", min_isr=2), A, intact=False) is not None


def test_a_primary_that_resigns_ends_its_leadership_and_stays_eligible_only_intact():
    damaged = resigned(config("ab", min_isr=2), A, intact=False)
    assert damaged is not None
    assert (damaged.isr, damaged.elr, damaged.learners, damaged.primary_reg) == ((B,), (), (A,), 0)
    full = resigned(config("ab", min_isr=2), A, intact=True)
    assert full is not None
    assert (full.isr, full.elr, full.learners) == ((B,), (A,), ())
    spared = resigned(config("abc", leaving="c", rf=2), C, intact=False)
    assert spared is not None
    assert is_gone(spared, C)
    backup = resigned(config("ab"), B, intact=False)
    assert backup is not None
    assert backup.primary_reg == 7


def test_a_learner_that_begins_anew_has_another_id_in_its_place():
    changed = renamed_learner(config("a", learners="bc"), B, D)
    assert changed.learners == (D, C)
    assert replica_on(changed, WorkerId("wb")) == D
    assert B not in changed.worker_of


def test_a_move_follows_the_new_id_of_its_target_or_source():
    moving = replace(config("a", learners="bc"), move=Move(source=C, target=B))
    assert renamed_learner(moving, B, D).move == Move(source=C, target=D)
    assert renamed_learner(moving, C, D).move == Move(source=D, target=B)
    assert renamed_learner(replace(moving, move=Move(source=A, target=C)), B, D).move == Move(source=A, target=C)


def test_of_a_move_the_target_does_not_count_until_it_is_in_sync_then_the_source_does_not():
    assert passing(config("ab")) is None
    assert passing(replace(config("ab", learners="c"), move=Move(source=A, target=C))) == C
    assert passing(replace(config("abc"), move=Move(source=A, target=C))) == A


def test_a_primary_hands_over_only_to_another_replica_in_sync_that_stays_and_can_commit():
    whole = config("abc", learners="d", leaving="c", min_isr=2)
    assert [each for each in (A, B, C, D) if may_take_over(whole, each)] == [B]
    assert not may_take_over(config("ab", min_isr=3), B)
    assert not may_take_over(config("ab", elr="c"), B), "nothing is committed beside who is eligible"
    asked = replace(whole, successor=B)
    after = handed_over(asked, Revision(9))
    assert after == replace(whole, term=Term(4), primary=B, primary_reg=Revision(9), successor=None)


def test_changes_of_members_keep_what_is_under_way_and_what_a_newer_version_keeps_here():
    extras = {"move": Move(source=B, target=C), "successor": B, "unknown": {"later": 1}}
    before = replace(config("abc", learners="d", elr="", min_isr=1), **extras)
    for after in (
        shrunk(before, C),
        expanded(before, D),
        without_eligible(before),
        resigned(before, A, intact=True),
        departed(before, D),
    ):
        assert {name: getattr(after, name) for name in extras} == extras


def test_who_departed_is_named_nowhere():
    changed = departed(config("a", leaving="b"), B)
    assert changed.leaving == ()
    assert replica_on(changed, WorkerId("wb")) is None


changes = st.lists(
    st.tuples(st.sampled_from(["shrink", "expand", "give up", "resign", "resign intact", "rename", "mark", "depart"]), st.integers(0, 5)),
    max_size=30,
)


@given(changes, st.integers(1, 3))
def test_whatever_changes_the_groups_stay_apart_and_somebody_may_lead(history, min_isr):
    now = config("abc", "d", min_isr=min_isr)
    for number, (what, at) in enumerate(history):
        before, now = now, _changed(now, what, at, ReplicaId(f"new {number}"))
        members = (*now.isr, *now.elr, *now.learners)
        assert len(set(members)) == len(members)
        assert set(members) <= set(now.worker_of)
        assert any(may_lead(now, each) for each in members)
        assert all(is_spare(now, each) for each in now.worker_of if is_gone(now, each) and not is_gone(before, each))
        joined = {*now.isr, *now.elr} - {*before.isr, *before.elr}
        assert len(joined) <= (what == "expand")
        assert not [each for each in now.worker_of if is_gone(now, each) and may_lead(now, each)]


def _changed(now: ShardConfig, what: str, at: int, fresh: ReplicaId) -> ShardConfig:
    def pick(group: tuple[ReplicaId, ...]) -> ReplicaId | None:
        return group[at % len(group)] if group else None

    match what:
        case "shrink":
            member = pick(now.isr)
            return shrunk(now, member) if member is not None and may_shrink(now, member) else now
        case "expand":
            member = pick(tuple(each for each in (*now.learners, *now.elr) if each not in now.leaving))
            return now if member is None else expanded(now, member)
        case "give up":
            return without_eligible(now) if len(now.isr) >= now.min_isr else now
        case "resign" | "resign intact":
            member = pick((*now.isr, *now.elr))
            return now if member is None else resigned(now, member, intact=what != "resign") or now
        case "rename":
            member = pick(now.learners)
            return now if member is None else renamed_learner(now, member, fresh)
        case "mark":
            member = pick(tuple(each for each in now.isr if each != now.primary and each not in now.leaving))
            return now if member is None else ShardConfig(**{**_fields(now), "leaving": (*now.leaving, member)})
        case _:
            member = pick(tuple(each for each in now.leaving if is_gone(now, each)))
            return now if member is None else departed(now, member)


def _fields(config: ShardConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}
