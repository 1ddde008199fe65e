"""Test which learners take a snapshot although the log holds all that they lack, and that it ends."""

from __future__ import annotations

import dataclasses

from shoal.core.ids import Seq, Term
from shoal.shard_worker.logic.replication.leadership import RETRY_MS
from shoal.shard_worker.logic.replication.log_view import LogView
from shoal.shard_worker.logic.replication.progress import NeedsSnapshot, Probing, Replicating
from tests.unit.shard_worker.logic.replication.test_leadership import B, L, P, Play, config, record

RECORD_BYTES = 100


class LongPlay(Play):
    """A primary of a log with 40 records of 100 bytes and a no-op, all applied but the last five. A learner may be sent
    1,000 bytes.
    """

    def __init__(self, **members: object) -> None:
        log = LogView(
            base=(Term(0), Seq(0)),
            runs=((Term(1), Seq(1)),),
            last_seq=Seq(40),
            tail=[record(1, seq) for seq in range(36, 41)],
            stretches=((Seq(1), 40 * RECORD_BYTES),),
        )
        super().__init__(config(**({"isr": (P, B), "learners": (L,)} | members)), log=log, replay_bytes=1_000)


def progress(play: Play) -> object:
    return play.leadership.peers[L].progress


def test_a_learner_with_nothing_is_told_to_take_a_snapshot_and_where_the_log_goes_on():
    play = LongPlay()
    play.go()
    play.diverged(L, 0)
    assert progress(play) == NeedsSnapshot(next=Seq(1), kept_from=Seq(36))
    play.go(RETRY_MS)
    append = play.sent[L].append
    assert (append.behind, append.records, append.prev_term, append.prev_seq) == (True, (), 1, 35)
    play.matched(B)
    assert play.leadership.wanted_from() == 36, "what a snapshot may lack is kept"


def test_in_the_first_term_a_learner_with_nothing_matches_and_takes_a_snapshot_all_the_same():
    play = LongPlay()
    play.leadership.peers[L] = dataclasses.replace(play.leadership.peers[L], progress=Probing(next=Seq(1)))
    play.go()
    assert (play.sent[L].append.prev_seq, play.sent[L].append.behind) == (0, False)
    play.matched(L)
    assert progress(play) == NeedsSnapshot(next=Seq(1), kept_from=Seq(36))


def test_one_that_has_most_is_sent_the_rest_and_so_is_one_that_lacks_little():
    for last, expected in ((20, NeedsSnapshot(next=Seq(21), kept_from=Seq(36))), (21, Replicating(next=Seq(22)))):
        play = LongPlay()
        play.go()
        play.diverged(L, last)
        assert progress(play) == expected
    play = LongPlay()
    play.leadership._replay_bytes = 100 * RECORD_BYTES
    play.go()
    play.diverged(L, 0)
    assert progress(play) == Replicating(next=Seq(1))


def test_members_of_the_isr_and_eligible_ones_are_sent_the_log():
    for members in ({"isr": (P, L), "learners": ()}, {"isr": (P,), "elr": (L,), "learners": ()}):
        play = LongPlay(**members)
        play.go()
        play.diverged(L, 0)
        assert progress(play) == Replicating(next=Seq(1))


def test_after_the_snapshot_the_log_goes_on_however_much_was_written_meanwhile():
    play = LongPlay()
    play.go()
    play.diverged(L, 0)
    play.go(RETRY_MS)
    play.diverged(L, 0)
    assert progress(play) == NeedsSnapshot(next=Seq(1), kept_from=Seq(36)), "it has not got its snapshot yet"
    for _ in range(100):
        play.append()
    play.log._applied = Seq(140)
    play.go(RETRY_MS)
    play.diverged(L, 38, committed=38)
    assert progress(play) == Replicating(next=Seq(39))


def test_a_snapshot_that_would_bring_nothing_is_not_asked_for():
    play = LongPlay()
    play.log._applied = Seq(0)
    play.go()
    play.diverged(L, 0)
    assert progress(play) == Replicating(next=Seq(1))


def test_without_room_for_a_snapshot_the_log_is_sent_until_the_member_is_in_sync():
    play = LongPlay()
    play.go()
    play.diverged(L, 0)
    play.go(RETRY_MS)
    play.leadership.refused_snapshot()
    assert progress(play) == Replicating(next=Seq(1))
    play.diverged(L, 0)
    assert progress(play) == Replicating(next=Seq(1)), "the answer to what was sent before the refusal changes nothing"


def test_without_room_for_a_snapshot_one_that_the_log_does_not_reach_still_needs_it():
    play = LongPlay()
    play.log.trimmed((Term(1), Seq(10)))
    play.go()
    play.diverged(L, 0)
    play.go(RETRY_MS)
    assert progress(play) == NeedsSnapshot(next=Seq(1), kept_from=Seq(11))
    play.leadership.refused_snapshot()
    assert progress(play) == NeedsSnapshot(next=Seq(1), kept_from=Seq(11))
    assert (play.sent[L].append.prev_seq, play.sent[L].append.behind) == (10, True)
