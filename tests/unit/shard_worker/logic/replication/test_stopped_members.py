"""A member whose worker is not registered any more holds no write up, and leaves the isr only for a write."""

from __future__ import annotations

import pytest

from shoal.shard_worker.logic.replication.leadership import RETRY_MS, SHRINK_AFTER_MS
from tests.unit.shard_worker.logic.replication.test_leadership import B, L, P, Play, config


def in_sync(**more: object) -> Play:
    """A primary whose members all have its first record."""
    play = Play(config(isr=(P, B, L), **more))
    play.go()
    play.flush()
    for member in (B, L):
        play.matched(member)
    play.go()
    assert play.commit == 5
    return play


def isrs(play: Play, ms: int = 0) -> list[tuple[str, ...]]:
    """The isr of each swap that is asked for now."""
    return [swap.config.isr for swap in play.swaps(play.go(ms))]


def silent(play: Play, member: str, *, gone: bool) -> None:
    play.leadership.silent(member, play.sent.pop(member).serial, gone=gone)


def test_a_write_that_waits_for_a_stopped_member_goes_on_without_it_at_once():
    play = in_sync(min_isr=1)
    play.matched(B)
    play.append()
    play.flush()
    play.go()
    silent(play, B, gone=True)
    assert isrs(play) == [(P, L)]


def test_without_a_write_a_stopped_member_keeps_its_place_as_long_as_any_silent_one():
    play = in_sync(min_isr=1)
    silent(play, B, gone=True)
    assert isrs(play) == []
    while play.now_ms < SHRINK_AFTER_MS - RETRY_MS:
        assert isrs(play, RETRY_MS) == []
        silent(play, B, gone=True)
    assert isrs(play, SHRINK_AFTER_MS) == [(P, L)]


def test_a_write_after_the_silence_of_a_stopped_member_does_not_wait_for_it_either():
    play = in_sync(min_isr=1)
    silent(play, B, gone=True)
    assert isrs(play) == []
    play.append()
    play.flush()
    assert isrs(play) == [(P, L)]


def test_a_silent_member_whose_worker_is_registered_gets_its_time():
    play = in_sync(min_isr=1)
    play.matched(B)
    play.append()
    play.flush()
    play.go()
    silent(play, B, gone=False)
    assert isrs(play) == []
    assert isrs(play, SHRINK_AFTER_MS) == [(P, L)]


def test_a_member_that_answers_again_is_not_gone():
    play = in_sync(min_isr=1)
    silent(play, B, gone=True)
    play.go(RETRY_MS)
    play.matched(B)
    play.append()
    play.flush()
    assert isrs(play) == []


@pytest.mark.parametrize("min_isr", [2, 3])
def test_the_isr_does_not_become_smaller_than_a_write_needs(min_isr):
    play = in_sync(min_isr=min_isr)
    play.matched(B)
    play.append()
    play.flush()
    play.go()
    silent(play, B, gone=True)
    assert isrs(play) == ([(P, L)] if min_isr == 2 else [])
