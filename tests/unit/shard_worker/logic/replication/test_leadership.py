"""Test what a primary does for the other members: what it sends, what it counts as committed, and which changes of the
isr it asks for.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardState, expanded, shrunk
from shoal.shard_worker.logic.replication.append import Diverged, LogMatches, LogSummary, NoRoom
from shoal.shard_worker.logic.replication.leadership import (
    HEARTBEAT_MS,
    QUIET_HEARTBEAT_MS,
    REPLAY_BYTES,
    RETRY_MS,
    SHRINK_AFTER_MS,
    STALLED_MS,
    Leadership,
    ReadLog,
    SendAppend,
    SwapConfig,
    SwapOutcome,
)
from shoal.shard_worker.logic.replication.log_view import LogView
from shoal.shard_worker.logic.replication.progress import BYTES_PER_MS, Replicating
from shoal.shard_worker.logic.replication.record import Record, RecordKind

SHARD = ShardId(CollectionId("c"), 0)
P, B, L, M = ReplicaId("p"), ReplicaId("b"), ReplicaId("l"), ReplicaId("m")
EPOCH = Revision(10)
NO_ROOM = NoRoom(reason="too many points", limit="memory")


def config(
    *, isr: tuple[ReplicaId, ...] = (P, B), learners: tuple[ReplicaId, ...] = (), min_isr: int = 1, rf: int = 3, **more
) -> ShardConfig:
    members = (*isr, *learners, *more.get("elr", ()))
    return ShardConfig(
        shard=SHARD,
        term=Term(2),
        primary=P,
        primary_reg=Revision(5),
        isr=isr,
        elr=more.get("elr", ()),
        learners=learners,
        worker_of={each: WorkerId(f"w{each}") for each in members},
        min_isr=min_isr,
        rf=rf,
        state=ShardState.ACTIVE,
        slots=(),
        leaving=more.get("leaving", ()),
        move=more.get("move"),
    )


def record(term: int, seq: int) -> Record:
    return Record(term=Term(term), seq=Seq(seq), kind=RecordKind.UPSERT, time_ms=0, request_id=None, body=b"x")


class Play:
    """Plays a primary: a log with `before` records of term 1 and a no-op of term 2, and the leadership over it."""

    def __init__(
        self, config: ShardConfig, *, before: int = 4, base: int = 0, log: LogView | None = None, replay_bytes: int = REPLAY_BYTES
    ) -> None:
        """log: the records of term 1, if others are wanted."""
        kept = [record(1, seq) for seq in range(base + 1, before + 1)]
        runs = ((Term(1), Seq(base + 1)),) if kept else ()
        self.log = log or LogView(base=(Term(1 if base else 0), Seq(base)), runs=runs, last_seq=Seq(before), tail=kept)
        noop = Seq(self.log.last_seq + 1)
        self.log.append(record(2, noop))
        self.leadership = Leadership(
            config=config, epoch=EPOCH, noop=noop, log=self.log, serials=itertools.count(1), replay_bytes=replay_bytes
        )
        self.now_ms = 0
        self.commit = Seq(0)
        self.sent: dict[ReplicaId, SendAppend] = {}
        self.wanted: list[object] = []

    def go(self, ms: int = 0) -> list[object]:
        self.now_ms += ms
        self.commit = max(self.commit, self.leadership.commit_point())
        effects = [*self.leadership.change(self.commit, self.now_ms), *self.leadership.pump(self.commit, self.now_ms)]
        self.sent |= {each.append.to: each for each in effects if isinstance(each, SendAppend)}
        return effects

    def append(self) -> None:
        self.log.append(record(2, self.log.last_seq + 1))

    def flush(self) -> None:
        self.log.became_durable(self.log.last_term, self.log.last_seq)

    def matched(self, member: ReplicaId, through: int | None = None) -> None:
        sent = self.sent[member]
        reached = sent.append.through if through is None else Seq(through)
        self.leadership.answered(member, sent.serial, LogMatches(through=reached))

    def diverged(self, member: ReplicaId, last: int, *, committed: int = 0, term: int = 1, first: int = 1) -> None:
        runs = ((Term(term), Seq(first)),) if last else ()
        summary = LogSummary(last_seq=Seq(last), commit_seq=Seq(committed), runs=runs)
        self.leadership.answered(member, self.sent[member].serial, Diverged(summary=summary))

    def swaps(self, effects: list[object]) -> list[SwapConfig]:
        return [each for each in effects if isinstance(each, SwapConfig)]

    def joined(self) -> None:
        """Let the learner L get all records, so that the primary asks for L to join the isr."""
        self.go()
        self.diverged(L, 4)
        self.go()
        self.matched(L)


def test_a_record_is_committed_when_all_of_the_isr_have_it():
    play = Play(config())
    play.go()
    play.flush()
    assert play.leadership.commit_point() == 0
    play.matched(B)
    assert play.leadership.commit_point() == 5


def test_nothing_is_committed_below_min_isr():
    play = Play(config(isr=(P,), min_isr=2))
    play.flush()
    assert play.leadership.commit_point() == 0
    assert play.leadership.obstacle(0) is not None


def test_a_member_of_the_isr_is_sent_the_noop_and_a_learner_is_first_asked_what_it_has():
    play = Play(config(learners=(L,)))
    play.go()
    assert [each.seq for each in play.sent[B].append.records] == [5]
    assert (play.sent[L].append.records, play.sent[L].append.prev_seq) == ((), 4)


def test_a_learner_gets_what_it_lacks_and_joins_once_it_has_all_that_is_committed():
    play = Play(config(learners=(L,)))
    play.go()
    play.flush()
    play.matched(B)
    play.diverged(L, 2)
    play.go()
    assert [each.seq for each in play.sent[L].append.records] == [3, 4, 5]
    play.matched(L)
    (swap,) = play.swaps(play.go())
    assert (swap.base, swap.config) == (EPOCH, expanded(play.leadership.config, L))


def test_a_learner_that_lacks_the_noop_does_not_join_although_nothing_else_is_committed():
    play = Play(config(learners=(L,)))
    play.go()
    play.matched(L)
    assert play.swaps(play.go()) == []


def test_the_joiner_is_needed_from_before_the_swap_until_its_outcome_is_known():
    play = Play(config(isr=(P,), learners=(L,)))
    play.flush()
    play.joined()
    assert play.swaps(play.go())
    play.append()
    play.flush()
    assert play.leadership.commit_point() == 5
    play.leadership.swapped(EPOCH, SwapOutcome.UNKNOWN, Revision(0))
    assert play.leadership.commit_point() == 5
    play.go()
    play.matched(L)
    assert play.leadership.commit_point() == 6


def test_a_swap_of_unknown_outcome_is_asked_again_and_its_rejection_waits_for_a_newer_configuration():
    play = Play(config(isr=(P,), learners=(L,)))
    play.flush()
    play.joined()
    (first,) = play.swaps(play.go())
    play.leadership.swapped(EPOCH, SwapOutcome.UNKNOWN, Revision(0))
    assert play.swaps(play.go(10)) == []
    assert play.swaps(play.go(2_000)) == [first]
    play.leadership.swapped(EPOCH, SwapOutcome.REJECTED, Revision(0))
    play.append()
    play.flush()
    assert play.leadership.commit_point() == 5, "the first attempt may have taken it in"
    assert play.swaps(play.go(2_000)) == []
    play.leadership.follow(config(isr=(P,), learners=(L,)), Revision(11))
    assert play.leadership.commit_point() == 6, "a newer configuration without it: it never will be in"


def test_a_member_without_progress_is_left_out_but_counts_until_that_is_done():
    play = Play(config(isr=(P, B, L), min_isr=2))
    play.go()
    play.flush()
    play.matched(L)
    assert play.swaps(play.go(SHRINK_AFTER_MS - 1)) == []
    (swap,) = play.swaps(play.go(1))
    assert swap.config == shrunk(play.leadership.config, B)
    assert play.leadership.commit_point() == 0
    play.leadership.swapped(EPOCH, SwapOutcome.DONE, Revision(11))
    assert play.leadership.commit_point() == 5


def test_a_member_that_is_sent_a_large_record_is_given_the_time_it_takes_before_it_is_left_out():
    play = Play(config())
    play.go()
    play.flush()
    play.matched(B)
    play.log.append(dataclasses.replace(record(2, 6), body=bytes(BYTES_PER_MS * STALLED_MS)))
    play.go()
    assert [each.seq for each in play.sent[B].append.records] == [6]
    assert play.swaps(play.go(STALLED_MS + SHRINK_AFTER_MS - 1)) == []
    assert play.leadership.obstacle(play.now_ms) is None
    (swap,) = play.swaps(play.go(1))
    assert swap.config == shrunk(play.leadership.config, B)


def test_a_learner_without_room_joins_once_it_has_some_and_refuses_no_upsert_until_then():
    play = Play(config(learners=(L,), min_isr=2))
    play.go()
    play.flush()
    play.matched(B)
    play.diverged(L, 4)
    play.go()
    play.leadership.answered(L, play.sent[L].serial, LogMatches(through=Seq(5), no_room=NO_ROOM))
    assert play.swaps(play.go()) == []
    assert play.leadership.no_room() is None
    play.go(HEARTBEAT_MS)
    play.matched(L)
    (swap,) = play.swaps(play.go())
    assert swap.config == expanded(play.leadership.config, L)


def test_a_learner_without_room_joins_all_the_same_where_nothing_can_be_committed_without_it_and_upserts_are_refused_then():
    play = Play(config(isr=(P,), learners=(L,), min_isr=2))
    play.flush()
    play.go()
    play.diverged(L, 4)
    play.go()
    play.leadership.answered(L, play.sent[L].serial, LogMatches(through=Seq(5), no_room=NO_ROOM))
    (swap,) = play.swaps(play.go())
    assert swap.config == expanded(play.leadership.config, L)
    full = play.leadership.no_room()
    assert full is not None
    assert (NO_ROOM.reason in full.reason, full.limit) == (True, "memory")


def test_nobody_is_left_out_below_min_isr_and_writes_are_refused_then():
    play = Play(config(isr=(P, B), min_isr=2))
    play.go()
    assert play.swaps(play.go(10_000)) == []
    assert "does not answer" in (play.leadership.obstacle(play.now_ms) or "")


def test_a_member_with_a_tombstone_is_left_out_and_never_taken_in():
    play = Play(config(isr=(P, B), leaving=(B,), rf=1))
    (swap,) = play.swaps(play.go())
    assert (swap.config.isr, swap.config.learners) == ((P,), ())
    needed = Play(config(isr=(P, B), leaving=(B,), rf=2))
    assert needed.swaps(needed.go()) == [], "nobody is in sync in its place"
    unsure = Play(config(isr=(P, B, L), leaving=(B,), rf=2))
    sent = {each.append.to: each for each in unsure.leadership.pump(Seq(0), 0) if isinstance(each, SendAppend)}
    unsure.leadership.silent(L, sent[L].serial)
    assert unsure.swaps(unsure.go()) == [], "who is to keep the data does not answer"
    other = Play(config(isr=(P,), learners=(L,), leaving=(L,)))
    other.flush()
    other.joined()
    assert other.swaps(other.go()) == []


def test_who_takes_the_place_of_one_that_leaves_is_let_in_before_it_goes():
    play = Play(config(isr=(P, B), learners=(L,), leaving=(B,), rf=2))
    play.go()
    play.matched(B)
    play.joined()
    (swap,) = play.swaps(play.go())
    assert swap.config.isr == (P, B, L)
    play.leadership.swapped(EPOCH, SwapOutcome.DONE, Revision(11))
    (swap,) = play.swaps(play.go())
    assert (swap.config.isr, swap.config.learners, swap.config.leaving) == ((P, L), (), (B,))


def test_who_is_eligible_is_given_up_before_anything_is_committed_without_it():
    play = Play(config(isr=(P, L), elr=(B,), min_isr=1))
    assert play.swaps(play.go()) == [], "the no-op may yet find no room here"
    play.flush()
    assert play.swaps(play.go()) == [], "L may yet turn out to be damaged: then B is needed"
    play.matched(L)
    (swap,) = play.swaps(play.go())
    assert play.commit == 0
    assert (swap.config.isr, swap.config.elr, swap.config.learners) == ((P, L), (), (B,))
    play.leadership.swapped(EPOCH, SwapOutcome.UNKNOWN, Revision(0))
    play.go()
    assert play.commit == 0, "it may not have happened: then B may be elected"
    play.leadership.follow(swap.config, Revision(12))
    play.go()
    assert play.commit == 5
    too_few = Play(config(isr=(P,), elr=(B,), min_isr=2))
    assert too_few.swaps(too_few.go()) == []


def test_one_append_is_under_way_to_a_member_and_its_answer_is_taken_once():
    play = Play(config())
    play.go()
    first = play.sent[B]
    play.append()
    assert play.go() == []
    play.leadership.answered(B, first.serial + 99, LogMatches(through=Seq(5)))
    assert play.go() == []
    play.matched(B)
    play.go()
    assert [each.seq for each in play.sent[B].append.records] == [6]


def test_one_that_is_silent_gets_heartbeats_and_what_was_sent_is_sent_again_once_it_answers():
    play = Play(config(isr=(P, B, L)))
    play.go()
    play.matched(B)
    play.append()
    play.go()
    play.leadership.silent(B, play.sent[B].serial)
    assert [each for each in play.go() if each.append.to == B] == []
    play.go(RETRY_MS)
    assert (play.sent[B].append.records, play.sent[B].append.prev_seq) == ((), 5)
    play.matched(B)
    play.go()
    assert [each.seq for each in play.sent[B].append.records] == [6]


def test_idle_members_hear_the_commit_point_at_once_and_then_few_heartbeats():
    play = Play(config())
    play.go()
    play.flush()
    play.matched(B)
    play.go()
    assert play.sent[B].append.commit_seq == 5
    for _ in range(2):
        play.matched(B)
        assert play.go(QUIET_HEARTBEAT_MS - 1) == []
        assert len(play.go(1)) == 1
    play.matched(B)
    play.append()
    assert len(play.go()) == 1, "a write does not wait for the next heartbeat"


@pytest.mark.parametrize(("isr", "no_room"), [((P, B), NO_ROOM), ((P, B, L), None)])
def test_a_member_is_asked_often_while_it_has_no_room_or_another_one_holds_up_commits(isr: tuple[ReplicaId, ...], no_room: NoRoom | None):
    play = Play(config(isr=isr))
    play.go()
    play.flush()
    play.matched(B)
    play.go()
    if play.leadership.peers[B].under_way:
        play.leadership.answered(B, play.sent[B].serial, LogMatches(through=Seq(5), no_room=no_room))
    before = play.sent[B]
    play.go(HEARTBEAT_MS - 1)
    assert play.sent[B] is before
    play.go(1)
    assert play.sent[B] is not before


def test_records_that_memory_does_not_hold_are_read_and_must_be_those_of_this_log():
    play = Play(config(learners=(L,)), before=4)
    play.log.applied(Seq(4), keep_recent=False)
    play.go()
    play.diverged(L, 2)
    (read,) = [each for each in play.go() if isinstance(each, ReadLog)]
    assert (read.peer, read.from_seq) == (L, 3)
    (sent,) = play.leadership.read(L, Seq(3), (record(1, 3), record(1, 4)), play.commit, play.now_ms)
    assert [each.seq for each in sent.append.records] == [3, 4]
    play.sent[L] = sent
    play.matched(L, 2)
    play.leadership.peers[L] = dataclasses.replace(play.leadership.peers[L], progress=Replicating(next=Seq(3)))
    play.go()
    (stale,) = play.leadership.read(L, Seq(3), (record(9, 3),), play.commit, play.now_ms)
    assert stale.append.records == ()


def test_one_that_is_behind_the_beginning_of_the_log_is_told_where_that_is_and_the_log_is_kept_for_it():
    play = Play(config(learners=(L,)), before=20, base=10)
    play.go()
    play.matched(B)
    play.diverged(L, 4)
    play.go()
    append = play.sent[L].append
    assert (append.behind, append.prev_term, append.prev_seq, append.records) == (True, 1, 10, ())
    assert play.leadership.wanted_from() == 11
    play.diverged(L, 15, committed=15)
    play.go()
    assert not play.sent[L].append.behind
    assert [each.seq for each in play.sent[L].append.records] == list(range(16, 22))


def test_one_that_has_committed_what_this_log_lacks_is_not_of_this_history():
    play = Play(config(isr=(P, B, L)))
    play.go()
    play.diverged(B, 9, committed=9)
    assert play.swaps(play.go())[0].config == shrunk(play.leadership.config, B)


def test_a_member_that_lost_what_it_had_counts_no_more():
    play = Play(config(isr=(P, B)))
    play.go()
    play.flush()
    play.matched(B)
    play.append()
    play.flush()
    play.go()
    play.diverged(B, 3)
    assert play.leadership.commit_point() == 0
    assert play.swaps(play.go())[0].config.isr == (P,)


@pytest.mark.parametrize("outcome", [SwapOutcome.REJECTED, SwapOutcome.NOT_DONE])
def test_a_swap_that_surely_was_not_done_needs_the_joiner_no_more(outcome: SwapOutcome):
    play = Play(config(isr=(P,), learners=(L,)))
    play.flush()
    play.joined()
    play.go()
    play.append()
    play.flush()
    play.leadership.swapped(EPOCH, outcome, Revision(0))
    assert play.leadership.commit_point() == 6


events = st.lists(
    st.tuples(st.sampled_from(["append", "flush", "match", "silent", "done", "unknown", "rejected", "time"]), st.sampled_from([B, L, M])),
    max_size=60,
)


@given(events)
def test_whatever_happens_what_is_committed_is_on_the_isr_that_may_be_in_force(history):
    """force: the configurations that may be in force, as far as the primary can know."""
    play = Play(config(isr=(P, B), learners=(L, M), rf=4, min_isr=2))
    has = dict.fromkeys((B, L, M), 0)
    force = [play.leadership.config]
    committed = 0
    for what, member in history:
        match what:
            case "append":
                play.append()
            case "flush":
                play.flush()
            case "match" if member in play.sent:
                reached = play.sent[member].append.through
                play.matched(member)
                has[member] = max(has[member], reached)
                del play.sent[member]
            case "silent" if member in play.sent:
                play.leadership.silent(member, play.sent.pop(member).serial)
            case "done" | "unknown" | "rejected" if len(force) == 2:
                outcome = SwapOutcome(what)
                play.leadership.swapped(play.leadership.epoch, outcome, Revision(play.leadership.epoch + 1))
                force = force if outcome is SwapOutcome.UNKNOWN else [play.leadership.config]
                if outcome is SwapOutcome.REJECTED:
                    play.leadership.follow(play.leadership.config, Revision(play.leadership.epoch + 1))
                    force = [play.leadership.config]
            case "time":
                play.now_ms += 700
            case _:
                pass
        swaps = play.swaps(play.go())
        force = [play.leadership.config, swaps[0].config] if swaps else force
        now = play.leadership.commit_point()
        if now > committed:
            committed = now
            for each in force:
                assert all(has[other] >= now for other in each.isr if other != P)
                assert len(each.isr) >= each.min_isr
        for each in force[1:]:
            joined = set(each.isr) - set(force[0].isr)
            assert all(has[other] >= committed for other in joined)


def test_it_is_quiet_only_while_nothing_is_under_way_and_everything_is_known_to_be_committed():
    play = Play(config())

    def quiet() -> bool:
        return play.leadership.is_quiet(play.commit)

    play.go()
    assert not quiet()
    play.flush()
    play.matched(B)
    assert not quiet(), "the member does not know the commit point"
    play.go()
    assert not quiet(), "an append is under way"
    play.matched(B)
    assert quiet()
    play.append()
    assert not quiet()
