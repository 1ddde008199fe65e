"""Test what a member does with the messages of a primary, and two replicas against each other in random schedules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import CollectionId, ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.shard_worker.logic.replication.append import Append, Diverged, LogMatches, NoRoom, Refused
from shoal.shard_worker.logic.replication.events import (
    AnswerAppend,
    AppendAsked,
    AppendRecords,
    ApplyRecords,
    ConfigSeen,
    FetchSnapshot,
    RecordsApplied,
    RecordsDurable,
    RefuseAppend,
    SpaceChanged,
    StoreTerm,
    TermStored,
    Tick,
    TruncateLog,
)
from shoal.shard_worker.logic.replication.machine import LONGEST_TICK_MS, ReplicaMachine
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.request_memory import RequestMemory
from shoal.shard_worker.logic.replication.roles import Idle, Leading, ReplicaAtOpening

ME, P = ReplicaId("me"), ReplicaId("p")
SHARD = ShardId(CollectionId("c"), 0)


def record(term: int, seq: int) -> Record:
    return Record(term=Term(term), seq=Seq(seq), kind=RecordKind.UPSERT, time_ms=0, request_id=None, body=b"x")


def follower(*terms: int, known: int = 1, applied: int = 0) -> ReplicaMachine:
    """Return a member whose log has records of these terms, all durable."""
    records = [record(term, seq) for seq, term in enumerate(terms, 1)]
    runs: dict[Term, Seq] = {}
    for each in records:
        runs.setdefault(each.term, each.seq)
    opened = ReplicaAtOpening(
        shard=SHARD,
        replica=ME,
        known_term=Term(known),
        base=(Term(0), Seq(0)),
        runs=tuple(runs.items()),
        last_seq=Seq(len(records)),
        applied_seq=Seq(applied),
        last_time_ms=0,
        tail=tuple(records[applied:]),
    )
    return ReplicaMachine(opened, RequestMemory())


def asked(
    term: int, prev: tuple[int, int], *records: Record, commit: int = 0, ticket: int = 1, to: ReplicaId = ME, behind: bool = False
) -> AppendAsked:
    append = Append(
        shard=SHARD,
        term=Term(term),
        primary=P,
        to=to,
        prev_term=Term(prev[0]),
        prev_seq=Seq(prev[1]),
        records=records,
        commit_seq=Seq(commit),
        behind=behind,
    )
    return AppendAsked(ticket=ticket, append=append)


def config(*, isr: tuple[ReplicaId, ...] = (P, ME), learners: tuple[ReplicaId, ...] = ()) -> ConfigSeen:
    shard = ShardConfig(
        shard=SHARD,
        term=Term(1),
        primary=P,
        primary_reg=Revision(3),
        isr=isr,
        elr=(),
        learners=learners,
        worker_of={P: WorkerId("a"), ME: WorkerId("b")},
        min_isr=1,
        rf=2,
        state=ShardState.ACTIVE,
        slots=(),
    )
    return ConfigSeen(config=shard, epoch=Revision(9), registration=Revision(4))


def durable(term: int, through: int) -> RecordsDurable:
    return RecordsDurable(term=Term(term), through=Seq(through))


def test_records_that_follow_are_appended_and_answered_once_they_are_durable():
    machine = follower(1)
    new = record(1, 2)
    assert machine.handle(asked(1, (1, 1), new)) == [AppendRecords(records=(new,))]
    assert machine.handle(durable(1, 2)) == [AnswerAppend(ticket=1, answer=LogMatches(through=Seq(2)))]


def test_a_heartbeat_is_answered_at_once_but_not_before_what_it_covers_is_durable():
    machine = follower(1)
    assert machine.handle(asked(1, (1, 1))) == [AnswerAppend(ticket=1, answer=LogMatches(through=Seq(1)))]
    machine.handle(asked(1, (1, 1), record(1, 2), ticket=2))
    assert machine.handle(asked(1, (1, 2), ticket=3)) == []
    assert [each.ticket for each in machine.handle(durable(1, 2))] == [2, 3]


def test_a_lower_term_is_refused():
    machine = follower(1, known=4)
    assert machine.handle(asked(3, (1, 1))) == [AnswerAppend(ticket=1, answer=Refused(known_term=Term(4)))]


def test_a_new_term_is_durable_before_anything_is_answered():
    machine = follower(1)
    assert machine.handle(asked(2, (1, 1))) == [StoreTerm(term=Term(2))]
    assert machine.handle(asked(2, (1, 1), ticket=2)) == []
    assert machine.known_term == 1
    answers = machine.handle(TermStored(term=Term(2)))
    assert answers == [AnswerAppend(ticket=ticket, answer=LogMatches(through=Seq(1))) for ticket in (1, 2)]


def test_what_an_earlier_primary_is_still_owed_is_refused_when_a_new_term_begins():
    machine = follower(1)
    machine.handle(asked(1, (1, 1), record(1, 2)))
    machine.handle(asked(2, (1, 1), record(2, 2), ticket=2))
    first, *rest = machine.handle(TermStored(term=Term(2)))
    assert first == AnswerAppend(ticket=1, answer=Refused(known_term=Term(2)))
    assert rest == [TruncateLog(after=Seq(1)), AppendRecords(records=(record(2, 2),))]
    assert machine.handle(durable(1, 2)) == [], "the flush of a record that was cut"
    assert machine.handle(durable(2, 2)) == [AnswerAppend(ticket=2, answer=LogMatches(through=Seq(2)))]


def test_another_replicas_append_is_not_taken():
    (refusal,) = follower(1).handle(asked(1, (1, 1), to=ReplicaId("was here before")))
    assert isinstance(refusal, RefuseAppend)


def test_records_that_do_not_follow_are_answered_with_what_is_here():
    machine = follower(1, 1, 2, known=3, applied=1)
    (answer,) = machine.handle(asked(3, (3, 5), record(3, 6)))
    assert isinstance(answer, AnswerAppend)
    assert isinstance(answer.answer, Diverged)
    assert (answer.answer.summary.last_seq, answer.answer.summary.commit_seq) == (3, 1)
    assert answer.answer.summary.runs == ((1, 1), (2, 3))


def test_only_what_is_committed_and_matched_and_durable_is_applied():
    machine = follower(1, 1, 1, known=2)
    # The primary sent seq 1 and 2 only. Its record with seq 3 has another term than the one here, so seq 3 is not
    # applied.
    (apply, _) = sorted(machine.handle(asked(2, (1, 2), commit=3)), key=lambda effect: isinstance(effect, AnswerAppend))
    assert isinstance(apply, ApplyRecords)
    assert [each.seq for each in apply.records] == [1, 2]
    machine.handle(asked(2, (1, 2), record(2, 3), commit=3))
    effects = machine.handle(durable(2, 3))
    assert [each.records[0].term for each in effects if isinstance(each, ApplyRecords)] == [2]


def test_a_member_serves_reads_once_it_has_what_was_committed_when_it_heard_a_primary_first():
    machine = follower(1, 1, applied=1)
    machine.handle(config())
    assert not machine.serves_reads
    machine.handle(asked(1, (1, 2), commit=2))
    assert not machine.serves_reads
    machine.handle(RecordsApplied(through=Seq(2), affected=(1,)))
    assert machine.serves_reads
    learner = follower(1, applied=1)
    learner.handle(config(isr=(P,), learners=(ME,)))
    learner.handle(asked(1, (1, 1), commit=1))
    assert not learner.serves_reads


def test_a_member_serves_no_reads_by_what_a_primary_knew_as_committed_before_its_term():
    machine = follower(1, 1, known=2, applied=1)
    machine.handle(config())
    # Record 2 may be acknowledged. A primary whose store is as old as this one does not know that before its no-op is
    # committed.
    machine.handle(asked(2, (1, 2), record(2, 3), commit=1))
    machine.handle(durable(2, 3))
    assert not machine.serves_reads
    machine.handle(asked(2, (2, 3), commit=3, ticket=2))
    assert not machine.serves_reads
    machine.handle(RecordsApplied(through=Seq(3), affected=(1, 0)))
    assert machine.serves_reads


def test_a_member_that_has_everything_serves_reads_from_the_first_heartbeat_on():
    machine = follower(1, applied=1)
    machine.handle(config())
    machine.handle(asked(1, (1, 1), commit=1))
    assert machine.serves_reads


def test_one_that_is_behind_wants_a_snapshot_once_and_not_any_more_when_records_follow():
    machine = follower(1)
    first = machine.handle(asked(1, (1, 50), behind=True))
    assert first[0] == FetchSnapshot(primary=P)
    assert machine.behind == P
    assert [type(each) for each in machine.handle(asked(1, (1, 50), behind=True, ticket=2))] == [AnswerAppend]
    machine.handle(asked(1, (1, 1), record(1, 2), ticket=3))
    assert machine.behind is None


def test_one_that_has_the_beginning_of_the_primarys_log_needs_no_snapshot():
    machine = follower(1, 1, 1, applied=3)
    (answer,) = machine.handle(asked(1, (1, 2), behind=True))
    assert isinstance(answer.answer, Diverged)
    assert machine.behind is None


def test_a_primary_steps_down_for_a_higher_term():
    machine = follower(1)
    shard = config().config
    mine = ConfigSeen(
        config=ShardConfig(
            **{name: getattr(shard, name) for name in shard.__slots__ if name not in ("primary", "term", "primary_reg")},
            primary=ME,
            term=Term(2),
            primary_reg=Revision(4),
        ),
        epoch=Revision(10),
        registration=Revision(4),
    )
    machine.handle(mine)
    machine.handle(TermStored(term=Term(2)))
    assert isinstance(machine.role, Leading)
    assert StoreTerm(term=Term(3)) in machine.handle(asked(3, (1, 1)))
    assert isinstance(machine.role, Idle)


def test_time_in_which_the_process_slept_does_not_count():
    machine = follower(1)
    machine.handle(Tick(now_ms=1_000_000))
    assert machine._now_ms == 0
    machine.handle(Tick(now_ms=1_000_100))
    machine.handle(Tick(now_ms=9_000_000))
    assert machine._now_ms == 100 + LONGEST_TICK_MS


@given(
    common=st.lists(st.integers(0, 1), max_size=8),
    mine=st.integers(0, 4),
    theirs=st.integers(0, 6),
    committed=st.integers(0, 8),
    applied=st.integers(0, 8),
    start=st.integers(0, 14),
)
def test_a_member_becomes_equal_to_the_primary_and_never_cuts_what_is_committed(common, mine, theirs, committed, applied, start):
    """The two logs begin equal. Then the member has records of its own, of a lower term.

    The primary begins to send at any seq, and then from where the member's answers lead it.
    """
    past = [1 + sum(common[: at + 1]) for at in range(len(common))]
    term = (past[-1] if past else 1) + 2
    committed, applied = min(committed, len(past)), min(applied, committed, len(past))
    machine = follower(*past, *[term - 1] * mine, known=term, applied=applied)
    primary = follower(*past, *[term] * (theirs + 1), known=term).log
    log = [*past, *[term - 1] * mine]
    following = min(start, primary.last_seq)
    for ticket in range(1, 60):
        prev = Seq(following)
        records = primary.held(Seq(prev + 1), 1 if ticket % 2 else 99)
        effects = machine.handle(asked(term, (primary.term_at(prev), prev), *records, commit=committed, ticket=ticket))
        for effect in effects:
            match effect:
                case TruncateLog(after=after):
                    assert after >= committed
                    del log[after:]
                case AppendRecords(records=new):
                    log += [each.term for each in new]
                    effects += machine.handle(durable(new[-1].term, new[-1].seq))
                case AnswerAppend(answer=LogMatches(through=through)):
                    following = max(following, through)
                    assert log[:through] == [primary.term_at(Seq(seq)) for seq in range(1, through + 1)]
                case AnswerAppend(answer=Diverged(summary=summary)):
                    following = primary.agrees_until(summary)
        if following == primary.last_seq and len(log) == primary.last_seq:
            break
    assert log == [primary.term_at(Seq(seq)) for seq in range(1, primary.last_seq + 1)]


def test_a_member_says_in_its_answers_that_it_has_no_room_as_long_as_it_has_none():
    machine = follower(1)
    no_room = NoRoom(reason="disk full", limit="disk")
    machine.handle(SpaceChanged(no_room=no_room))
    full = LogMatches(through=Seq(1), no_room=no_room)
    assert machine.handle(asked(1, (1, 1))) == [AnswerAppend(ticket=1, answer=full)]
    machine.handle(SpaceChanged(no_room=None))
    assert machine.handle(asked(1, (1, 1))) == [AnswerAppend(ticket=1, answer=LogMatches(through=Seq(1)))]
