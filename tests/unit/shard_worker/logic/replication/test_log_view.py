"""Test the view of a log by examples, and by comparison with a plain list of records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import Seq, Term
from shoal.shard_worker.logic.replication.append import LogSummary
from shoal.shard_worker.logic.replication.log_view import LogView
from shoal.shard_worker.logic.replication.record import Record, RecordKind


def record(term: int, seq: int, body: bytes = b"x") -> Record:
    return Record(term=Term(term), seq=Seq(seq), kind=RecordKind.UPSERT, time_ms=0, request_id=None, body=body)


def view(*terms: int, base: tuple[int, int] = (0, 0)) -> LogView:
    """Return a log that has records of these terms after its base. All are durable, and none is applied."""
    records = [record(term, base[1] + at) for at, term in enumerate(terms, 1)]
    runs: dict[Term, Seq] = {}
    for each in records:
        runs.setdefault(each.term, each.seq)
    at_base = (Term(base[0]), Seq(base[1]))
    return LogView(base=at_base, runs=tuple(runs.items()), last_seq=Seq(base[1] + len(terms)), tail=records)


def test_terms_are_known_from_the_base_to_the_end():
    log = view(3, 3, 5, base=(2, 10))
    assert [log.term_at(Seq(seq)) for seq in range(9, 15)] == [None, 2, 3, 3, 5, None]
    assert (log.last_term, log.last_seq) == (5, 13)
    assert not log.reaches(Seq(10))
    assert log.reaches(Seq(11))


def test_an_empty_log_ends_with_its_base():
    assert (view().last_term, view().term_at(Seq(0))) == (0, 0)
    behind_snapshot = view(base=(4, 50))
    assert (behind_snapshot.last_term, behind_snapshot.term_at(Seq(50)), behind_snapshot.last_seq) == (4, 4, 50)


def test_what_was_cut_is_not_durable_any_more_and_its_flush_says_nothing():
    log = view(1, 1)
    log.append(record(1, 3))
    log.truncate_after(Seq(1))
    assert (log.last_seq, log.durable_seq) == (1, 1)
    log.append(record(2, 2))
    log.append(record(2, 3))
    log.became_durable(Term(1), Seq(3))
    assert log.durable_seq == 1
    log.became_durable(Term(2), Seq(3))
    assert log.durable_seq == 3


def test_a_log_refuses_gaps_falling_terms_and_cuts_before_its_beginning():
    log = view(3, base=(2, 10))
    with pytest.raises(AssertionError):
        log.append(record(3, 13))
    with pytest.raises(AssertionError):
        log.append(record(2, 12))
    with pytest.raises(AssertionError):
        log.truncate_after(Seq(9))


def test_records_in_memory_come_in_a_row_and_within_the_bytes_but_for_the_first():
    log = view()
    for seq in range(1, 5):
        log.append(record(1, seq, b"123"))
    assert [each.seq for each in log.held(Seq(2), 6)] == [2, 3]
    assert [each.seq for each in log.held(Seq(2), 1)] == [2]
    log.applied(Seq(2), keep_recent=False)
    assert log.held(Seq(2), 100) == ()
    assert [each.seq for each in log.held(Seq(3), 100)] == [3, 4]


def test_logs_part_where_their_terms_do():
    mine = view(1, 1, 2, 2, 4)
    assert mine.agrees_until(view(1, 1, 2, 2, 2, 3).summary(Seq(0))) == 4
    assert mine.agrees_until(view(1, 1, 1, 1).summary(Seq(0))) == 2
    assert mine.agrees_until(view(1, 1, 2).summary(Seq(0))) == 3
    assert mine.agrees_until(view().summary(Seq(0))) == 0
    assert mine.agrees_until(LogSummary(last_seq=Seq(9), commit_seq=Seq(2), runs=((Term(9), Seq(3)),))) == 2


def test_a_log_that_begins_behind_a_snapshot_still_meets_one_that_ends_there():
    # If the base did not count, a member of the isr whose log ends exactly at the base would be told to fetch a
    # snapshot. A member of the isr may not do that.
    mine = view(5, 5, base=(5, 100))
    other = view(*[5] * 60, base=(5, 40))
    assert mine.agrees_until(other.summary(Seq(50))) == 100
    assert view(6, base=(5, 100)).agrees_until(view(base=(5, 100)).summary(Seq(100))) == 100


histories = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2)),
        st.tuples(st.just("cut"), st.integers(0, 9)),
        st.tuples(st.just("trim"), st.integers(0, 9)),
    ),
    max_size=40,
)


@given(histories)
def test_a_view_agrees_with_a_list(history):
    log, records, base, applied = view(), [], 0, 0
    for what, number in history:
        last = base + len(records)
        if what == "append":
            term = Term((records[-1].term if records else log.last_term) + (number == 2))
            records.append(record(max(term, 1), last + 1))
            log.append(records[-1])
        elif what == "cut":
            to = max(last - number, base, applied)
            log.truncate_after(Seq(to))
            del records[to - base :]
        else:
            to = min(base + number, last)
            log.became_durable(log.last_term, Seq(last))
            applied = max(applied, to)
            log.applied(Seq(applied), keep_recent=number % 2 == 0)
            if to > base:
                log.trimmed((records[to - base - 1].term, Seq(to)))
                del records[: to - base]
                base = to
        assert log.last_seq == base + len(records)
        assert all(log.term_at(each.seq) == each.term for each in records)
        assert all(log.record(each.seq) == each for each in records if each.seq > applied)
        assert log.term_at(Seq(base - 1)) is None
        assert log.durable_seq <= log.last_seq


@given(st.lists(st.integers(0, 1), min_size=1, max_size=12), st.integers(0, 12), st.lists(st.booleans(), max_size=8), st.data())
def test_what_two_logs_agree_on_is_equal_and_all_that_is_committed(steps, shared, tails, data):
    """The two logs begin equal. Then each goes on in terms of its own, as logs of replicas do."""
    terms = [1 + sum(steps[: at + 1]) for at in range(len(steps))]
    shared = min(shared, len(terms))
    highest = terms[-1]
    mine = terms[:shared] + [highest + 2 for each in tails if each]
    theirs = terms[:shared] + [highest + 1 for each in tails if not each]
    committed = data.draw(st.integers(0, shared))
    my_base, their_base = data.draw(st.integers(0, committed)), data.draw(st.integers(0, committed))
    one = view(*mine[my_base:], base=(mine[my_base - 1] if my_base else 0, my_base))
    other = view(*theirs[their_base:], base=(theirs[their_base - 1] if their_base else 0, their_base))
    reached = one.agrees_until(other.summary(Seq(committed)))
    assert committed <= reached <= shared
    assert reached == shared
