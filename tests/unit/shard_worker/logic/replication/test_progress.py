"""Test what a primary knows of a member: each transition, and that each state keeps its invariant in any history."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import ReplicaId, Revision, Seq, Term, WorkerId
from shoal.shard_worker.logic.replication.append import Append, Diverged, LogMatches, LogSummary, NoRoom
from shoal.shard_worker.logic.replication.leadership import Leadership, LeadershipEffect, ReadLog, SendAppend, SwapConfig, SwapOutcome
from shoal.shard_worker.logic.replication.log_view import LogView
from shoal.shard_worker.logic.replication.progress import (
    BYTES_PER_MS,
    Exchange,
    NeedsSnapshot,
    OtherHistory,
    Peer,
    Probing,
    Progress,
    Replicating,
)
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from tests.unit.shard_worker.logic.replication.test_leadership import EPOCH, B, L, M, config, record

FULL = NoRoom(reason="too many points", limit="memory")


def member(progress: Progress, *, match: int = 0, asked: bool = True) -> Peer:
    peer = Peer(id=ReplicaId("b"), worker=WorkerId("wb"), progress=progress, match=Seq(match))
    return peer.sent(serial=7, now_ms=100, size_bytes=0, to_end=True, commit_seq=Seq(3)) if asked else peer


@pytest.mark.parametrize("before", [Probing(next=Seq(5)), Replicating(next=Seq(5)), NeedsSnapshot(next=Seq(5), kept_from=Seq(9))])
def test_whoever_says_that_its_log_matches_is_sent_what_follows(before: Progress) -> None:
    peer = member(before).matched(Seq(8), FULL)
    assert (peer.progress, peer.match, peer.no_room, peer.under_way) == (Replicating(next=Seq(9)), 8, FULL, False)
    assert peer.waited_ms(9_000) == 0


def test_an_answer_that_is_no_progress_goes_on_waiting() -> None:
    stuck = member(Replicating(next=Seq(5)), match=4, asked=False).sent(
        serial=1, now_ms=50, size_bytes=10 * BYTES_PER_MS, to_end=False, commit_seq=Seq(0)
    )
    assert stuck.matched(Seq(4), None).waited_ms(100) == 40
    assert stuck.matched(Seq(5), None).waited_ms(100) == 0


def test_a_log_that_parted_is_followed_from_where_both_are_equal() -> None:
    peer = member(Probing(next=Seq(5))).parted(last_seq=Seq(4), equal=Seq(2), ours=Seq(6))
    assert (peer.progress, peer.lost_records) == (Replicating(next=Seq(3)), False)
    assert member(Replicating(next=Seq(5))).parted(last_seq=Seq(9), equal=Seq(9), ours=Seq(6)).progress == OtherHistory()


def test_a_member_that_lost_what_it_had_is_known_to_have_nothing() -> None:
    peer = member(Replicating(next=Seq(5)), match=4).parted(last_seq=Seq(3), equal=Seq(3), ours=Seq(6))
    assert (peer.match, peer.lost_records, peer.outside_isr().lost_records) == (0, True, False)


def test_a_member_that_fetches_a_snapshot_needs_it_until_it_lacks_something_else() -> None:
    lacking = NeedsSnapshot(next=Seq(5), kept_from=Seq(9))
    assert member(lacking).parted(last_seq=Seq(4), equal=Seq(4), ours=Seq(20)).progress == lacking
    assert member(lacking).parted(last_seq=Seq(8), equal=Seq(8), ours=Seq(20)).progress == Replicating(next=Seq(9))
    assert member(lacking).unanswered().progress == lacking
    assert member(lacking, asked=False).needs_snapshot(Seq(15)).progress == lacking, "what it fetches holds all before record 9"


@pytest.mark.parametrize(("match", "following"), [(0, 5), (3, 4), (9, 5)])
def test_who_does_not_answer_is_probed_from_what_it_surely_has(match: int, following: int) -> None:
    peer = member(Replicating(next=Seq(5)), match=match).unanswered()
    assert (peer.progress, peer.exchange.told_commit) == (Probing(next=Seq(following)), 0)


def test_records_are_read_for_a_member_and_one_for_which_none_were_found_is_probed() -> None:
    reading = member(Replicating(next=Seq(5)), asked=False).reads()
    assert reading.progress == Replicating(next=Seq(5), reading=True)
    assert reading.has_read(found=True).progress == Replicating(next=Seq(5))
    assert reading.has_read(found=False).progress == Probing(next=Seq(5))


@pytest.mark.parametrize(
    "change",
    [
        lambda peer: peer.sent(serial=8, now_ms=0, size_bytes=0, to_end=True, commit_seq=Seq(0)),
        lambda peer: dataclasses.replace(peer, progress=OtherHistory()).unanswered(),
        lambda peer: dataclasses.replace(peer, progress=OtherHistory()).matched(Seq(1), None),
    ],
)
def test_what_cannot_happen_is_refused(change: Callable[[Peer], Peer]) -> None:
    with pytest.raises(AssertionError):
        change(member(Replicating(next=Seq(5))))


def check(peer: Peer, log: LogView) -> None:
    """Check the invariants that the docstrings of the states name."""
    exchange = peer.exchange
    if peer.under_way:
        assert exchange.sent_ms is not None
        assert exchange.waiting_since_ms is not None
        assert exchange.waiting_since_ms <= exchange.sent_ms
    assert peer.match <= log.last_seq
    match peer.progress:
        case Probing(next=following):
            assert 1 <= following <= log.last_seq + 1
        case Replicating(next=following, reading=reading):
            assert 1 <= following <= log.last_seq + 1
            assert not (reading and peer.under_way)
        case NeedsSnapshot(next=following, kept_from=kept_from):
            assert following < kept_from <= log.base[1] + 1
        case OtherHistory():
            assert not peer.under_way


class Term2:
    """A primary of term 2. A history decides what its disk, its memory and its members do."""

    def __init__(self, make: type[Leadership] = Leadership) -> None:
        self.log = LogView(base=(Term(0), Seq(0)), runs=((Term(1), Seq(1)),), last_seq=Seq(4), tail=[record(1, seq) for seq in range(1, 5)])
        self.log.append(record(2, 5))
        self.leadership = make(config=config(learners=(L, M), rf=4), epoch=EPOCH, noop=Seq(5), log=self.log, serials=itertools.count(1))
        self.now_ms, self.commit, self.asked = 0, Seq(0), list[SwapConfig]()
        self.sent: dict[ReplicaId, tuple[int, Append]] = {}
        self.reads: dict[ReplicaId, ReadLog] = {}

    def take(self, effects: list[LeadershipEffect]) -> list[LeadershipEffect]:
        for effect in effects:
            match effect:
                case SendAppend(serial=serial, append=append):
                    self.sent[append.to] = (serial, append)
                case ReadLog(peer=peer):
                    self.reads[peer] = effect
                case SwapConfig():
                    self.asked.append(effect)
        return effects

    def do(self, what: str, peer: ReplicaId, number: int) -> list[LeadershipEffect]:
        """Let one thing happen if it can, and return what the primary does then."""
        made: list[LeadershipEffect] = []
        match what:
            case "append":
                self.log.append(record(2, self.log.last_seq + 1))
            case "flush":
                self.log.became_durable(self.log.last_term, self.log.last_seq)
            case "apply":
                self.log.applied(self.commit, keep_recent=False)
            case "trim" if self.log.base[1] < min(number, self.commit):
                to = Seq(min(number, self.commit))
                self.log.trimmed((self.log.term_at(to) or Term(0), to))
            case "match" if peer in self.sent:
                serial, append = self.sent.pop(peer)
                through = Seq(min(append.through, append.prev_seq + number))
                self.leadership.answered(peer, serial, LogMatches(through=through, no_room=FULL if number % 5 == 4 else None))
            case "part" if peer in self.sent:
                serial, _ = self.sent.pop(peer)
                runs = ((Term(1), Seq(1)),) if number else ()
                summary = LogSummary(last_seq=Seq(number), commit_seq=Seq(number // 2), runs=runs)
                self.leadership.answered(peer, serial, Diverged(summary=summary))
            case "silent" if peer in self.sent:
                self.leadership.silent(peer, self.sent.pop(peer)[0])
            case "read" if peer in self.reads:
                asked = self.reads.pop(peer)
                found = tuple(self._stored(seq) for seq in range(max(asked.from_seq, self.log.base[1] + 1), self.log.last_seq + 1))
                made += self.take(self.leadership.read(peer, asked.from_seq, found[: number % 4], self.commit, self.now_ms))
            case "done" | "unknown" | "rejected" | "not done" if self.asked:
                swap = self.asked.pop()
                self.leadership.swapped(swap.base, SwapOutcome(what), Revision(swap.base + 1))
            case "time":
                self.now_ms += 100 * number
            case "late" if peer in self.sent:
                self.leadership.silent(peer, self.sent[peer][0] - 1)
            case _:
                return []
        self.commit = max(self.commit, self.leadership.commit_point())
        made += self.take(self.leadership.change(self.commit, self.now_ms))
        return made + self.take(self.leadership.pump(self.commit, self.now_ms))

    def _stored(self, seq: int) -> Record:
        term = self.log.term_at(Seq(seq))
        return Record(term=term or Term(0), seq=Seq(seq), kind=RecordKind.UPSERT, time_ms=0, request_id=None, body=b"x")


HAPPENS = ("append", "flush", "apply", "trim", "match", "part", "silent", "read", "done", "unknown", "rejected", "not done", "time", "late")
histories = st.lists(st.tuples(st.sampled_from(HAPPENS), st.sampled_from([B, L, M]), st.integers(0, 12)), max_size=80)


@given(histories)
def test_every_state_keeps_its_invariant_whatever_happens(history: list[tuple[str, ReplicaId, int]]) -> None:
    term = Term2()
    for what, peer, number in history:
        term.do(what, peer, number)
        for each in term.leadership.peers.values():
            check(each, term.log)
        assert term.leadership.wanted_from() <= term.leadership.needed_from()


def test_nothing_was_sent_to_a_new_member() -> None:
    assert Exchange().waited_ms(10_000) == 0
